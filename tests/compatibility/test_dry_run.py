"""Every object that the tests' configurations give is one that an API server takes, with no field it does not know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from runner.config.checks.check import check_config
from runner.job.outcome import JobConfigurationError
from runner.podspec.creation import creations
from runner.podspec.secret import JobRecord
from tests.compatibility.configurations import FLAGS, Json, config_toml, keys_with_values, one_of_everything, some_flags
from tests.compatibility.dry_run import DryRun
from tests.compatibility.pod_cases import LOGIN, POD_CASES
from tests.manifests import KUBERNETES, made
from tests.podspec.pod_keys import ROWS, Row
from tests.podspec.pods import request_for, tables
from tests.seeds.published import DATA, completed
from tests.seeds.test_keywords import SHOWN, pod_with

UID = "00000000-0000-4000-8000-000000000000"
RECORD = JobRecord(payload=b"{}", plan=b"{}")


def unexpected(complaints: list[str]) -> list[str]:
    """The refusals, without what a server only warns of, such as the manual of 2016 with its thousandths of a byte."""
    return [words for words in complaints if " 299 " not in words]


def test_each_key_alone_gives_what_the_server_takes(dry_run: DryRun) -> None:
    """The rows of `tests/podspec/pod_keys.py`: one key each."""
    refused: dict[str, Any] = {}
    for row in ROWS:
        if found := dry_run.complaints(objects_of(row)):
            refused[f"{row.key}: {row.toml or row.runner}"] = found
    assert refused == {}


def objects_of(row: Row) -> Any:
    """Everything that a row's job makes."""
    request = request_for(tables(row.toml, f"{row.runner}\n{row.given}"), **row.payload)
    return creations(request, RECORD, uid=UID)


@pytest.mark.parametrize("name", sorted(POD_CASES))
def test_each_row_of_the_table_of_pods_gives_what_the_server_takes(dry_run: DryRun, name: str) -> None:
    """The rows of `TestSetupBuildPod`."""
    assert dry_run.complaints(POD_CASES[name].made().objects) == []


def test_each_keyword_of_the_documents_gives_what_the_server_takes(dry_run: DryRun) -> None:
    """The keywords of the published documents, former and present."""
    refused = {
        name: found
        for name, way in SHOWN.items()
        if (found := unexpected(dry_run.complaints(pod_with(f"{way.base}\n{way.toml}\n", way).objects)))
    }
    assert refused == {}


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.toml") if not path.name.startswith("003")))
def test_each_published_file_gives_what_the_server_takes(dry_run: DryRun, name: str) -> None:
    """The files of the published documents."""
    assert unexpected(dry_run.complaints(made(completed(name), services=["redis:7"]).objects)) == []


def test_the_server_says_what_is_wrong(dry_run: DryRun) -> None:
    """What these tests rest on: an unknown field, a wrong value and a wrong type are each refused."""
    (pod,) = [each for each in made(KUBERNETES).objects if each[0] == "pods"]
    spec = pod[1]["spec"]
    for wrong in ({"noSuchField": 1}, {"dnsPolicy": "Sometimes"}, {"nodeSelector": 5}):
        manifest = {**pod[1], "spec": {**spec, **wrong}}
        (complaint,) = dry_run.complaints([("pods", manifest)])
        assert next(iter(wrong)) in complaint


def test_every_key_at_once_gives_what_the_server_takes(dry_run: DryRun) -> None:
    """One file with all keys, but for those that rule out each other."""
    text = config_toml(one_of_everything(), flags=dict.fromkeys(FLAGS[:3], True))
    assert [str(finding) for finding in check_config(text) if finding.severity == "error"] == []
    assert dry_run.complaints(made(text, services=["redis:7"], logins=LOGIN).objects) == []


@given(kubernetes=keys_with_values(), flags=some_flags())
@hypothesis_settings(max_examples=150)
def test_no_configuration_that_is_called_good_is_refused(dry_run: DryRun, kubernetes: Json, flags: Json) -> None:
    """A file without errors gives objects that the server takes, or a sentence for the job's log: never a traceback."""
    text = config_toml(kubernetes, flags=flags)
    findings = check_config(text)
    if any(finding.severity == "error" for finding in findings):
        return
    # How many services a job brings is its own affair, so amounts of the whole pod cannot be judged beforehand.
    services = [] if any(key.startswith(("pod_cpu", "pod_memory")) for key in kubernetes) else ["redis:7"]
    try:
        objects = made(text, services=services).objects
    except JobConfigurationError:
        # Only what the job itself brings may fail it: its image and its service on a list that lacks them.
        assert {"allowed_images", "allowed_services"} & kubernetes.keys(), text
        return
    assert unexpected(dry_run.complaints(objects)) == [], "\n".join([text, *map(str, findings)])
