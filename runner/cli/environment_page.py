"""The page of every environment variable that is read here, made from the models and the commands.

`docs/environment.md` is this module's output and a test holds the two together; write it anew with
`python -m runner.cli.environment_page > docs/environment.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from pydantic import AliasChoices

from runner.cli.main import root
from runner.cli.register_flags import FLAGS
from runner.config.inputs import inputs
from runner.manager.settings import ProcessSettings

_INTRODUCTION = """\
# Environment

Every variable that the program reads, of this version and of GitLab Runner's versions since 2016, with the flag and the
key of config.toml for the same thing. A flag wins over a variable, a variable over the file; a variable that is empty
is none.

Two kinds: the process's own are read each time it starts. Those of a runner are read by `register`, which writes them
into config.toml, and by `run-single`; `run` takes them from the file alone.
"""

_ALSO = (
    ("RUNNER_DEBUG", "`--debug` before the command", "true: log everything"),
    ("CPU_PROFILE", "`--cpuprofile` before the command", "accepted; nothing is written"),
    ("KUBECONFIG", "`--kubeconfig`", "the way to the API server where a runner names no `host`"),
    ("NO_COLOR, FORCE_COLOR", "", "colours of `runner local` and `runner config check`"),
    ("HOME", "", "`~` in `~/.gitlab-runner/config.toml`, `~/.kube/config`, `~/.aws`"),
    (
        "POD_NAME, POD_NAMESPACE, HOSTNAME",
        "",
        "the replica's name, for its system id where none can be kept beside config.toml",
    ),
    ("TMPDIR", "", "where logs lie until GitLab has them"),
)
_NETWORK = (
    ("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "proxies to GitLab, the API server and stores; in small letters too"),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "certificates that are trusted instead of the system's"),
    ("SENTRY_DSN", "not acted on, as `sentry_dsn` of config.toml"),
)
_STORES = (
    ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "credentials of S3 where config.toml has none"),
    ("AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE", "where else they may stand"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME", "a role that the pod's account may take"),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN,"
        " AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "an agent that gives credentials",
    ),
    ("AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT", "the machine's own role"),
    ("AWS_REGION, AWS_ENDPOINT_URL_STS", "where roles are taken"),
    ("AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_DOMAIN, AZURE_STORAGE_SAS_TOKEN", "the same of Azure's store"),
)
_IMAGE = (
    (
        "RUNNER_HELPER_IMAGE",
        "the helper image of runners that name none; the image holds its own name, if built with it",
    ),
    ("CA_CERTIFICATES_PATH", "certificates to trust besides the system's; `/etc/gitlab-runner/certs/ca.crt`"),
    ("RUNNER_REVISION", "what `version` and GitLab are told"),
)

Row = tuple[str, ...]


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(
        [
            _INTRODUCTION,
            *_table("The process", ("Variable", "Flag", "config.toml", "Default", ""), _process()),
            *_table("The process, without a setting", ("Variable", "Flag", ""), _marked(_ALSO)),
            *_table("Network", ("Variable", ""), _marked(_NETWORK)),
            *_table("Stores of caches", ("Variable", ""), _marked(_STORES)),
            *_table("The image", ("Variable", ""), _marked(_IMAGE)),
            *_table("register alone", ("Variable", "Flag", ""), _registration()),
            *_table("Other commands", ("Variable", "Flag", "Command"), _commands()),
            *_table("A runner: register and run-single", ("Variable", "Flag", "Key below `[[runners]]`"), _runner()),
            *_table("Former names", ("Variable", "Flag", "Key", "Sets"), _former()),
            "This page is made from the source.\n",
        ]
    )


def variables() -> set[str]:
    """Every name on the page."""
    cells = (
        row[0]
        for rows in (
            _process(),
            _marked(_ALSO),
            _marked(_NETWORK),
            _marked(_STORES),
            _marked(_IMAGE),
            _registration(),
            _commands(),
            _runner(),
            _former(),
        )
        for row in rows
    )
    return {name.strip("`") for cell in cells for name in cell.split(", ")}


def _process() -> Iterator[Row]:
    run = root.get_command(click.Context(root), "run")
    assert run is not None
    flags = {parameter.name: parameter.opts for parameter in run.params}
    keys = {"log_level", "log_format", "listen_address"}
    for name, field in ProcessSettings.model_fields.items():
        assert isinstance(field.validation_alias, AliasChoices)
        names = [str(choice) for choice in field.validation_alias.choices if str(choice).isupper()]
        default = "" if field.default_factory or field.default in {None, ""} else f"`{field.default}`"
        yield (
            _code(names),
            _code(flags.get(name, ())),
            f"`{name}`" if name in keys else "",
            default,
            field.description or "",
        )


def _registration() -> Iterator[Row]:
    for flag in FLAGS:
        yield f"`{flag.env}`", _code(flag.spellings), flag.about


def _commands() -> Iterator[Row]:
    """Variables of commands that are flags' own, such as those of `unregister`."""
    for name in root.list_commands(click.Context(root)):
        command = root.get_command(click.Context(root), name)
        for parameter in command.params if command else ():
            if isinstance(parameter, click.Option) and parameter.envvar:
                yield f"`{parameter.envvar}`", _code(parameter.opts), f"`{name}`"


def _runner() -> Iterator[Row]:
    for key in inputs():
        if key.env and not key.today:
            yield f"`{key.env}`", f"`--{key.flag}`" if key.flag else "", f"`{'.'.join(key.path)}`"


def _former() -> Iterator[Row]:
    for key in inputs():
        if key.env and key.today:
            flag = f"`--{key.flag}`" if key.flag else ""
            yield f"`{key.env}`", flag, f"`{'.'.join(key.path)}`", _code(key.today)
    for key in inputs():
        if key.former_env:
            yield f"`{key.former_env}`", "", "", f"`{'.'.join(key.path)}`"


def _marked(rows: Iterable[Row]) -> Iterator[Row]:
    for names, *rest in rows:
        yield _code(names.split(", ")), *rest


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(title: str, heads: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
