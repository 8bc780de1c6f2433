"""TLS with GitLab: whom we trust, what a failure says, and what jobs get."""

import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from structlog.testing import capture_logs

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.errors import CoordinatorConfigurationError, CoordinatorUnavailableError
from runner.gitlab.features import ClientInfo
from runner.gitlab.replies import JobAnswer, JobReply
from runner.gitlab.tls import TlsFiles, TlsSetup
from runner.gitlab.tls_trouble import explain
from runner.testing.gitlab import GitLabServer
from tests.gitlab.authorities import Authority, make_authority

INFO = ClientInfo(version="19.4.0")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that signed GitLab's certificate."""
    return make_authority(tmp_path_factory.mktemp("tls") / "ours", "Test CA")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has nothing to do with it."""
    return make_authority(tmp_path_factory.mktemp("tls") / "theirs", "Other CA")


async def ask(gitlab: GitLabServer, files: TlsFiles, *, host: str = "127.0.0.1") -> tuple[JobReply, str]:
    """Ask once for a job, and return the answer and what jobs would trust."""
    coordinator = Coordinator(gitlab.url.replace("127.0.0.1", host), gitlab.token, info=INFO, tls=files)
    try:
        return await coordinator.request_job(long_poll=False), coordinator.tls_ca
    finally:
        await coordinator.aclose()


async def test_server_is_trusted_with_its_authority(authority: Authority) -> None:
    """With `tls-ca-file` the connection stands, and jobs get that very file."""
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        reply, ca = await ask(gitlab, TlsFiles(ca_file=str(authority.ca_file)))
    assert (reply.answer, ca) == (JobAnswer.NONE, authority.ca_file.read_text())


async def test_jobs_get_the_verified_chain_when_the_system_trusts_the_server(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `tls-ca-file` the chain of the connection is what lets a job's git trust GitLab, leaf first."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        reply, ca = await ask(gitlab, TlsFiles())
    leaf = (authority.directory / "server.crt").read_text()
    assert reply.answer is JobAnswer.NONE
    assert ca == leaf + authority.ca_file.read_text()


async def test_plain_http_gives_jobs_nothing_to_trust() -> None:
    """CI_SERVER_TLS_CA_FILE is not for plain http."""
    async with GitLabServer() as gitlab:
        assert (await ask(gitlab, TlsFiles()))[1] == ""


async def test_unknown_authority_names_the_setting(authority: Authority) -> None:
    """The most common mistake of a private GitLab is answered with the key to set."""
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        reply, _ = await ask(gitlab, TlsFiles())
    assert str(reply.trouble) == (
        f"The certificate of GitLab at {gitlab.url} is not trusted (unable to get local issuer certificate): "
        "set `tls-ca-file` of this runner to a PEM file with the authority that signed it."
    )
    assert isinstance(reply.trouble, CoordinatorUnavailableError)
    assert (reply.answer, reply.trouble.sent, reply.healthy) == (JobAnswer.UNAVAILABLE, False, True)


async def test_wrong_authority_names_the_file(authority: Authority, stranger: Authority) -> None:
    """When a file is set, the sentence says that it is the wrong one."""
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        reply, _ = await ask(gitlab, TlsFiles(ca_file=str(stranger.ca_file)))
    assert str(reply.trouble).endswith(f"the authority that signed it is not in `tls-ca-file`, {stranger.ca_file}.")


async def test_unusable_authority_file_is_the_reason_given(authority: Authority, tmp_path: Path) -> None:
    """A file without a certificate is told, and the system's authorities still count."""
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate here")
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        reply, _ = await ask(gitlab, TlsFiles(ca_file=str(broken)))
    assert f"`tls-ca-file`, {broken}, cannot be used for GitLab at {gitlab.url}: no certificate." in str(reply.trouble)


async def test_certificate_of_another_name_says_so(authority: Authority) -> None:
    """A name that is not in the certificate is told as such."""
    context = authority.server_context(subject_names="DNS:gitlab.example.com")
    async with GitLabServer(tls=context) as gitlab:
        reply, _ = await ask(gitlab, TlsFiles(ca_file=str(authority.ca_file)))
    assert "is for another name: IP address mismatch" in str(reply.trouble)


async def test_expired_certificate_says_so(authority: Authority) -> None:
    """The operator of the server has to act, not we."""
    async with GitLabServer(tls=authority.server_context(days=-1)) as gitlab:
        reply, _ = await ask(gitlab, TlsFiles(ca_file=str(authority.ca_file)))
    assert "has expired" in str(reply.trouble)


