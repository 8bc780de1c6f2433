"""The way to GitLab through a proxy: by CONNECT and by whole URLs, with a password, and what its trouble says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.errors import CoordinatorConfigurationError
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import Registrar, Verdict
from runner.gitlab.replies import JobAnswer, JobReply
from runner.gitlab.tls import TlsFiles
from runner.gitlab.transport import ClientPool
from runner.testing.gitlab import GitLabServer
from runner.testing.http_proxy import HttpProxy
from tests.gitlab.authorities import Authority, make_authority

INFO = ClientInfo(version="19.4.0")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has signed the certificate of gitlab.test."""
    return make_authority(tmp_path_factory.mktemp("proxied") / "authority", "Test CA")


@pytest.fixture
def served(authority: Authority) -> ssl.SSLContext:
    """What a GitLab of that name shows; it does not hold for loopback."""
    return authority.server_context(subject_names="DNS:gitlab.test")


def port(gitlab: GitLabServer) -> int:
    """Where it listens."""
    return int(gitlab.url.rpartition(":")[2])


@asynccontextmanager
async def coordinator(
    url: str, gitlab: GitLabServer, environ: Mapping[str, str], ca_file: Path | None = None
) -> AsyncIterator[Coordinator]:
    """A coordinator that knows of proxies what `environ` says."""
    pool = ClientPool(environ=environ)
    try:
        yield Coordinator(url, gitlab.token, info=INFO, pool=pool, tls=TlsFiles(ca_file=str(ca_file or "")))
    finally:
        await pool.aclose()


async def ask(
    url: str, gitlab: GitLabServer, environ: Mapping[str, str], ca_file: Path | None = None
) -> tuple[JobReply, str]:
    """Ask twice for a job; the second answer, and what jobs would trust."""
    async with coordinator(url, gitlab, environ, ca_file) as asked:
        await asked.request_job(long_poll=False)
        return await asked.request_job(long_poll=False), asked.tls_ca


async def test_https_goes_through_a_tunnel_with_a_password(authority: Authority, served: ssl.SSLContext) -> None:
    """HTTPS_PROXY with user and password; the TLS inside is GitLab's own, and only the proxy resolves its name."""
    async with (
        GitLabServer(tls=served) as gitlab,
        HttpProxy({"gitlab.test": port(gitlab)}, user="ci", password="p@ss word") as proxy,
    ):
        environ = {"HTTPS_PROXY": proxy.url.replace("://", "://ci:p%40ss%20word@")}
        reply, ca = await ask("https://gitlab.test", gitlab, environ, authority.ca_file)
    assert reply.answer is JobAnswer.NONE
    assert proxy.asked == ["CONNECT gitlab.test:443 HTTP/1.1"]
    assert ca == authority.ca_file.read_text()
    assert [request.headers["Host"] for request in gitlab.requests] == ["gitlab.test"] * 2
    assert gitlab.violations == []


async def test_http_goes_to_the_proxy_whole_with_a_password() -> None:
    """HTTP_PROXY in lower case and without a scheme; the proxy's password does not reach GitLab."""
    async with (
        GitLabServer() as gitlab,
        HttpProxy({"gitlab.test": port(gitlab)}, user="ci", password="secret") as proxy,
    ):
        environ = {"http_proxy": proxy.url.replace("http://", "ci:secret@")}
        reply, _ = await ask("http://gitlab.test:8080/ci/", gitlab, environ)
    assert reply.answer is JobAnswer.NONE
    assert proxy.asked == ["POST http://gitlab.test:8080/api/v4/jobs/request HTTP/1.1"] * 2
    assert not any("Proxy-Authorization" in request.headers for request in gitlab.requests)


@pytest.mark.parametrize("no_proxy", ["*", "127.0.0.0/8", ""])
async def test_loopback_takes_no_proxy(no_proxy: str) -> None:
    """As in Go, with and without NO_PROXY; what else it excludes has a table of its own."""
    async with GitLabServer() as gitlab, HttpProxy({"127.0.0.1": port(gitlab)}) as proxy:
        reply, _ = await ask(gitlab.url, gitlab, {"HTTP_PROXY": proxy.url, "NO_PROXY": no_proxy})
    assert (reply.answer, proxy.asked) == (JobAnswer.NONE, [])


