"""What `runner pod` and `runner rbac` are given: a config.toml with the places of its keys, and a job's payload."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.local import mention_warnings, wanted_jobs
from runner.cli.local_repository import LocalRepository
from runner.config.findings import ConfigError
from runner.config.keys import nearest
from runner.config.load import read_config
from runner.config.positions import place_of, positions
from runner.pipeline.build import build_pipeline
from runner.pipeline.findings import PipelineError
from runner.pipeline.payload import job_payload
from runner.pipeline.predefined import Occasion, predefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.config.findings import Finding
    from runner.config.load import Reading
    from runner.config.model import Config, RunnerConfig

Json = dict[str, Any]
KeyPath = tuple[str | int, ...]
"""Fields and indexes from the configuration's root; `runners` counts those of this executor alone."""

_JOB_ID = 1001
_JOB_TOKEN = "glcbt-of_no_gitlab_at_all"
_NO_TOKEN = "glrt-xxxxxxxxxxxxxxxxxxxx"
_TOKEN_VARIABLE = re.compile(r"""^\s*token\s*=\s*["']\$\{?(\w+)""", re.IGNORECASE | re.MULTILINE)


class Trouble(click.ClickException):
    """What keeps a command from giving its answer; one sentence, exit code 2."""

    exit_code = 2


class ConfigFile:
    """A configuration that can be used, and where its keys stand."""

    def __init__(self, path: Path, text: str, reading: Reading) -> None:
        assert reading.config is not None
        self.config: Config = reading.config
        self.name = path.name
        self._text = text.removeprefix("\ufeff")
        self._reading = reading

    def runner(self, name: str | None) -> tuple[int, RunnerConfig]:
        """Choose an entry by its name; without one there has to be only one. Raises Trouble."""
        runners = self.config.runners
        known = ", ".join(f'"{runner.name}"' for runner in runners)
        if not runners:
            raise Trouble(f'{self.name} has no runner with executor = "kubernetes".')
        if name is None:
            if len(runners) > 1:
                raise Trouble(f"{self.name} has {len(runners)} runners: choose one with --runner ({known}).")
            return 0, runners[0]
        found = [(index, runner) for index, runner in enumerate(runners) if runner.name == name]
        if len(found) > 1:
            raise Trouble(f'{self.name} has {len(found)} runners of the name "{name}": give each a name of its own.')
        if not found:
            near = nearest(name, [runner.name for runner in runners])
            raise Trouble(f'{self.name} has no runner "{name}"{near or f"; there are {known}."}')
        return found[0]

    def place(self, path: KeyPath) -> str:
        """Say where a key stands and how it is spelled: `config.toml:12 cpu_limit`."""
        spelled = self._reading.spelled(path)
        return f"{self.name}:{place_of(self._places, spelled).line} {key_name(spelled)}"

    @cached_property
    def _places(self) -> Mapping[KeyPath, Any]:
        return positions(self._text)


def key_name(path: KeyPath) -> str:
    """Name a key below its runner, as `pod_labels.team` or `volumes.host_path[0].mount_path`."""
    match path:
        case ("runners", int(), "kubernetes", _, *_):
            parts = path[3:]
        case ("runners", int(), _, *_):
            parts = path[2:]
        case _:
            parts = path
    if parts and isinstance(parts[-1], int):
        parts = parts[:-1]  # an element of a list is found by its line
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def config_path(given: str | None) -> Path:
    """The configuration's file: the one named, else CONFIG_FILE, else where GitLab Runner keeps it."""
    from runner.manager.config_path import default_config_path

    return Path(given or os.environ.get("CONFIG_FILE") or default_config_path())


def read_config_file(path: Path) -> ConfigFile:
    """Read a configuration; its warnings go to stderr. Raises Trouble."""
    text = _read_text(path, what="Name the configuration with --config.")
    try:
        reading = read_config(text, file=str(path), environ=_environment(text))
    except ConfigError as error:
        raise Trouble(_sentences(error.findings)) from None
    if reading.config is None:
        raise Trouble(_sentences(finding for finding in reading.findings if finding.severity == "error"))
    for finding in reading.findings:
        click.echo(f"{finding.severity}: {finding}", err=True)
    return ConfigFile(path, text, reading)


def _environment(text: str) -> Mapping[str, str]:
    """The environment, and a token that opens nothing where it has none: manifests and Roles need no secret."""
    given = {name: value for name, value in os.environ.items() if value}
    return {**dict.fromkeys(_TOKEN_VARIABLE.findall(text), _NO_TOKEN), **given}


def read_payload(file: str) -> Json:
    """Read a job as GitLab hands it out; `-` is stdin. Raises Trouble."""
    name = "stdin" if file == "-" else file
    text = sys.stdin.read() if file == "-" else _read_text(Path(file), what="Name a file with a job's payload.")
    try:
        payload = json.loads(text)
    except ValueError as error:
        place = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Trouble(f"{name}{place}: this is no JSON, and a job's payload is: {_reason(error)}.") from None
    except RecursionError:
        raise Trouble(f"{name}: this JSON is nested too deeply for a job's payload.") from None
    if not isinstance(payload, dict):
        raise Trouble(f"{name}: a job's payload is a JSON object, as GitLab answers `POST /api/v4/jobs/request`.")
    return payload


def payload_of_pipeline(job: str, *, file: str, server_url: str, variables: Mapping[str, str]) -> Json:
    """Make the payload of a job in the repository's .gitlab-ci.yml, as `runner local` does. Raises Trouble."""
    repository = LocalRepository()
    checkout = repository.checkout()
    checkout = replace(checkout, repo_url=f"{server_url}/{checkout.path}.git")
    path = repository.path_of(file)
    occasion = Occasion(
        server_url=server_url,
        pipeline_id=1,
        # The same commit gives the same manifests, whenever they are looked at.
        created_at=checkout.committed_at,
        user=repository.user(),
        config_path=path,
    )
    try:
        pipeline = build_pipeline(path, repository.files(), predefined=predefined(checkout, occasion), extra=variables)
        found = wanted_jobs(pipeline, (job,))
    except PipelineError as error:
        raise Trouble("\n".join(error.messages)) from None
    if len(found) > 1:
        names = ", ".join(f'"{each.name}"' for each in found)
        raise Trouble(f"`{job}` is {len(found)} jobs: choose one of {names}.")
    mention_warnings(pipeline.warnings)
    return job_payload(found[0], id=_JOB_ID, token=_JOB_TOKEN, checkout=checkout, occasion=occasion, extra=variables)


def _read_text(path: Path, *, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}. {what}") from None
    except UnicodeDecodeError as error:
        raise Trouble(f"{path}: not UTF-8 at byte {error.start}.") from None


def _sentences(findings: Iterable[Finding]) -> str:
    return "\n".join(str(finding) for finding in findings)


def _reason(error: ValueError) -> str:
    # The decoder's own words; what they are about may be a secret.
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
