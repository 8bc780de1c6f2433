"""The way to an API server, and who we are there."""

from __future__ import annotations

import asyncio.sslproto
import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import yaml
from aiohttp import web
from kubernetes_asyncio.client import Configuration

from runner.kube.connect import ConnectionSettings, connect, find_connection
from runner.kube.credentials import ConfigurationCredentials
from runner.kube.errors import ConnectionSettingsError, UnauthorizedError
from runner.kube.resources import Manifest
from runner.kube.transport import Connection
from runner.testing.faults import FaultRule, Faults, Handler
from runner.testing.serving import Listener


def kubeconfig(path: Path, user: Manifest, *, server: str = "http://k8s.example.com:8080", **cluster: object) -> str:
    """A kubeconfig with two contexts; `work` is current and has the user."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "work",
        "clusters": [
            {"name": "c", "cluster": {"server": server, **cluster}},
            {"name": "d", "cluster": {"server": "http://other.example.com"}},
            {"name": "e", "cluster": {"insecure-skip-tls-verify": True}},
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "work", "context": {"cluster": "c", "user": "u"}},
            {"name": "other", "context": {"cluster": "d"}},
            {"name": "empty", "context": {"cluster": "e", "user": "u"}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def service_account(directory: Path, *, token: str = "t0\n") -> str:
    """A pod's service account."""
    directory.mkdir()
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_text("no certificate, and not looked at before a connection")
    return str(directory)


def plugin(directory: Path, status: str) -> Manifest:
    """A credential plugin that counts its runs in a file and prints a status with the number in it."""
    script = directory / "plugin.sh"
    script.write_text(
        "#!/bin/sh\n"
        f'echo run >> "{directory}/runs"\n'
        f'N=$(wc -l < "{directory}/runs"); N=$((N + 0))\n'
        "cat <<END\n"
        f'{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {status}}}\n'
        "END\n"
    )
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "args": []}}


def runs(directory: Path) -> int:
    """How often the plugin ran."""
    return len((directory / "runs").read_text().splitlines())


async def found(settings: ConnectionSettings, **environ: str) -> Connection:
    """The connection that settings lead to, outside of a pod."""
    return await find_connection(settings, environ=environ, service_account_dir="/nowhere")


IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("http://k8s.example.com:8080/", "http://k8s.example.com:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("https://k8s.example.com/clusters/one/", "https://k8s.example.com/clusters/one"),
    ],
)
async def test_an_explicit_host_is_used_as_it_is(host: str, url: str) -> None:
    """Before anything a pod or a kubeconfig says."""
    connection = await found(ConnectionSettings(host=host, bearer_token="secret"), **IN_POD, KUBECONFIG="/nowhere")
    assert connection.host == url
    assert await connection.credentials.headers() == {"authorization": "Bearer secret"}
    assert "secret" not in repr(connection)


async def test_a_host_alone_is_anonymous() -> None:
    """No token, no header; nothing to renew."""
    credentials = (await found(ConnectionSettings(host="http://k"))).credentials
    assert await credentials.headers() == {}
    assert not await credentials.renew({})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            ConnectionSettings(host="https://k", cert_file="/c"),
            "cert_file is set, so key_file and ca_file must",
            id="key",
        ),
        pytest.param(
            ConnectionSettings(host="https://k", cert_file="/c", key_file="/k"), "ca_file must be set as well", id="ca"
        ),
        pytest.param(
            ConnectionSettings(host="https://k", ca_file="/no/ca.crt"), "CA file /no/ca.crt", id="no such file"
        ),
        pytest.param(ConnectionSettings(host="ftp://k"), "ftp://k .* is no http or https URL", id="scheme"),
        pytest.param(ConnectionSettings(host="http://[::1"), "is no http or https URL", id="no url"),
        pytest.param(ConnectionSettings(host="http://"), "is no http or https URL", id="no name"),
        pytest.param(ConnectionSettings(), "host is empty, .* /home/me/.kube/config is no file", id="nothing"),
        pytest.param(ConnectionSettings(kubeconfig="/no/config"), "/no/config is no file", id="no kubeconfig"),
    ],
)
async def test_settings_that_lead_nowhere_are_told(settings: ConnectionSettings, message: str) -> None:
    """In one sentence that names the setting or the file."""
    with pytest.raises(ConnectionSettingsError, match=message):
        await found(settings, HOME="/home/me")


