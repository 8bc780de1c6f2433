"""What passes between a person and a service."""

import pytest

from runner.terminal.headers import answer_headers, request_headers


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "Host",
        "Impersonate-User",
        "impersonate-extra-x",
        "X-Remote-User",
        "Connection",
        "Upgrade",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "X-Named",
    ],
)
def test_request_headers_are_withheld_when_not_the_services_affair(name: str) -> None:
    """The session's secret, GitLab's cookies, what the API server acts upon, and what is of one connection."""
    headers = (("Accept", "text/html"), (name, "x"), ("Connection", "keep-alive, X-Named"), ("X-Own", "1"))

    assert request_headers(headers) == (("Accept", "text/html"), ("X-Own", "1"))


@pytest.mark.parametrize("name", ["Set-Cookie", "Audit-Id", "X-Kubernetes-Pf-Flowschema-Uid", "Keep-Alive"])
def test_answer_headers_are_withheld_when_not_the_persons_affair(name: str) -> None:
    """Cookies would be GitLab's own, and the cluster's headers say what it is."""
    assert answer_headers(((name, "x"), ("ETag", "1")), inner="/in", outer="/out") == (("ETag", "1"),)


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        pytest.param("/in/login?x=1", "/out/login?x=1", id="the service's own"),
        pytest.param("/inside", "/inside", id="another path"),
        pytest.param("https://example.com/in/", "https://example.com/in/", id="elsewhere"),
    ],
)
def test_answer_headers_redirect_to_where_the_person_has_the_service(location: str, seen: str) -> None:
    """The API server writes its own paths."""
    assert answer_headers((("Location", location),), inner="/in", outer="/out") == (("Location", seen),)