async def test_plain_server_behind_https_says_that_tls_failed() -> None:
    """An https URL of a server that speaks plain http is not reported as a lost connection."""
    async with GitLabServer() as gitlab:
        coordinator = Coordinator(gitlab.url.replace("http:", "https:"), gitlab.token, info=INFO)
        reply = await coordinator.request_job()
        await coordinator.aclose()
    assert str(reply.trouble) == (
        f"TLS with GitLab at {coordinator.url} failed: what answers there does not speak TLS. Correct `url`."
    )


async def test_client_certificate_is_shown(authority: Authority) -> None:
    """A server that wants our certificate gets it."""
    certificate, key = authority.issue("client")
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    async with GitLabServer(tls=authority.server_context(want_client=True)) as gitlab:
        assert (await ask(gitlab, files))[0].answer is JobAnswer.NONE
        assert (await ask(gitlab, TlsFiles(ca_file=files.ca_file)))[0].answer is JobAnswer.UNAVAILABLE


@asynccontextmanager
async def strict_server(authority: Authority) -> AsyncIterator[str]:
    """A server that says why it takes no client's certificate, which asyncio's own keeps to itself; yields its URL.

    In TLS 1.3 the refusal comes after the handshake, and its words are lost when the request crosses it.
    """
    certificate, key = authority.issue("server")
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, "-tls1_2", "-www"]
    command += ["-CAfile", authority.ca_file, "-Verify", "1", "-verify_return_error"]
    async with await anyio.open_process([str(word) for word in command], stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        said = BufferedByteReceiveStream(server.stdout)
        try:
            with anyio.fail_after(10):
                await said.receive_until(b"ACCEPT 127.0.0.1:", 4096)
                port = int(await said.receive_until(b"\n", 100))
            yield f"https://127.0.0.1:{port}"
        finally:
            server.kill()


async def test_client_certificate_that_is_wanted_and_not_given_names_the_settings(authority: Authority) -> None:
    """A server's word for it becomes the keys to set."""
    async with strict_server(authority) as url:
        coordinator = Coordinator(url, "glrt-a", info=INFO, tls=TlsFiles(ca_file=str(authority.ca_file)))
        reply = await coordinator.request_job()
        await coordinator.aclose()
    assert str(reply.trouble) == (
        f"GitLab at {url} wants a client certificate: set `tls-cert-file` and `tls-key-file` of this runner."
    )


async def test_client_certificate_of_a_stranger_is_named(authority: Authority, stranger: Authority) -> None:
    """What GitLab says of our certificate comes with its file and the host."""
    certificate, key = stranger.issue("client")
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    async with strict_server(authority) as url:
        coordinator = Coordinator(url, "glrt-a", info=INFO, tls=files)
        reply = await coordinator.request_job()
        await coordinator.aclose()
    assert str(reply.trouble) == (
        f"Our client certificate `tls-cert-file`, {certificate}, was signed by an authority that GitLab does not know, "
        f"says GitLab at {url}."
    )


async def test_client_certificate_reaches_the_job_when_its_key_is_there(authority: Authority) -> None:
    """CI_SERVER_TLS_CERT_FILE and CI_SERVER_TLS_KEY_FILE hold what we show ourselves; alone, neither is given."""
    certificate, key = authority.issue("client")
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        both = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=files)
        alone = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=replace(files, key_file="/nowhere.key"))
        shown = []
        for coordinator in (both, alone):
            assert (await coordinator.request_job(long_poll=False)).answer is JobAnswer.NONE
            shown.append(coordinator.tls_client)
            await coordinator.aclose()
    assert shown == [(certificate.read_text(), key.read_text()), ("", "")]


async def test_files_of_the_hosts_name_are_found(authority: Authority, tmp_path: Path) -> None:
    """`<host>.crt` in a folder of certificates, put there while the runner is up; the port is not in its name."""
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        files = TlsFiles(folders=(str(tmp_path / "certs"),))
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=files)
        before = await coordinator.request_job(long_poll=False)
        (tmp_path / "certs").mkdir()
        shutil.copy(authority.ca_file, tmp_path / "certs" / "127.0.0.1.crt")
        after = await coordinator.request_job(long_poll=False)
        trusted = coordinator.tls_ca
        await coordinator.aclose()
    assert [before.answer, after.answer] == [JobAnswer.UNAVAILABLE, JobAnswer.NONE]
    assert trusted == authority.ca_file.read_text()


