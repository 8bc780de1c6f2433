"""`[[runners.kubernetes.pod_spec]]`: patches for the finished spec of a pod.

Law: a patch that cannot be read or does not apply fails the job with a sentence that names the patch, before anything
is created. Patches change the pod's spec alone, never its metadata, in the order of the file, each on the result of the
one before. What they make of the pod is judged by the API server; only that the runner's own containers are still
there is checked here, because it cannot work without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import yaml

from runner.config.patches import PATCH_TYPES, PodPatch
from runner.job.outcome import JobConfigurationError
from runner.podspec.json_patch import JsonPatchError, json_patch
from runner.podspec.manifest import Manifest
from runner.podspec.strategic_merge import StrategicMergeError, strategic_merge

FLAG = "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"
"""The feature flag without which patches are left out."""

BETA_WARNING = (
    "Advanced Pod Spec configuration enabled, merging the provided PodSpec to the generated one. "
    "This is a beta feature and is subject to change."
)
"""What the job log says while the flag is on and there are patches; GitLab Runner's words."""

_MOST_LEVELS = 100
_CONTAINERS = ("build", "helper")


@dataclass(frozen=True, slots=True)
class SpecPatch:
    """One patch, read and ready."""

    title: str
    """How messages name it: its name, or its number from 1."""
    type: str
    document: Any
    """What the text says, as JSON; never changed."""


def read_patches(entries: Iterable[PodPatch], read_text: Callable[[str], str]) -> tuple[SpecPatch, ...]:
    """Read the configured patches; `read_text` gives the text of a file and may raise OSError or ValueError.

    Raises JobConfigurationError for the first one that is wrong.
    """
    return tuple(read_patch(entry, number, read_text) for number, entry in enumerate(entries, 1))


def read_patch(entry: PodPatch, number: int, read_text: Callable[[str], str]) -> SpecPatch:
    """Read one patch; `number` counts from 1 and names a patch without a name. Raises JobConfigurationError."""
    title = f'"{entry.name}"' if entry.name else f"number {number}"
    if entry.patch_type not in PATCH_TYPES:
        known = ", ".join(PATCH_TYPES)
        raise _error(title, f'has the patch_type "{entry.patch_type}", which is none of {known}')
    if entry.patch and entry.patch_path:
        raise _error(title, "has both patch and patch_path: take one of them away")
    text = _file(entry.patch_path, title, read_text) if entry.patch_path else entry.patch
    document = _document(title, text)
    expected, kind = (list, "a list of operations") if entry.patch_type == "json" else (dict, "a table")
    if document is not None and not isinstance(document, expected):
        raise _error(title, f"is not {kind}, as a {entry.patch_type} patch has to be")
    return SpecPatch(title, entry.patch_type, document)


def apply_patches(spec: Manifest, patches: Iterable[SpecPatch]) -> Manifest:
    """Give the spec with all patches applied, in their order. Raises JobConfigurationError; changes neither."""
    for patch in patches:
        if patch.document is not None:
            spec = _checked(patch, _APPLY[patch.type](spec, patch))
    return spec


# Reading ---------------------------------------------------------------------------------------------------------


def _file(path: str, title: str, read_text: Callable[[str], str]) -> str:
    try:
        return read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _error(title, f'names the file "{path}", which cannot be read: {reason}') from error


def _document(title: str, text: str) -> object:
    try:
        return _parsed(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _error(title, f"is no YAML: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _error(title, f"is no YAML that JSON could hold: {error}") from error


@lru_cache(maxsize=256)
def _parsed(text: str) -> object:
    """Read YAML, of which JSON is a part. The same text comes with every job, and parsing it takes milliseconds."""
    return _jsonable(yaml.load(text, Loader=_Loader), 0)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date is a text."""


def _as_written(_: _Loader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_written)


def _jsonable(value: object, level: int) -> object:
    """Turn what YAML gives into what JSON can hold: the keys of its tables are texts."""
    if level > _MOST_LEVELS:
        raise ValueError(f"more than {_MOST_LEVELS} tables and lists are inside each other")
    if isinstance(value, dict):
        return {_key(key): _jsonable(each, level + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_jsonable(each, level + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{type(value).__name__} is no type of JSON")


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError(f"{key} is no key of JSON")


# Applying --------------------------------------------------------------------------------------------------------


def _strategic(spec: Manifest, patch: SpecPatch) -> object:
    try:
        return strategic_merge(spec, patch.document)
    except StrategicMergeError as error:
        raise _error(patch.title, str(error)) from error


def _merge(spec: Manifest, patch: SpecPatch) -> object:
    return _merged(spec, patch.document)


def _merged(known: object, patch: object) -> object:
    """RFC 7386: a null deletes, a table is merged, everything else replaces."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(known) if isinstance(known, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _json(spec: Manifest, patch: SpecPatch) -> object:
    """RFC 6902. `affinity` and each container's `resources` are there to be added to, as in GitLab Runner."""
    lists = {key: _with_resources(spec[key]) for key in ("initContainers", "containers") if key in spec}
    try:
        return json_patch({"affinity": {}, **spec, **lists}, patch.document)
    except JsonPatchError as error:
        raise _error(patch.title, str(error)) from error


def _with_resources(containers: Any) -> Any:
    if not isinstance(containers, list):
        return containers
    return [{"resources": {}, **each} if isinstance(each, dict) else each for each in containers]


def _checked(patch: SpecPatch, spec: object) -> Manifest:
    if not isinstance(spec, dict):
        raise _error(patch.title, "leaves no spec of a pod")
    containers = spec.get("containers")
    names = {each.get("name") for each in containers if isinstance(each, dict)} if isinstance(containers, list) else ()
    for name in _CONTAINERS:
        if name not in names:
            raise _error(patch.title, f'takes the container "{name}" away, without which no job runs: let it be there')
    return spec


_APPLY: Mapping[str, Callable[[Manifest, SpecPatch], object]] = MappingProxyType(
    {"strategic": _strategic, "merge": _merge, "json": _json}
)


def _error(title: str, sentence: str) -> JobConfigurationError:
    return JobConfigurationError(f"the pod_spec patch {title} {sentence}.")