async def test_a_file_that_is_no_certificate_is_told(tmp_path: Path) -> None:
    """By its name, and what is wrong with it."""
    (tmp_path / "ca.crt").write_text("hello")
    with pytest.raises(ConnectionSettingsError, match=r"CA file .*ca\.crt \(host https://k\) cannot be loaded"):
        await found(ConnectionSettings(host="https://k", ca_file=str(tmp_path / "ca.crt")))


async def test_a_certificate_that_is_not_there_is_told() -> None:
    """In the system's words, without a number and without naming it twice."""
    with pytest.raises(ConnectionSettingsError) as caught:
        await found(ConnectionSettings(host="https://k", ca_file="/no/ca"))
    assert str(caught.value) == "The CA file /no/ca (host https://k) cannot be loaded: no such file or directory."


async def test_a_client_certificate_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    """With the key's file as well: often it is the pair that is wrong."""
    config = kubeconfig(
        tmp_path / "config",
        {"client-certificate-data": "aGVsbG8=", "client-key-data": "aGVsbG8="},
        server="https://k",
    )
    with pytest.raises(ConnectionSettingsError, match=r"client certificate /.* with key /.* cannot be loaded"):
        await found(ConnectionSettings(kubeconfig=config))


async def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    """Before a kubeconfig; the newline that a token file may end with goes into no header."""
    account = service_account(tmp_path / "account")
    config = kubeconfig(tmp_path / "config", {"token": "mine"})
    (Path(account) / "ca.crt").write_bytes(_ca())
    connection = await find_connection(
        ConnectionSettings(), environ={**IN_POD, "KUBECONFIG": config}, service_account_dir=account
    )
    assert connection.host == "https://10.96.0.1:443"
    assert await connection.credentials.headers() == {"authorization": "Bearer t0"}
    (Path(account) / "token").write_text("t1")
    assert await connection.credentials.renew({"authorization": "Bearer t0"})
    assert await connection.credentials.headers() == {"authorization": "Bearer t1"}
    (Path(account) / "token").unlink()
    assert not await connection.credentials.renew({"authorization": "Bearer t1"})
    assert await connection.credentials.headers() == {"authorization": "Bearer t1"}


def _ca() -> bytes:
    """Some certificate authorities: the ones that Python itself would load."""
    import certifi

    return Path(certifi.where()).read_bytes()


async def test_a_kubeconfig_that_is_named_goes_before_the_pods_account(tmp_path: Path) -> None:
    """Who names a file means it."""
    account = service_account(tmp_path / "account")
    config = kubeconfig(tmp_path / "config", {"token": "mine"})
    connection = await find_connection(
        ConnectionSettings(kubeconfig=config), environ=IN_POD, service_account_dir=account
    )
    assert (connection.host, await connection.credentials.headers()) == (
        "http://k8s.example.com:8080",
        {"authorization": "Bearer mine"},
    )


async def test_an_empty_service_account_is_told(tmp_path: Path) -> None:
    """By its folder."""
    account = service_account(tmp_path / "account", token="")
    with pytest.raises(ConnectionSettingsError, match=r"service account in .*account is of no use: Token file"):
        await find_connection(ConnectionSettings(), environ=IN_POD, service_account_dir=account)


@pytest.mark.parametrize("place", ["KUBECONFIG", "HOME", "settings", "joined"])
async def test_a_kubeconfig_is_found_where_kubectl_finds_it(tmp_path: Path, place: str) -> None:
    """KUBECONFIG, then ~/.kube/config; several files may be joined."""
    (tmp_path / ".kube").mkdir()
    config = kubeconfig(tmp_path / ".kube" / "config", {"token": "mine"})
    environ = {"HOME": str(tmp_path)}
    if place in {"KUBECONFIG", "joined"}:
        environ = {"HOME": "/nowhere", "KUBECONFIG": f"/no/such/file:{config}" if place == "joined" else config}
    settings = ConnectionSettings(kubeconfig=config) if place == "settings" else ConnectionSettings()
    connection = await found(settings, **environ)
    assert connection.host == "http://k8s.example.com:8080"


