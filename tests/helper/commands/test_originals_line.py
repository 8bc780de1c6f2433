"""The helper's command line beside the original's: what our scripts say to it, what its managers say to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from runner.config.model import RunnerConfig
from runner.helper.__main__ import COMMANDS
from runner.helper.console import HelperError
from runner.helper.flags import Flag, parse_flags
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.cache_links import CacheLinks
from runner.shell.scripts import ScriptContext, script_for
from tests.helper.commands.conftest import Run

COORDINATOR = "id token url tls-ca-file tls-cert-file tls-key-file"
TRANSFER = "retry retry-time transfer-buffer-size chunk-size concurrency transfer-meter-frequency"
PROVENANCE = (
    "generate-artifacts-metadata runner-id repo-url repo-digest job-name executor-name runner-name started-at ended-at "
    "schema-version metadata-parameter"
)

PROVENANCE_VARIABLE = "RUNNER_GENERATE_ARTIFACTS_METADATA"

ORIGINAL: Mapping[str, str] = {
    "artifacts-uploader": f"{COORDINATOR} path exclude untracked verbose name expire-in artifact-format artifact-type "
    f"compression-level timeout response-header-timeout ci-debug-trace transfer-meter-frequency {PROVENANCE}",
    "artifacts-downloader": f"{COORDINATOR} retry retry-time transfer-meter-frequency direct-download "
    "archiver-staging-dir",
    "cache-archiver": "file alternate-file url check-url gocloud-url timeout header metadata compression-level "
    f"compression-format max-uploaded-archive-size env-file path exclude untracked verbose {TRANSFER}",
    "cache-extractor": "file url gocloud-url alternate-url alternate-gocloud-url head-url alternate-head-url timeout "
    f"env-file {TRANSFER}",
    "cache-init": "",
    "health-check": "port p",
    "read-logs": "path offset wait-file-timeout",
}
"""The original's commands and their flags, as its helper of version 19 has them."""

FIRST = {
    "max-uploaded-archive-size": "15.6",
    "timeout": "18.10",
    "response-header-timeout": "18.10",
    "alternate-file": "18.11",
    "check-url": "18.11",
    "alternate-url": "19.0",
    "head-url": "19.0",
    "alternate-head-url": "19.0",
    "env-file": "17.10",
}
"""Flags that a helper since 13.6 may not know, and the first version that does."""

ABSENT = {
    "proxy-exec": "experimental; masks are laid over the log by the manager, which needs no help in the pod",
    "steps": "jobs with run: are refused, so nobody asks for it",
}
"""Commands of the original that are none here, and why."""

IGNORED = {
    "verbose": "what is found is told pattern by pattern; a line for each of many thousand files helps nobody",
    "ci-debug-trace": "GitLab's answer to an upload is told always",
    "transfer-buffer-size": "files are read in pieces of 1 MiB, whatever is asked for: memory stays bounded",
}
"""Flags that are taken and change nothing, and why."""


def _flags(command: str) -> Mapping[str, Flag]:
    return {flag.name: flag for flag in getattr(import_module(COMMANDS[command]), "_FLAGS", ())}


@pytest.mark.parametrize("command", ORIGINAL)
def test_each_flag_of_the_original_is_taken(command: str) -> None:
    """With one dash or two, with a value of its kind; a flag that is none is still refused."""
    flags = _flags(command)
    wanted = ORIGINAL[command].split()
    assert sorted(flags) == sorted(wanted)
    values = {"number": "7", "boolean": "true", "duration": "1m", "text": "x", "texts": "x"}
    for name in wanted:
        for dashes in ("-", "--"):
            parse_flags(tuple(flags.values()), [f"{dashes}{name}={values[flags[name].kind]}"], {})
    with pytest.raises(HelperError, match="flag provided but not defined: -odd"):
        parse_flags(tuple(flags.values()), ["--odd"], {})


def test_each_command_of_the_original_is_there_or_has_a_reason() -> None:
    """`agent` is ours alone."""
    assert set(COMMANDS) - {"agent"} == set(ORIGINAL)
    assert not set(ABSENT) & set(COMMANDS)


@pytest.mark.parametrize("name", IGNORED)
def test_a_flag_that_changes_nothing_is_read_by_no_command(name: str) -> None:
    """So the list of them stays true."""
    for module in set(COMMANDS.values()):
        text = Path(str(import_module(module).__file__)).read_text()
        assert not re.search(rf'given\.\w+\("{name}"\)', text)


@pytest.mark.parametrize("command", sorted(ORIGINAL))
def test_a_command_names_its_flags_when_it_is_asked(run: Run, command: str) -> None:
    """Scripts look there for those that a helper knows."""
    code, said = run(command, "--help")
    assert code == 0
    assert re.findall(r"^  --([\w-]+)", said, re.MULTILINE) == list(_flags(command))


LINKS = CacheLinks(
    "https://s/u",
    "https://s/h",
    {"x-a": "b"},
    "https://s/a",
    "https://s/ah",
    "s3://b/k?region=r",
    {"AWS_ACCESS_KEY_ID": "k"},
)


def _context() -> ScriptContext:
    """A job that makes a script say all it can to the helper."""
    entry = {"paths": ["x"], "exclude": ["y"], "untracked": True, "when": "always"}
    artifact = {**entry, "name": "n", "expire_in": "1 day", "artifact_format": "zip", "artifact_type": "archive"}
    dependency = {"id": 5, "name": "d", "token": "t", "artifacts_file": {"filename": "a.zip", "size": 1}}
    job: dict[str, Any] = {
        "id": 7,
        "token": "t0k",
        "job_info": {"name": "t"},
        "git_info": {"ref": "m"},
        "cache": [{"key": "k", **entry}],
        "artifacts": [artifact],
        "dependencies": [dependency],
    }
    limits = {
        "cache": {"MaxUploadedArchiveSize": 5},
        "artifact": {"upload_timeout": "5m", "response_header_timeout": "5m"},
    }
    return ScriptContext(
        job=Job.parse(job),
        variables=Variables((Variable("CACHE_FALLBACK_KEY", "f"), Variable(PROVENANCE_VARIABLE, "true"))),
        config=RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-x", **limits}),
        project_dir="/builds/p",
        temp_dir="/builds/p.tmp",
        builds_dir="/builds",
        cache_dir="/cache",
        cache_links={"k": LINKS, "f": LINKS},
    )


STAGES = (
    "restore_cache",
    "download_artifacts",
    "archive_cache",
    "archive_cache_on_failure",
    "upload_artifacts_on_success",
    "upload_artifacts_on_failure",
)


@pytest.mark.parametrize("stage", STAGES)
def test_what_our_scripts_say_the_original_understands(stage: str) -> None:
    """Each command and flag is one of its own; what only some versions know is asked for first, or configured."""
    script = script_for(stage, _context())
    assert script is not None
    text = script.text.replace("'\\''", "'").replace("'\"'\"'", "'")
    calls = re.findall(r"gitlab-runner-helper'? '?([a-z][a-z-]+)", text)
    assert calls
    assert set(calls) <= set(ORIGINAL)
    known = {flag for command in set(calls) for flag in ORIGINAL[command].split()}
    said = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)) - {"version", "help"}
    assert said - known == set()
    asked_for = set(re.findall(r"in \*([a-z-]+)\*\)", text))
    configured = {"max-uploaded-archive-size", "timeout", "response-header-timeout"}
    for flag in said & set(FIRST) - configured:
        together = {"head-url", "alternate-url", "alternate-head-url"}, {"alternate-file", "check-url"}, {"env-file"}
        assert any(flag in group and group & asked_for for group in together), flag
