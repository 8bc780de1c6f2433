"""The reference of config.toml."""

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner.config.reference
from runner.config.base import Table
from runner.config.keys import nested_table, toml_key
from runner.config.model import Config
from runner.config.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def models(model: type[Table] = Config) -> Iterator[type[Table]]:
    """Every model of the configuration."""
    yield model
    for field in model.model_fields.values():
        if nested := nested_table(field):
            yield from models(nested)


MODELS = sorted(set(models()), key=lambda model: model.__name__)


def test_page_is_in_step_with_the_models() -> None:
    """Write it anew with `python -m runner.config.reference > docs/configuration.md`."""
    assert PAGE.read_text() == reference()


def test_module_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that its docstring names does what it says."""
    runpy.run_path(runner.config.reference.__file__, run_name="__main__")
    assert capsys.readouterr().out == reference()


@pytest.mark.parametrize("model", MODELS)
def test_every_field_has_a_description_of_one_row(model: type[Table]) -> None:
    """One key, one sentence, one row."""
    for name, field in model.model_fields.items():
        assert field.description, name
        assert not set(field.description) & set("|\n"), name


@pytest.mark.parametrize("model", MODELS)
def test_keys_that_are_no_fields_are_not_fields_too(model: type[Table]) -> None:
    """Keys of other executors and former names are no fields of today; former names lead to fields."""
    keys = {toml_key(name, field).casefold() for name, field in model.model_fields.items()}
    former = {key.casefold() for key in model.FORMER_KEYS}
    assert not keys & model.KNOWN_BUT_UNUSED
    assert not keys & former
    assert all(key == key.casefold() for key in model.NOT_ACTED_ON | model.KNOWN_BUT_UNUSED)
    assert all(set(former.fields) <= set(model.model_fields) for former in model.FORMER_KEYS.values())


@pytest.mark.parametrize(
    "row",
    [
        "| `concurrent` | integer | `1` | most jobs of this process at once |",
        "| `check_interval` | seconds | `3` | seconds in which each runner asks for a job once |",
        "| `token` | string | required | authentication token; `$VAR` is taken from the environment |",
        "| `unhealthy_interval` | duration | `1h0m0s` | how long a refused runner is left alone |",
        "| `prepare_timeout` | duration | unset | limit on getting the pod ready; unset: the job's |",
        "| `token_expires_at` | date and time | unset | when the token expires; unset or year 1: never |",
        "| `feature_flags` | table |  | feature flags; a job cannot change these |",
        "| `BucketName` | string |  | bucket |",
        '| `shell` | string | `"bash"` | `bash`, `sh` or `pwsh` |',
        "| `print_pod_warning_events` | boolean | `true` | show the pod's conditions while it starts, "
        "and its warnings after a failure |",
        "## `[[runners.kubernetes.volumes.host_path]]`",
        "| `cpus` | [runners.kubernetes] | `cpu_limit` |",
    ],
)
def test_page_has_a_row_for_a_key(row: str) -> None:
    """Key, type, default and meaning, as a reader needs them."""
    assert row in reference().splitlines()