async def test_name_excluded_by_its_suffix_is_resolved_here() -> None:
    """With NO_PROXY the name of GitLab is ours to resolve, and the proxy hears nothing."""
    async with GitLabServer() as gitlab, HttpProxy({"gitlab.invalid": port(gitlab)}) as proxy:
        environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": "example.com,.invalid"}
        reply, _ = await ask("http://gitlab.invalid", gitlab, environ)
    assert (reply.answer, proxy.asked) == (JobAnswer.UNAVAILABLE, [])


async def test_wrong_password_for_a_tunnel_names_the_proxy(served: ssl.SSLContext) -> None:
    """The proxy's refusal is no answer of GitLab's, and no password is told."""
    async with GitLabServer(tls=served) as gitlab, HttpProxy({}, user="ci") as proxy:
        environ = {"HTTPS_PROXY": proxy.url.replace("://", "://ci:hunter2@")}
        reply, _ = await ask("https://gitlab.test", gitlab, environ)
    assert str(reply.trouble) == (
        f"The proxy {proxy.url} does not lead to GitLab at https://gitlab.test: 407 Proxy Authentication Required. "
        "Write its user and password into the proxy's URL."
    )
    assert reply.healthy


async def test_wrong_password_for_plain_http_says_what_the_proxy_wants() -> None:
    """Over plain http the refusal comes as the answer."""
    async with GitLabServer() as gitlab, HttpProxy({}, user="ci") as proxy:
        reply, _ = await ask("http://gitlab.test", gitlab, {"HTTP_PROXY": proxy.url})
    assert "brought 407. The proxy wants a user and a password" in str(reply.trouble)


async def test_proxy_that_is_away_is_named(served: ssl.SSLContext) -> None:
    """Not GitLab was not reached, but the proxy."""
    async with HttpProxy({}) as gone:
        url = gone.url
    async with GitLabServer(tls=served) as gitlab:
        reply, _ = await ask("https://gitlab.test", gitlab, {"HTTPS_PROXY": url.replace("://", "://ci:hunter2@")})
    assert str(reply.trouble) == (
        f"The proxy {url}, which leads to GitLab at https://gitlab.test, was not reached: connection refused."
    )


async def test_proxy_of_another_kind_is_a_configuration_error() -> None:
    """No request can be made with it; the password is not told."""
    async with GitLabServer() as gitlab:
        reply, _ = await ask("http://gitlab.test", gitlab, {"HTTP_PROXY": "socks5://ci:hunter2@proxy:1080"})
    assert isinstance(reply.trouble, CoordinatorConfigurationError)
    assert str(reply.trouble) == (
        "The proxy for GitLab at http://gitlab.test cannot be used: a proxy must be an http or https URL, not socks5."
    )


async def test_certificate_behind_a_proxy_is_checked(authority: Authority, served: ssl.SSLContext) -> None:
    """A tunnel changes nothing about whom we trust."""
    async with (
        GitLabServer(tls=served) as gitlab,
        HttpProxy({"other.test": port(gitlab)}) as proxy,
    ):
        reply, _ = await ask("https://other.test", gitlab, {"HTTPS_PROXY": proxy.url}, authority.ca_file)
    assert str(reply.trouble) == (
        "The certificate of GitLab at https://other.test is for another name: Hostname mismatch, certificate is not "
        "valid for 'other.test'. Correct `url`."
    )


async def test_commands_take_the_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """register, verify and unregister read the same environment."""
    async with GitLabServer() as gitlab, HttpProxy({"gitlab.test": port(gitlab)}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with Registrar("http://gitlab.test", info=INFO) as registrar:
            answer = await registrar.verify(gitlab.token, system_id="s_0f1e2d3c4b5a")
    assert answer.verdict is Verdict.VALID
    assert proxy.asked == ["POST http://gitlab.test/api/v4/runners/verify HTTP/1.1"]
