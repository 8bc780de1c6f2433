"""Secrets in the file, and files that the configuration names. No value of a secret is in any text made here."""

import re
from collections.abc import Iterator
from typing import Final

from runner.config.checks.registration import is_placeholder
from runner.config.checks.rules import Problem, Rule, Whole, has_variable, quoted
from runner.config.model import RunnerConfig
from runner.config.positions import Path

_READABLE_BY_OTHERS = 0o044
_SECRET_NAME = re.compile(
    r"token|secret|passw(or)?d|credential|(private|access|api|secret|signing|encryption|ssh)_?key|auth_config",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"\$.*|[0-9]*|true|false|yes|no|[./~].*|https?://[^@]*", re.IGNORECASE | re.DOTALL)
_OF_THE_CACHE = (("s3", "secret_key"), ("s3", "session_token"), ("gcs", "private_key"), ("azure", "account_key"))


def _secret_in_environment(runner: RunnerConfig) -> Iterator[Problem]:
    """A variable that is given to every job looks like a secret."""
    for path, entry in _environment(runner):
        name, _, value = entry.partition("=")
        if _looks_secret(name, value):
            yield Problem(
                path,
                f"{quoted(name)} looks like a secret, and every job of the runner can read it",
                "make it a masked and protected CI/CD variable of the projects that need it",
            )


def _readable_by_others(whole: Whole) -> Iterator[Problem]:
    """Others can read the file, and there is a secret in it."""
    mode = whole.surroundings.mode
    if mode is None or not mode & _READABLE_BY_OTHERS:
        return
    first = next(_plain_secrets(whole), None)
    if first is not None:
        who = "everybody" if mode & 0o004 else "its group"
        yield Problem(
            first,
            f"this is a secret in plain text, and the file can be read by {who} on this machine "
            f"(its mode is {mode & 0o777:04o})",
            "chmod 600 the file, or take the token from the environment with $NAME",
        )


def _plain_secrets(whole: Whole) -> Iterator[Path]:
    """Where the file itself holds a secret."""
    for index, runner in enumerate(whole.config.runners):
        base: Path = ("runners", index)
        token = whole.written((*base, "token"))
        if isinstance(token, str) and not has_variable(token) and not is_placeholder(token):
            yield (*base, "token")
        if runner.kubernetes.bearer_token:
            yield (*base, "kubernetes", "bearer_token")
        for table, key in _OF_THE_CACHE:
            if getattr(getattr(runner.cache, table), key):
                yield (*base, "cache", table, key)
        for path, entry in _environment(runner):
            name, _, value = entry.partition("=")
            if _looks_secret(name, value):
                yield (*base, *path)


def _file_unreadable(whole: Whole) -> Iterator[Problem]:
    """A file that the configuration names cannot be read here."""
    read = whole.surroundings.read_text
    if read is None:
        return
    for path, name in _files(whole):
        if not name:
            continue
        reason = ""
        try:
            read(name)
        except OSError as error:
            reason = error.strerror or str(error)
        except ValueError:
            reason = "it is no text"
        if reason:
            yield Problem(
                path,
                f"{quoted(name)} cannot be read on this machine: {reason}",
                "put the file there, or check with --no-files where the runner's files are not",
            )


def _files(whole: Whole) -> Iterator[tuple[Path, str]]:
    for index, runner in enumerate(whole.config.runners):
        base: Path = ("runners", index)
        for key in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            yield (*base, key), getattr(runner, key)
        kubernetes = runner.kubernetes
        for key in ("cert_file", "key_file", "ca_file") if kubernetes.host else ():
            yield (*base, "kubernetes", key), getattr(kubernetes, key)
        for number, patch in enumerate(kubernetes.pod_spec):
            yield (*base, "kubernetes", "pod_spec", number, "patch_path"), patch.patch_path
        if runner.cache.type == "gcs":
            yield (*base, "cache", "gcs", "credentials_file"), runner.cache.gcs.credentials_file


def _environment(runner: RunnerConfig) -> Iterator[tuple[Path, str]]:
    """The entries of the runner's environment and of its services', with their paths."""
    for index, entry in enumerate(runner.environment):
        yield ("environment", index), entry
    for number, service in enumerate(runner.kubernetes.services):
        for index, entry in enumerate(service.environment):
            yield ("kubernetes", "services", number, "environment", index), entry


def _looks_secret(name: str, value: str) -> bool:
    return bool(value) and _SECRET_NAME.search(name) is not None and not _NO_SECRET.fullmatch(value)


RULES: Final[tuple[Rule[Whole], ...]] = (
    Rule("readable-by-others", "warning", _readable_by_others),
    Rule("file-unreadable", "warning", _file_unreadable),
)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("secret-in-environment", "warning", _secret_in_environment),
)
"""Those that look at `[[runners]]`."""