async def test_a_context_is_chosen(tmp_path: Path) -> None:
    """By the name in the settings; it may have no user."""
    config = kubeconfig(tmp_path / "config", {"token": "mine"})
    connection = await found(ConnectionSettings(kubeconfig=config, context="other"))
    assert (connection.host, await connection.credentials.headers()) == ("http://other.example.com", {})


@pytest.mark.parametrize(
    ("context", "content", "message"),
    [
        pytest.param("nobody", None, "config with context nobody cannot be used: .*nobody", id="unknown context"),
        pytest.param("empty", None, "config with context empty names no server", id="no server"),
        pytest.param("", "", "config cannot be used", id="an empty file"),
        pytest.param("", "[1, 2]", "config cannot be used", id="a list"),
        pytest.param("", "a: [", "config cannot be used", id="no yaml"),
        pytest.param("", "apiVersion: v1", "config cannot be used", id="nothing in it"),
        pytest.param("", "current-context: a\ncontexts: 7", "config cannot be used", id="odd types"),
    ],
)
async def test_a_kubeconfig_of_no_use_is_told(tmp_path: Path, context: str, content: str | None, message: str) -> None:
    """By file and context."""
    config = kubeconfig(tmp_path / "config", {"token": "hunter2"})
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(ConnectionSettingsError, match=message) as caught:
        await found(ConnectionSettings(kubeconfig=config, context=context))
    assert "hunter2" not in str(caught.value)


async def test_a_token_that_was_asked_for_replaces_every_other(tmp_path: Path) -> None:
    """It must not be passed over for a stronger one."""
    config = kubeconfig(tmp_path / "config", {"token": "mine"})
    connection = await found(ConnectionSettings(kubeconfig=config, bearer_token="given"))
    assert await connection.credentials.headers() == {"authorization": "Bearer given"}
    assert not await connection.credentials.renew({"authorization": "Bearer given"})


async def test_a_token_that_was_asked_for_replaces_a_certificate(tmp_path: Path) -> None:
    """An API server that knows a certificate's owner does not look at the token; this one could not even be loaded."""
    user = {"client-certificate-data": "aGVsbG8=", "client-key-data": "aGVsbG8="}
    config = kubeconfig(tmp_path / "config", user, server="https://k")
    connection = await found(ConnectionSettings(kubeconfig=config, bearer_token="given"))
    assert await connection.credentials.headers() == {"authorization": "Bearer given"}


async def test_a_users_password_is_sent_as_basic_authorization(tmp_path: Path) -> None:
    """Old clusters still know it."""
    config = kubeconfig(tmp_path / "config", {"username": "a", "password": "b"})
    connection = await found(ConnectionSettings(kubeconfig=config))
    assert await connection.credentials.headers() == {"authorization": "Basic YTpi"}


async def test_a_token_file_is_read_again_when_its_token_is_refused(tmp_path: Path) -> None:
    """The file is rotated by somebody else."""
    (tmp_path / "token").write_text("t0\n")
    config = kubeconfig(tmp_path / "config", {"tokenFile": str(tmp_path / "token")})
    credentials = (await found(ConnectionSettings(kubeconfig=config))).credentials
    assert await credentials.headers() == {"authorization": "Bearer t0"}
    (tmp_path / "token").write_text("t1\n")
    assert await credentials.renew({"authorization": "Bearer t0"})
    assert await credentials.headers() == {"authorization": "Bearer t1"}


