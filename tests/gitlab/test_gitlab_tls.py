"""TLS with GitLab: whom we trust, what a failure says, and what jobs get."""

import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.gitlab.coordinator import Coordinator
from runner.gitlab.errors import CoordinatorConfigurationError, CoordinatorUnavailableError
from runner.gitlab.features import ClientInfo
from runner.gitlab.replies import JobAnswer, JobReply
from runner.gitlab.tls import TlsFiles, TlsSetup
from runner.testing.gitlab import GitLabServer

INFO = ClientInfo(version="19.4.0")
_CURVE = "ec_paramgen_curve:prime256v1"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory, and what it has signed."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        """Its own certificate."""
        return self.directory / "ca.pem"

    def issue(
        self, name: str, *, subject_names: str = "IP:127.0.0.1,DNS:localhost", days: int = 2
    ) -> tuple[Path, Path]:
        """Sign a certificate and return it and its key."""
        certificate, key, request = (self.directory / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject_names}\n")
        _openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            _CURVE,
            "-nodes",
            "-keyout",
            key,
            "-out",
            request,
            "-subj",
            f"/CN={name}",
        )
        validity = ("-days", str(days)) if days > 0 else ("-days", "-1")
        _openssl(
            *(
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.ca_file,
                "-CAkey",
                self.directory / "ca.key",
                "-CAcreateserial",
            ),
            *("-out", certificate, "-extfile", extensions, *validity),
        )
        return certificate, key

    def server_context(self, *, want_client: bool = False, **issue: str | int) -> ssl.SSLContext:
        """Return what a server of this authority serves with."""
        certificate, key = self.issue("server", **issue)  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if want_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context


def make_authority(directory: Path, name: str) -> Authority:
    """Make an authority of its own."""
    directory.mkdir(parents=True)
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", _CURVE, "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", directory / "ca.key", "-out", directory / "ca.pem"),
    )
    return Authority(directory)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


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
    assert f"`tls-ca-file`, {broken}, holds no usable PEM certificate (no certificate)." in str(reply.trouble)


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
    assert str(reply.trouble).startswith(f"TLS with GitLab at {coordinator.url} failed: ")


async def test_client_certificate_is_shown(authority: Authority) -> None:
    """A server that wants our certificate gets it."""
    certificate, key = authority.issue("client")
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    async with GitLabServer(tls=authority.server_context(want_client=True)) as gitlab:
        assert (await ask(gitlab, files))[0].answer is JobAnswer.NONE
        assert (await ask(gitlab, TlsFiles(ca_file=files.ca_file)))[0].answer is JobAnswer.UNAVAILABLE


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
    assert f"`tls-cert-file`, {certificate}, with the key `tls-key-file`, {key}, cannot be used" in str(reply.trouble)


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


def test_default_directory_fills_what_is_not_set() -> None:
    """`<host>.crt`, `<host>.auth.crt` and `<host>.auth.key`, unless the runner names its own."""
    assert TlsFiles(cert_file="/mine.crt").or_found("gitlab.example.com", "/etc/gitlab-runner/certs") == TlsFiles(
        ca_file="/etc/gitlab-runner/certs/gitlab.example.com.crt",
        cert_file="/mine.crt",
        key_file="/etc/gitlab-runner/certs/gitlab.example.com.auth.key",
    )


def test_missing_files_count_for_nothing() -> None:
    """Names of files that are not there are no finding."""
    setup = TlsSetup(TlsFiles(ca_file="/nowhere/ca.pem", cert_file="/nowhere/c.crt", key_file="/nowhere/c.key"))
    assert (setup.finding, setup.ca_pem, setup.chain_pem()) == ("", "", "")
    assert setup.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_text_around_the_certificates_is_no_reason_to_reject_them(authority: Authority, tmp_path: Path) -> None:
    """Comments and other PEM blocks may stand in the file."""
    mixed = tmp_path / "ca.pem"
    key = (authority.directory / "ca.key").read_text()
    mixed.write_text("# ours\n" + key + authority.ca_file.read_text() + "# é end\n", encoding="utf-8")
    assert TlsSetup(TlsFiles(ca_file=str(mixed))).finding == ""
