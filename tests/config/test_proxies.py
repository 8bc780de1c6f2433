"""Which proxy leads to GitLab and to the API server."""

import pytest

from runner.config.proxies import proxy_for, split_proxy

HTTPS = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        pytest.param("https://k8s.example.com:6443", {}, None, id="none"),
        pytest.param("https://k8s.example.com", HTTPS, "http://proxy:3128", id="https"),
        pytest.param("http://k8s.example.com", HTTPS, None, id="the other scheme"),
        pytest.param(
            "http://k8s.example.com", {"http_proxy": "proxy:3128"}, "http://proxy:3128", id="without a scheme"
        ),
        pytest.param("https://localhost:6443", HTTPS, None, id="localhost"),
        pytest.param("https://127.0.0.1:6443", HTTPS, None, id="loopback"),
        pytest.param("https://[::1]:6443", HTTPS, None, id="loopback, version 6"),
        pytest.param("https://k8s.example.com", {**HTTPS, "NO_PROXY": "*"}, None, id="all"),
        pytest.param("https://k8s.example.com", {**HTTPS, "NO_PROXY": " a, example.com"}, None, id="a domain"),
        pytest.param(
            "https://example.com", {**HTTPS, "NO_PROXY": ".example.com"}, "http://proxy:3128", id="below alone"
        ),
        pytest.param("https://a.example.com", {**HTTPS, "no_proxy": "*.example.com"}, None, id="a star"),
        pytest.param("https://notexample.com", {**HTTPS, "NO_PROXY": "example.com"}, "http://proxy:3128", id="a tail"),
        pytest.param("https://10.96.0.1", {**HTTPS, "NO_PROXY": "10.0.0.0/8"}, None, id="a network"),
        pytest.param("https://10.96.0.1", {**HTTPS, "NO_PROXY": "10.96.0.1"}, None, id="an address"),
        pytest.param("https://10.96.0.1", {**HTTPS, "NO_PROXY": "example.com"}, "http://proxy:3128", id="a name"),
        pytest.param("https://[fd00::1]:6443", {**HTTPS, "NO_PROXY": "fd00::/8"}, None, id="a network, version 6"),
        pytest.param(
            "https://10.96.0.1:6443", {**HTTPS, "NO_PROXY": "10.96.0.1:443"}, "http://proxy:3128", id="a port"
        ),
        pytest.param("https://10.96.0.1:443", {**HTTPS, "NO_PROXY": "10.96.0.1:443"}, None, id="that port"),
        pytest.param("https://k8s.a:6443", {**HTTPS, "NO_PROXY": "k8s.a:443"}, "http://proxy:3128", id="a name's port"),
        pytest.param("https://k8s.a", {**HTTPS, "NO_PROXY": "k8s.a:443"}, None, id="that name's port"),
        pytest.param(
            "https://k8s.a", {"HTTPS_PROXY": "", "https_proxy": "http://low:1"}, "http://low:1", id="lower case"
        ),
    ],
)
def test_the_environment_names_the_proxy_by_gos_rules(url: str, environ: dict[str, str], proxy: str | None) -> None:
    """As GitLab Runner and kubectl read it, networks included."""
    assert proxy_for(url, environ) == proxy


@pytest.mark.parametrize(
    ("proxy", "parts"),
    [
        ("http://proxy:3128", ("http://proxy:3128", {})),
        ("https://u:p%40ss@proxy:3128/", ("https://proxy:3128", {"Proxy-Authorization": "Basic dTpwQHNz"})),
        ("http://u@proxy", ("http://proxy", {"Proxy-Authorization": "Basic dTo="})),
    ],
)
def test_a_proxys_password_becomes_a_header(proxy: str, parts: tuple[str, dict[str, str]]) -> None:
    """The address alone is told in errors."""
    assert split_proxy(proxy) == parts


@pytest.mark.parametrize("proxy", ["socks5://user:hunter2@proxy:1080", "proxy:3128", "http://"])
def test_a_proxy_of_another_kind_is_refused_without_its_password(proxy: str) -> None:
    """The sentence names the kind."""
    with pytest.raises(ValueError, match="must be an http or https URL") as caught:
        split_proxy(proxy)
    assert "hunter2" not in str(caught.value)