async def test_a_token_file_is_read_again_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its token is refused."""
    monkeypatch.setattr("runner.kube.credentials.REFRESH_INTERVAL", 0.0)
    (tmp_path / "token").write_text("t0")
    config = kubeconfig(tmp_path / "config", {"tokenFile": str(tmp_path / "token")})
    credentials = (await found(ConnectionSettings(kubeconfig=config))).credentials
    (tmp_path / "token").write_text("t1")
    assert await credentials.headers() == {"authorization": "Bearer t1"}


async def test_a_token_that_cannot_be_read_again_stays_in_use() -> None:
    """A file may be away for a moment while it is replaced."""

    def hook(configuration: Configuration) -> None:
        del configuration
        raise OSError("token: no such file")

    configuration = Configuration()
    configuration.api_key["BearerToken"] = "Bearer t0"
    configuration.refresh_api_key_hook = hook
    credentials = ConfigurationCredentials(configuration, refresh=None, tls=None, source="a test")
    assert await credentials.headers() == {"authorization": "Bearer t0"}


async def test_a_plugin_runs_once_while_its_token_holds(tmp_path: Path) -> None:
    """A request costs no process."""
    user = plugin(tmp_path, '{"token": "t$N", "expirationTimestamp": "2999-01-01T00:00:00Z"}')
    credentials = (await found(ConnectionSettings(kubeconfig=kubeconfig(tmp_path / "config", user)))).credentials
    for _ in range(5):
        assert await credentials.headers() == {"authorization": "Bearer t1"}
    assert runs(tmp_path) == 1


async def test_a_plugin_whose_token_is_short_lived_is_not_run_for_each_request(tmp_path: Path) -> None:
    """At most every ten seconds, whatever it says."""
    user = plugin(tmp_path, '{"token": "t$N", "expirationTimestamp": "2001-01-01T00:00:00Z"}')
    credentials = (await found(ConnectionSettings(kubeconfig=kubeconfig(tmp_path / "config", user)))).credentials
    for _ in range(5):
        assert await credentials.headers() == {"authorization": "Bearer t1"}


async def test_a_refused_token_makes_the_plugin_run_once_for_all(
    tmp_path: Path, faults: Faults, listener: Listener
) -> None:
    """Many calls meet the 401; the plugin runs once more; every call is answered."""

    async def only_t2(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        good = request.headers.get("authorization") == "Bearer t2"
        return web.json_response({"metadata": {}}, status=200 if good else 401)

    faults.add(FaultRule("GET", "/pods/x$", only_t2, None))
    config = kubeconfig(tmp_path / "config", plugin(tmp_path, '{"token": "t$N"}'), server=listener.url)
    client = await connect(ConnectionSettings(kubeconfig=config), environ={})
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(client.read, "pods", "ci", "x")
    assert runs(tmp_path) == 2
    await client.aclose()


async def test_a_plugin_that_helps_no_more_is_left_alone(tmp_path: Path, faults: Faults, listener: Listener) -> None:
    """A refusal within ten seconds of a renewal is final."""

    async def nobody(request: web.Request, handler: Handler) -> web.StreamResponse:
        del request, handler
        return web.json_response({"reason": "Unauthorized"}, status=401)

    faults.add(FaultRule("GET", "/pods/x$", nobody, None))
    config = kubeconfig(tmp_path / "config", plugin(tmp_path, '{"token": "t1"}'), server=listener.url)
    client = await connect(ConnectionSettings(kubeconfig=config), environ={})
    for _ in range(4):
        with pytest.raises(UnauthorizedError):
            await client.read("pods", "ci", "x")
    assert (runs(tmp_path), len(faults.requests)) == (2, 4)
    await client.aclose()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param("{}", None, id="nothing in it"),
        pytest.param("{", "cannot be used: exec: failed to decode", id="no json"),
    ],
)
async def test_a_plugin_that_says_nothing_useful(tmp_path: Path, status: str, message: str | None) -> None:
    """Without a token we are nobody; nonsense is told."""
    config = kubeconfig(tmp_path / "config", plugin(tmp_path, status))
    if message is None:
        assert await (await found(ConnectionSettings(kubeconfig=config))).credentials.headers() == {}
        return
    with pytest.raises(ConnectionSettingsError, match=message):
        await found(ConnectionSettings(kubeconfig=config))


async def test_a_plugin_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    config = kubeconfig(tmp_path / "config", {"exec": {"apiVersion": "v1", "command": "/no/such/plugin"}})
    with pytest.raises(ConnectionSettingsError, match="/no/such/plugin"):
        await found(ConnectionSettings(kubeconfig=config))


async def test_a_plugin_that_fails_later_leaves_the_old_token_in_use(tmp_path: Path) -> None:
    """The server decides whether it still counts."""
    user = plugin(tmp_path, '{"token": "t$N"}')
    credentials = (await found(ConnectionSettings(kubeconfig=kubeconfig(tmp_path / "config", user)))).credentials
    (tmp_path / "plugin.sh").write_text("#!/bin/sh\necho 'no\nsecret' >&2\nexit 1\n")
    assert not await credentials.renew({"authorization": "Bearer t1"})
    assert await credentials.headers() == {"authorization": "Bearer t1"}


@pytest.mark.parametrize(
    ("proxy", "environ", "expected"),
    [
        pytest.param(
            "http://u:p@kube-proxy:1",
            {},
            ("http://kube-proxy:1", {"Proxy-Authorization": "Basic dTpw"}),
            id="kubeconfig",
        ),
        pytest.param(None, {"HTTP_PROXY": "http://env:2"}, ("http://env:2", {}), id="environment"),
        pytest.param("http://kube-proxy:1", {"HTTP_PROXY": "http://env:2"}, ("http://kube-proxy:1", {}), id="both"),
        pytest.param(None, {"HTTP_PROXY": "http://env:2", "NO_PROXY": "example.com"}, (None, {}), id="excluded"),
    ],
)
async def test_a_proxy_comes_from_the_kubeconfig_or_the_environment(
    tmp_path: Path, proxy: str | None, environ: dict[str, str], expected: tuple[str | None, dict[str, str]]
) -> None:
    """The kubeconfig's own goes first."""
    cluster = {"proxy-url": proxy} if proxy else {}
    config = kubeconfig(tmp_path / "config", {}, **cluster)
    connection = await found(ConnectionSettings(kubeconfig=config), **environ)
    assert (connection.proxy, dict(connection.proxy_headers)) == expected
    assert "dTpw" not in repr(connection)