async def test_half_a_rotation_leaves_what_was_read_before(authority: Authority, tmp_path: Path) -> None:
    """A new certificate whose key is not there yet costs no request; with its key both count."""
    (old, old_key), (new, new_key) = authority.issue("old"), authority.issue("new")
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
    shutil.copy(old, certificate)
    shutil.copy(old_key, key)
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    seen = []
    async with GitLabServer(tls=authority.server_context(want_client=True)) as gitlab:
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=files)
        for source, target in ((old, certificate), (new, certificate), (new_key, key)):
            shutil.copy(source, target)
            seen.append(((await coordinator.request_job(long_poll=False)).answer, coordinator.tls_client[0]))
        await coordinator.aclose()
    assert seen == [
        (JobAnswer.NONE, old.read_text()),
        (JobAnswer.NONE, old.read_text()),
        (JobAnswer.NONE, new.read_text()),
    ]


async def test_authority_file_that_breaks_leaves_what_was_read_before(authority: Authority, tmp_path: Path) -> None:
    """A file that is cut off or gone is told and costs no request, and jobs get what they got."""
    ca = tmp_path / "ca.pem"
    shutil.copy(authority.ca_file, ca)
    seen = []
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=TlsFiles(ca_file=str(ca)))
        with capture_logs() as logs:
            for change in (lambda: None, lambda: ca.write_text("-----BEGIN"), ca.unlink):
                change()
                seen.append(((await coordinator.request_job(long_poll=False)).answer, coordinator.tls_ca))
        await coordinator.aclose()
    assert seen == [(JobAnswer.NONE, authority.ca_file.read_text())] * 3
    assert [line["reason"] for line in logs] == [
        f"`tls-ca-file`, {ca}, cannot be used for GitLab at {gitlab.url}: {why}."
        for why in ("no certificate", "no such file or directory")
    ]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(
            "certificate has expired:10",
            "The certificate of GitLab at https://g, or one that signed it, has expired: renew it on the server.",
            id="expired",
        ),
        pytest.param(
            "not yet valid:9",
            "The certificate of GitLab at https://g is not valid yet: compare the clocks of both machines.",
            id="not valid yet",
        ),
        pytest.param(
            "path length:25", "The certificate of GitLab at https://g was not accepted: path length.", id="any other"
        ),
        pytest.param(
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "TLS with GitLab at https://g failed: it offers nothing newer than TLS 1.1, which is not safe.",
            id="old TLS",
        ),
        pytest.param(
            "SSLV3_ALERT_CERTIFICATE_EXPIRED",
            "Our client certificate `tls-cert-file`, /c.crt, has expired, says GitLab at https://g.",
            id="our own has expired",
        ),
        pytest.param(
            "SSLV3_ALERT_CERTIFICATE_REVOKED",
            "Our client certificate `tls-cert-file`, /c.crt, was revoked, says GitLab at https://g.",
            id="our own was revoked",
        ),
        pytest.param("INTERNAL_ERROR", "TLS with GitLab at https://g failed: INTERNAL_ERROR.", id="no words for it"),
    ],
)
def test_trouble_is_one_sentence_with_host_and_file(error: str, sentence: str) -> None:
    """What OpenSSL tells by numbers and capitals."""
    message, _, code = error.partition(":")
    if code:
        made: ssl.SSLError = ssl.SSLCertVerificationError(1, message)
        made.verify_code, made.verify_message = int(code), message  # type: ignore[attr-defined]
    else:
        made = ssl.SSLError(1, message)
        made.reason = message
    assert explain(made, "https://g", "", "/c.crt", "") == sentence


async def test_client_certificate_with_another_key_is_a_configuration_error(authority: Authority) -> None:
    """Certificate and key that do not belong together: no request can be made, so the runner is unhealthy."""
    certificate, _ = authority.issue("client-a")
    _, key = authority.issue("client-b")
    async with GitLabServer() as gitlab:
        coordinator = Coordinator(
            gitlab.url.replace("http:", "https:"),
            gitlab.token,
            info=INFO,
            tls=TlsFiles(cert_file=str(certificate), key_file=str(key)),
        )
        reply = await coordinator.request_job()
        await coordinator.aclose()
    assert (reply.answer, reply.healthy) == (JobAnswer.UNUSABLE, False)
    assert isinstance(reply.trouble, CoordinatorConfigurationError)
    assert str(reply.trouble) == (
        f"The client certificate `tls-cert-file`, {certificate}, with the key `tls-key-file`, {key}, cannot be used "
        f"for GitLab at {coordinator.url}: the key does not match the certificate."
    )


