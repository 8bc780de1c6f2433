"""`only` and `except`, the elder sisters of `rules`: branches, tags, names, patterns, sources and expressions.

Every kind of condition in `only` has to hold, one in `except` is enough; within a kind one entry is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.pipeline.expressions import ExpressionError, matches_pattern
from runner.pipeline.findings import Warnings
from runner.pipeline.located import Part, Table
from runner.pipeline.rules import holds

_KEYS = ("refs", "variables", "changes", "kubernetes")
_SOURCES = {
    "push": "pushes",
    "schedule": "schedules",
    "trigger": "triggers",
    "pipeline": "pipelines",
    "merge_request_event": "merge_requests",
    "external_pull_request_event": "external_pull_requests",
}
"""CI_PIPELINE_SOURCE -> the word for it."""

_PATTERN = re.compile(r"/(.*)/([ismU]*)", re.DOTALL)


def wanted(job: Part, variables: Mapping[str, str], warnings: Warnings) -> bool:
    """Say whether `only` and `except` of a job let it into the pipeline; without them, branches and tags do."""
    only, excluded = job.get("only"), job.get("except")
    if only and not all(_conditions(only, variables, warnings, default=True)):
        return False
    if not only and not _ref_matches("branches", variables) and not _ref_matches("tags", variables):
        return False
    return not (excluded and any(_conditions(excluded, variables, warnings, default=False)))


def _conditions(part: Part, variables: Mapping[str, str], warnings: Warnings, *, default: bool) -> list[bool]:
    if not isinstance(part.value, Table):
        return [_refs(part, variables)]
    unknown = next((key for key in part.value if key not in _KEYS), None)
    if unknown:
        raise part.error(f"takes {', '.join(_KEYS)}, not `{unknown}`.")
    found: list[bool] = []
    refs = part.get("refs")
    if refs:
        found.append(_refs(refs, variables))
    elif default:
        found.append(_ref_matches("branches", variables) or _ref_matches("tags", variables))
    expressions = part.get("variables")
    if expressions:
        found.append(any([holds(item, variables) for item in expressions.items()]))
    changes = part.get("changes")
    if changes:
        warnings.add(changes.place, f"`{changes.keyword}` is taken as true: what changed is not known here")
        found.append(True)
    kubernetes = part.get("kubernetes")
    if kubernetes:
        warnings.add(kubernetes.place, f"`{kubernetes.keyword}` is taken as false: the project has no cluster here")
        found.append(False)
    return found


def _refs(part: Part, variables: Mapping[str, str]) -> bool:
    found = []
    for item in part.items():
        word, _, path = item.text().partition("@")
        try:
            matched = _ref_matches(word, variables)
        except ExpressionError as error:
            raise item.error(f"cannot be evaluated: {error}.") from None
        found.append(matched and path in ("", variables.get("CI_PROJECT_PATH", "")))
    return any(found)


def _ref_matches(word: str, variables: Mapping[str, str]) -> bool:
    tag, ref = "CI_COMMIT_TAG" in variables, variables.get("CI_COMMIT_REF_NAME", "")
    source = variables.get("CI_PIPELINE_SOURCE", "")
    if word in ("tags", "branches"):
        return tag is (word == "tags") and not source.startswith("merge_request")
    if word in (source, _SOURCES.get(source)):
        return True
    pattern = _PATTERN.fullmatch(word)
    return matches_pattern(pattern[1], pattern[2], ref) if pattern else word == ref
