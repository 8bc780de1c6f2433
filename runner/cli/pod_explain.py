"""Where each field of a job's manifests comes from, for `runner pod --explain`.

Every key of the configuration, every variable and field of the payload and every patch is taken away once, or changed
where it cannot go or equals its own default; what is built then shows the fields that it decides
(`runner.podspec.origins`). So a field may have several origins: a variable, and the key that lets it count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from runner.cli.pod_inputs import key_name
from runner.cli.pod_render import render
from runner.config.model import RunnerConfig
from runner.job.outcome import JobError
from runner.job.payload import PayloadError
from runner.podspec.manifest import Manifest
from runner.podspec.origins import Path, alternatives, changed, leaves, origins, with_value, without
from runner.podspec.secret import PART_LABEL

if TYPE_CHECKING:
    from runner.cli.pod_inputs import ConfigFile, Json
    from runner.cli.pod_render import Rendering

DEFAULT = "default"
"""The origin of what nobody has asked for."""

_PATCHES = ("kubernetes", "pod_spec")
_LISTED = ("variables", "credentials")
"""Parts of the payload whose items count as one each."""

Manifests = tuple[Manifest, ...]
Experiment = tuple[str, Iterable[Manifests]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a rendering was made from."""

    file: ConfigFile
    index: int
    """Of the runner."""
    runner: RunnerConfig
    payload: Json


def explain(inputs: Inputs, rendering: Rendering) -> dict[Path, tuple[str, ...]]:
    """Say of every leaf of the manifests where its value comes from; paths begin with the manifest's number.

    What has no origin is a default. The order is: patches, variables, the rest of the payload, the configuration.
    """
    found = origins(rendering.manifests, (*_patches(inputs), *_payload(inputs, rendering.manifests), *_keys(inputs)))
    records = _records(rendering.manifests)
    return {
        path: ("the whole payload",) if path[:2] in records else found.get(path, ())
        for path, _ in leaves(list(rendering.manifests))
    }


def _patches(inputs: Inputs) -> Iterator[Experiment]:
    """Each patch left out; where a later one needs it, the later ones too."""
    values = _values(inputs)
    for number, patch in enumerate(inputs.runner.kubernetes.pod_spec):
        entries = values["kubernetes"]["pod_spec"]
        kept = ([*entries[:number], *entries[number + 1 :]], list(entries[:number]))
        place = inputs.file.place(("runners", inputs.index, *_PATCHES, number)).partition(" ")[0]
        name = f'patch {number + 1} "{patch.name}"' if patch.name else f"patch {number + 1}"
        yield f"{name} ({place})", _with_config(inputs, (with_value(values, _PATCHES, some) for some in kept))


def _keys(inputs: Inputs) -> Iterator[Experiment]:
    """Each key of the runner's table; an element of a list counts as one."""
    values = _values(inputs)
    for path, value in leaves(values):
        if path[:2] != _PATCHES:
            place = inputs.file.place(("runners", inputs.index, *path))
            yield place, _with_config(inputs, _variants(values, path, value))


def _payload(inputs: Inputs, base: Manifests) -> Iterator[Experiment]:
    """Each variable, each of the credentials, and each other value of the payload that can matter."""
    payload = inputs.payload
    for kind in _LISTED:
        for number, item in enumerate(payload.get(kind) or ()):
            yield _item_name(kind, number, item), _outcomes(inputs, base, (kind, number))
    for key in payload:
        if key not in _LISTED and next(_with_payload(inputs, (without(payload, (key,)),)), None) != base:
            for path, _ in leaves(payload[key], (key,)):
                yield _leaf_name(path, payload), _outcomes(inputs, base, path)


def _outcomes(inputs: Inputs, base: Manifests, path: Path) -> Iterator[Manifests]:
    """Without a part of the payload; where that takes a whole object away or cannot be, with its values changed."""
    payload = inputs.payload
    gone = next(_with_payload(inputs, (without(payload, path),)), None)
    if gone is not None:
        yield gone
        if not changed(list(base), list(gone)).wholes:
            return
    for leaf, value in leaves(_at(payload, path), path):
        yield from _with_payload(inputs, (with_value(payload, leaf, other) for other in alternatives(value)))


def _at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def _leaf_name(path: Path, payload: Json) -> str:
    match path:
        case (kind, int(number), "variables", int(place), _):
            variable = payload[str(kind)][number]["variables"][place]
            if isinstance(variable, dict) and variable.get("key"):
                return f"variable {variable['key']} of {kind}[{number}]"
    return f"payload {key_name(path)}"


def _item_name(kind: str, number: int, item: object) -> str:
    name = item.get("key") if isinstance(item, dict) else None
    return f"variable {name}" if kind == "variables" and name else f"payload {kind}[{number}]"


def _variants(document: Any, path: Path, value: object) -> Iterator[Any]:
    yield without(document, path)
    for other in alternatives(value):
        yield with_value(document, path, other)


def _with_config(inputs: Inputs, variants: Iterable[Any]) -> Iterator[Manifests]:
    """What other configurations give, as far as they are valid and make a pod."""
    for values in variants:
        with suppress(ValidationError, JobError):
            yield render(inputs.payload, RunnerConfig.model_validate(values)).manifests


def _with_payload(inputs: Inputs, variants: Iterable[Json]) -> Iterator[Manifests]:
    """What other payloads give, as far as they can be read and make a pod."""
    for payload in variants:
        with suppress(PayloadError, JobError):
            yield render(payload, inputs.runner).manifests


def _values(inputs: Inputs) -> dict[str, Any]:
    """What the file says of the runner, by the models' names."""
    return inputs.runner.model_dump(exclude_unset=True)


def _records(manifests: Iterable[Manifest]) -> frozenset[Path]:
    """The paths of the packed payloads: they hold all of the job, and nobody's choice."""
    return frozenset(
        (number, "data")
        for number, manifest in enumerate(manifests)
        if PART_LABEL in manifest["metadata"].get("labels", {})
    )
