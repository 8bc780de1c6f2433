"""The reference of config.toml."""

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner.config.reference
from runner.config.base import Table
from runner.config.keys import by_subject, nested_table, toml_key
from runner.config.kubernetes import KubernetesConfig
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
    former = {key.casefold() for key, claim in model.FORMER_KEYS.items() if not claim.meant}
    assert not keys & model.KNOWN_BUT_UNUSED
    assert not keys & former
    assert all(key == key.casefold() for key in model.NOT_ACTED_ON | model.KNOWN_BUT_UNUSED)
    assert all(set(former.fields) <= set(model.model_fields) for former in model.FORMER_KEYS.values())


@pytest.mark.parametrize(
    "row",
    [
        "| `concurrent` | integer | `1` | most jobs of this process at once |",
        "| `check_interval` | seconds | `3` | seconds in which each runner asks for a job once |",
        "| `token` | string | required | authentication token; `$VAR` is taken from the environment "
        "| `CI_SERVER_TOKEN` | `--token` |",
        "| `unhealthy_interval` | duration | `1h0m0s` | longest wait of a refused runner, of which a minute counts |  "
        "| `--unhealthy-interval` |",
        "| `token_expires_at` | date and time | unset | when the token expires; unset or year 1: never |  |  |",
        "| `labels` | table |  | labels of the runner at GitLab |  |  |",
        "| `BucketName` | string |  | bucket | `CACHE_S3_BUCKET_NAME` | `--cache-s3-bucket-name` |",
        '| `shell` | string | `"bash"` | `bash`, `sh`, `pwsh` or `powershell` | `RUNNER_SHELL` | `--shell` |',
        "| `context` | string |  | context of the kubeconfig, where that is used; empty: its current one "
        "| `KUBECTL_CONTEXT` | `--kubernetes-context` |",
        "| `add` | list |  | capabilities to add; replaces what `cap_add` gives "
        "| `KUBERNETES_..._CONTAINER_SECURITY_CONTEXT_CAPABILITIES_ADD` "
        "| `--kubernetes-..._container_security_context-capabilities-add` |",
        '| `suspend_pvc_size` | quantity | `"20Gi"` | size of the volume of a suspended environment; not acted on '
        "| `KUBERNETES_SUSPEND_PVC_SIZE` | `--kubernetes-suspend-pvc-size` |",
        "| `host_aliases` | array of tables |  | entries for the pod's `/etc/hosts` |  | `--kubernetes-host_aliases` |",
        "| `affinity` | table |  | nodes and pods to be near to or far from |  | `--kubernetes-affinity` |",
        "| `node_affinity` | table | unset | nodes |",
        '| `periods` | list | `["* * * * *"]` | times of validity, each in cron\'s form |',
        "## `[[runners.kubernetes.volumes.host_path]]`",
        "### Connection and identity",
        "| `cpus` | `[runners.kubernetes]` | `cpu_limit` | `KUBERNETES_CPUS` |",
        "| `terminationGracePeriodSeconds` | `[runners.kubernetes]` | `pod_termination_grace_period_seconds` and "
        "`cleanup_grace_period_seconds`; wins over both | `KUBERNETES_TERMINATIONGRACEPERIODSECONDS` |",
        "| `metrics_server` | Global keys | `listen_address` |  |",
        "- Global keys: `experimental`, `sentry_dsn`",
    ],
    ids=lambda row: row.partition(" | ")[0].strip("| "),
)
def test_page_has_a_row_for_a_key(row: str) -> None:
    """Key, type, default, meaning and the names that `register` knows it by, as a reader needs them."""
    assert row in reference().splitlines()


def test_keys_of_the_executor_stand_in_the_order_of_their_subjects() -> None:
    """The page begins with the connection, as a file does."""
    page = reference()
    places = [page.index(f"### {subject}") for subject, _ in by_subject(KubernetesConfig)]
    assert places == sorted(places)


def test_former_key_with_a_field_of_its_own_is_no_row_among_todays() -> None:
    """Nobody should find it there and use it."""
    rows = [line for line in reference().splitlines() if line.startswith("| `allow_privileged`")]
    assert [row.split(" | ")[1] for row in rows] == ["`[runners.kubernetes]`"]