async def test_changed_authority_file_is_read_again(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    """A rotated file counts from the next request on, without a restart."""
    ca = tmp_path / "ca.pem"
    ca.write_text(stranger.ca_file.read_text())
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        coordinator = Coordinator(gitlab.url, gitlab.token, info=INFO, tls=TlsFiles(ca_file=str(ca)))
        first = await coordinator.request_job(long_poll=False)
        ca.write_text(authority.ca_file.read_text())
        os.utime(ca, ns=(1, 1))
        second = await coordinator.request_job(long_poll=False)
        await coordinator.aclose()
    assert [first.answer, second.answer] == [JobAnswer.UNAVAILABLE, JobAnswer.NONE]


def test_folders_fill_what_is_not_set(tmp_path: Path) -> None:
    """`<host>.crt`, `<host>.auth.crt` and `<host>.auth.key` of the first folder that has one, unless one is named."""
    near, far = tmp_path / "near", tmp_path / "far"
    for place in (near / "gitlab.example.com.crt", far / "gitlab.example.com.crt", far / "gitlab.example.com.auth.key"):
        place.parent.mkdir(exist_ok=True)
        place.touch()
    files = TlsFiles(cert_file="/mine.crt", folders=(str(tmp_path / "none"), str(near), str(far)))
    assert files.found("gitlab.example.com") == TlsFiles(
        ca_file=f"{near}/gitlab.example.com.crt",
        cert_file="/mine.crt",
        key_file=f"{far}/gitlab.example.com.auth.key",
    )
    assert files.found("gitlab.example.org") == TlsFiles(cert_file="/mine.crt")


def test_missing_files_are_named_and_stop_nothing() -> None:
    """GitLab Runner goes on without them; so do we, but the sentence says which."""
    setup = TlsSetup(TlsFiles(ca_file="/nowhere/ca.pem", cert_file="/nowhere/c.crt", key_file="/nowhere/c.key"))
    assert setup.finding == (
        "`tls-ca-file`, /nowhere/ca.pem, cannot be used for GitLab at https://: no such file or directory."
    )
    assert (setup.ca_pem, setup.cert_pem, setup.key_pem, setup.chain_pem()) == ("", "", "", "")
    assert setup.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_text_around_the_certificates_is_no_reason_to_reject_them(authority: Authority, tmp_path: Path) -> None:
    """Comments and other PEM blocks may stand in the file."""
    mixed = tmp_path / "ca.pem"
    key = (authority.directory / "ca.key").read_text()
    mixed.write_text("# ours\n" + key + authority.ca_file.read_text() + "# é end\n", encoding="utf-8")
    assert TlsSetup(TlsFiles(ca_file=str(mixed))).finding == ""


def test_file_that_was_replaced_by_one_as_old_and_as_long_is_another(tmp_path: Path) -> None:
    """A mounted secret that is swapped may have the times of the one before."""
    file = tmp_path / "ca.pem"
    file.write_text("one")
    before = TlsFiles(ca_file=str(file)).fingerprint()
    beside = tmp_path / "beside"
    beside.write_text("two")
    times = file.stat()
    os.utime(beside, ns=(times.st_atime_ns, times.st_mtime_ns))
    beside.replace(file)
    assert TlsFiles(ca_file=str(file)).fingerprint() != before


def shake_hands(setup: TlsSetup, server: ssl.SSLContext, name: str) -> None:
    """Let a client and a server speak TLS with each other, in memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = setup.context.wrap_bio(back, there, server_hostname=name)
    far = server.wrap_bio(there, back, server_side=True)
    for side in (client, far, client, far):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


def test_chain_of_a_proxy_is_none_of_a_jobs_business(authority: Authority) -> None:
    """What jobs are given is what GitLab has shown."""
    chains = []
    for name in ("proxy.test", "gitlab.test"):
        setup = TlsSetup(TlsFiles(), origin="https://gitlab.test")
        setup.context.load_verify_locations(authority.ca_file)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*authority.issue(name, subject_names=f"DNS:{name}"))
        shake_hands(setup, server, name)
        chains.append(setup.chain_pem())
    assert chains[0] == ""
    assert chains[1].count("BEGIN CERTIFICATE") == 2