async def test_a_proxy_of_a_kind_we_cannot_use_is_told(tmp_path: Path) -> None:
    """Without its password."""
    config = kubeconfig(tmp_path / "config", {}, **{"proxy-url": "socks5://u:hunter2@p:1"})
    with pytest.raises(ConnectionSettingsError, match=r"The proxy for http://k8s\.example\.com:8080") as caught:
        await found(ConnectionSettings(kubeconfig=config))
    assert "hunter2" not in str(caught.value)


async def test_tls_follows_the_kubeconfig(tmp_path: Path) -> None:
    """Server name and the wish not to verify."""
    config = kubeconfig(
        tmp_path / "config", {}, server="https://k", **{"insecure-skip-tls-verify": True, "tls-server-name": "other"}
    )
    connection = await found(ConnectionSettings(kubeconfig=config))
    assert connection.tls is not None
    assert (connection.server_hostname, connection.tls.check_hostname, connection.tls.verify_mode.name) == (
        "other",
        False,
        "CERT_NONE",
    )


async def test_the_processs_default_configuration_is_not_touched(tmp_path: Path) -> None:
    """An embedder may use kubernetes_asyncio for another cluster."""
    before = Configuration()
    before.host = "http://embedder"
    Configuration.set_default(before)
    try:
        connection = await found(ConnectionSettings(host="http://k", bearer_token="t"))
        assert connection.host == "http://k"
        default = Configuration.get_default_copy()
        assert (default.host, default.api_key) == ("http://embedder", {})
    finally:
        Configuration.set_default(None)


async def test_connecting_makes_tls_buffers_smaller() -> None:
    """For the whole process, and never larger again."""
    for _ in range(2):
        await (await connect(ConnectionSettings(host="http://k"), environ={})).aclose()
        assert asyncio.sslproto.SSLProtocol.max_size == 65536


def test_kubernetes_asyncio_is_imported_by_who_connects_alone() -> None:
    """`runner --help` must not pay for it."""
    program = "import sys, json, runner.kube.connect, runner.kube.informer; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert [name for name in modules if name.startswith("kubernetes_asyncio")] == []
