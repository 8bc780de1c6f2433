"""The table of keys: what each changes in the manifest, that every key counts, and that none is missing."""

from collections.abc import Iterator
from copy import deepcopy
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from runner.config.kubernetes import KubernetesConfig
from runner.job.outcome import JobConfigurationError
from tests.podspec.pod_keys import KUBERNETES_ROWS, ROWS, Row
from tests.podspec.pods import abridged, difference, leaves, pod_for, tables

ELSEWHERE = {
    "connection to the API server": {
        "host",
        "context",
        "cert_file",
        "key_file",
        "ca_file",
        "bearer_token",
        "bearer_token_overwrite_allowed",
    },
    "guards of what jobs may overwrite": {
        "namespace_overwrite_allowed",
        "service_account_overwrite_allowed",
        "node_selector_overwrite_allowed",
        "node_tolerations_overwrite_allowed",
        "pod_labels_overwrite_allowed",
        "pod_annotations_overwrite_allowed",
        "allowed_images",
        "allowed_services",
    },
    "the executor's patience": {
        "cleanup_grace_period_seconds",
        "cleanup_resources_timeout",
        "resource_availability_check_max_attempts",
        "retry_limit",
        "retry_backoff_max",
        "retry_limits",
        "print_pod_warning_events",
        "capacity_aware",
    },
    "other objects than the pod": {"pod_disruption_budget"},
    "accepted, not acted on": {
        "autoscaler",
        "suspend_pvc_size",
        "suspend_pvc_storage_class",
        "services.suspend_data_path",
    },
    "says what messages call a patch": {"pod_spec.name"},
    "depends on the machine; test_helper_image.py": {"helper_image_autoset_arch_and_os"},
}
"""Keys that do not show in the pod, by what they are for."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_pod_shows_a_key_when_it_is_set(row: Row) -> None:
    """The manifest with the key differs from the one without it in these places, and in no other."""
    without = abridged(pod_for(tables(row.before, runner=row.given), **row.payload))
    changed = tables(row.toml, runner=row.runner or row.given)

    assert difference(without, abridged(pod_for(changed, **row.payload))) == row.difference


@pytest.mark.parametrize("row", KUBERNETES_ROWS, ids=lambda row: row.key)
def test_every_key_counts_when_one_is_taken_away(row: Row) -> None:
    """Without any one of the row's keys the pod is another one, or the configuration is refused."""
    entry = tables(row.toml, runner=row.given)
    whole = pod_for(entry, **row.payload)

    common = set(leaves(tables(row.before)["kubernetes"])) if row.before in row.toml else set()
    for path in set(leaves(entry["kubernetes"])) - common:
        assert _pod_without(entry, path, row) != whole, path


def test_no_key_of_the_pod_is_missing_when_the_model_grows() -> None:
    """A new key gets a row in the table, or a word on where it acts."""
    elsewhere = set().union(*ELSEWHERE.values())
    guards = {key for key in KubernetesConfig.model_fields if key.endswith("_overwrite_max_allowed")}
    shown = {
        ".".join(str(part) for part in path if isinstance(part, str))
        for row in KUBERNETES_ROWS
        for path in leaves(tables(row.toml)["kubernetes"])
    }
    missing = [
        key
        for key in _model_keys(KubernetesConfig)
        if key not in guards and not _is_below(key, elsewhere) and not any(_is_below(each, {key}) for each in shown)
    ]

    assert missing == []
    assert elsewhere <= {key for known in _model_keys(KubernetesConfig) for key in _above(known)}


def _pod_without(entry: dict[str, Any], path: tuple[str | int, ...], row: Row) -> object:
    copy = deepcopy(entry)
    table: Any = copy["kubernetes"]
    for part in path[:-1]:
        table = table[part]
    del table[path[-1]]
    try:
        return pod_for(copy, **row.payload)
    except (ValidationError, JobConfigurationError):
        return None


def _model_keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Yield the keys of a model and of the tables in it that hold no further tables."""
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        below = next((part for part in _types(field.annotation) if _is_model(part)), None)
        if below is None:
            yield key
        else:
            yield from _model_keys(below, f"{key}.")


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) in {tuple, Union, UnionType}:
        for part in get_args(annotation):
            yield from _types(part)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _above(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _is_below(key: str, keys: set[str]) -> bool:
    return any(each in keys for each in _above(key))
