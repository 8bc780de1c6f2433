"""`[[runners.kubernetes.pod_spec]]`: patches that cannot be read, and patches that nobody applies."""

from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, Whole
from runner.config.model import RunnerConfig
from runner.config.patches import PATCH_TYPES, PodPatch
from runner.config.positions import Path

_FLAG = "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")


def _patch_without_flag(runner: RunnerConfig) -> Iterator[Problem]:
    """There are patches, and the feature flag that they need is off."""
    given = (entry.partition("=") for entry in runner.environment)
    if runner.kubernetes.pod_spec and not runner.feature_flags.get(_FLAG) and _FLAG not in {key for key, _, _ in given}:
        yield Problem(
            ("kubernetes", "pod_spec"),
            f"patches count only with {_FLAG}, which is off for every job that does not set it",
            f"set {_FLAG} = true in [runners.feature_flags]",
        )


def _patch_empty(runner: RunnerConfig) -> Iterator[Problem]:
    """A patch has no text."""
    for index, patch in enumerate(runner.kubernetes.pod_spec):
        if not (patch.patch or patch.patch_path):
            yield Problem(
                ("kubernetes", "pod_spec", index),
                "it has neither patch nor patch_path and changes nothing",
                "write one of them, or take it away",
            )


def _patch_text(whole: Whole) -> Iterator[Problem]:
    """A patch is no YAML, or not of the form that its type has."""
    for number, runner in enumerate(whole.config.runners):
        for index, patch in enumerate(runner.kubernetes.pod_spec):
            path: Path = ("runners", number, "kubernetes", "pod_spec", index, "patch")
            text = patch.patch
            if not text and patch.patch_path and whole.surroundings.read_text:
                path = (*path[:-1], "patch_path")
                try:
                    text = whole.surroundings.read_text(patch.patch_path)
                except (OSError, ValueError):
                    continue  # another rule tells it
            if text:
                yield from _text_problems(path, text, patch)


def _text_problems(path: Path, text: str, patch: PodPatch) -> Iterator[Problem]:
    import yaml  # here, because few configurations have a patch

    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" at its line {error.problem_mark.line + 1}" if error.problem_mark else ""
        yield Problem(path, f"the patch is no YAML{line}: every job fails", "correct it; TOML keeps the indentation")
    except (yaml.YAMLError, ValueError, RecursionError):
        yield Problem(path, "the patch is no YAML: every job fails", "correct it")
    else:
        yield from _form_problems(path, document, patch.patch_type)


def _form_problems(path: Path, document: object, patch_type: str) -> Iterator[Problem]:
    if document is None:
        yield Problem(path, "the patch is empty and changes nothing", "write what to change, or take it away")
    elif patch_type == "json":
        if not isinstance(document, list):
            yield Problem(
                path, "a json patch is a list of operations, and this is none: every job fails", "write it so"
            )
            return
        for number, operation in enumerate(document, 1):
            if not (isinstance(operation, dict) and operation.get("op") in _OPERATIONS and "path" in operation):
                yield Problem(
                    path,
                    f"operation {number} is none: every job fails",
                    f"give it a path and an op of {', '.join(_OPERATIONS)}",
                )
    elif patch_type in PATCH_TYPES:
        if not isinstance(document, dict):
            yield Problem(path, f"a {patch_type} patch is a table, and this is none: every job fails", "write it so")
        elif patch_type == "merge" and isinstance(document.get("containers"), list):
            yield Problem(
                path,
                "a merge patch replaces the whole list of containers, helper and services too",
                'use the type "strategic", which merges containers by their names',
            )


RULES: Final[tuple[Rule[Whole], ...]] = (Rule("patch-text", "error", _patch_text),)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("patch-without-flag", "warning", _patch_without_flag),
    Rule("patch-empty", "warning", _patch_empty),
)
"""Those that look at `[[runners]]`."""
