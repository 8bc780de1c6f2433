"""The names under which `register` takes keys, as the original's tables have them."""

from pathlib import Path

import pytest

from runner.config.inputs import Input, inputs
from runner.config.keys import toml_key
from runner.config.kubernetes import KubernetesConfig

NAMES = (Path(__file__).parent / "register_names.txt").read_text()
"""Key below `[[runners]]`, environment variable and flag; a dash where there is none."""

FILE_ONLY = {"dns_config", "container_lifecycle", "volumes", "services", "pod_spec"}
"""Keys of `[runners.kubernetes]` that only a file can set."""


def name_of(key: Input) -> str:
    """The key as the table names it."""
    return ".".join(key.path)


def test_register_takes_these_keys_under_these_names() -> None:
    """The whole table, in the order of the file."""
    assert [f"{name_of(key)} {key.env or '-'} {key.flag or '-'}" for key in inputs()] == NAMES.splitlines()


@pytest.mark.parametrize("kind", ["env", "flag"])
def test_no_name_means_two_keys(kind: str) -> None:
    """A variable or a flag leads to one key."""
    names = [getattr(key, kind) for key in inputs() if getattr(key, kind)]
    assert len(names) == len(set(names))


def test_every_key_of_the_executor_is_an_input_or_only_in_the_file() -> None:
    """None is forgotten: what `register` does not take is known not to be taken."""
    taken = {key.path[1] for key in inputs() if key.path[0] == "kubernetes"}
    keys = {toml_key(name, field) for name, field in KubernetesConfig.model_fields.items()}
    assert keys - taken == FILE_ONLY


def test_former_names_know_their_successors() -> None:
    """Whoever takes a former name can write the key of today."""
    former = {name_of(key).removeprefix("kubernetes."): key.today for key in inputs() if key.today}
    assert former == {
        "allow_privileged": ("privileged",),
        "cpus": ("cpu_limit",),
        "memory": ("memory_limit",),
        "service_cpus": ("service_cpu_limit",),
        "service_memory": ("service_memory_limit",),
        "helper_cpus": ("helper_cpu_limit",),
        "helper_memory": ("helper_memory_limit",),
        "terminationGracePeriodSeconds": ("pod_termination_grace_period_seconds", "cleanup_grace_period_seconds"),
        "pre_clone_script": ("pre_get_sources_script",),
        "post_clone_script": ("post_get_sources_script",),
    }


def test_input_leads_to_its_field() -> None:
    """Type, default and description come from the model."""
    by_name = {name_of(key): key.field for key in inputs()}
    assert by_name["kubernetes.poll_interval"].default == 3.0
    assert by_name["kubernetes.cpus"] is KubernetesConfig.model_fields["cpu_limit"]
    assert by_name["kubernetes.allow_privileged"] is KubernetesConfig.model_fields["allow_privileged"]
