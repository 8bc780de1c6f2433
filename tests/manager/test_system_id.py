"""The system id: the original's file and form, and one for each pod."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from runner.manager.system_id import system_id as found_id

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


def system_id(folder: Path, *, machine_ids: tuple[Path, ...]) -> str:
    """The id outside of a cluster, wherever the tests run."""
    return found_id(folder, machine_ids=machine_ids, environ={})


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, ...]:
    """A machine's id."""
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    return (tmp_path / "missing", path)


def test_system_id_when_the_machine_has_an_id(tmp_path: Path, machine: tuple[Path, ...]) -> None:
    """Twelve characters of the HMAC-SHA256 of `gitlab-runner`, keyed with the machine's id; kept in a file."""
    assert system_id(tmp_path, machine_ids=machine) == "s_ee3af03959fe"
    assert (tmp_path / ".runner_system_id").read_text() == "s_ee3af03959fe"


def test_system_id_when_the_machine_has_none(tmp_path: Path) -> None:
    """A random one, the same at the next start."""
    made = system_id(tmp_path, machine_ids=())
    assert re.fullmatch(r"r_[0-9a-zA-Z]{12}", made)
    assert system_id(tmp_path, machine_ids=()) == made


@pytest.mark.parametrize("kept", ["r_abcdefghijkl", "s_012345678901\n"])
def test_system_id_when_the_file_is_good(tmp_path: Path, machine: tuple[Path, ...], kept: str) -> None:
    """What stands in the file is taken."""
    (tmp_path / ".runner_system_id").write_text(kept)
    assert system_id(tmp_path, machine_ids=machine) == kept.strip()


@pytest.mark.parametrize("broken", ["", "x_abcdefghijkl", "r_short", "r_abcdefghijklm", "r_abcdefghij-l"])
def test_system_id_when_the_file_is_broken(tmp_path: Path, machine: tuple[Path, ...], broken: str) -> None:
    """A file of another form is written anew."""
    (tmp_path / ".runner_system_id").write_text(broken)
    assert system_id(tmp_path, machine_ids=machine) == "s_ee3af03959fe"


def test_system_id_when_the_folder_cannot_be_written(machine: tuple[Path, ...], tmp_path: Path) -> None:
    """A place that takes no file costs only a warning, which says whether the next start has the same id."""
    with capture_logs() as logs:
        assert system_id(tmp_path / "not there", machine_ids=machine) == "s_ee3af03959fe"
        assert system_id(tmp_path / "not there", machine_ids=()).startswith("r_")
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "the system id cannot be kept, it follows from the machine's"),
        ("warning", "the system id cannot be kept, it changes with each start"),
    ]


def account(folder: Path, *, pod: str = "", ca: str = "CA of this cluster", namespace: str = "ci") -> Path:
    """A service account as kubelet mounts it; its token names the pod."""
    folder.mkdir()
    (folder / "ca.crt").write_text(ca)
    (folder / "namespace").write_text(namespace)
    claims = {"kubernetes.io": {"namespace": namespace, "pod": {"name": pod, "uid": "1"}} if pod else {}}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    (folder / "token").write_text(f"e30.{payload}.signature")
    return folder


@pytest.mark.parametrize(
    ("environ", "pod"),
    [
        pytest.param({"POD_NAME": "runner-0", "HOSTNAME": "node"}, "other", id="told by the manifest"),
        pytest.param({"HOSTNAME": "node"}, "runner-0", id="in the token"),
        pytest.param({"HOSTNAME": "runner-0"}, "", id="the host's name"),
    ],
)
def test_system_id_of_a_pod_follows_from_its_name(tmp_path: Path, environ: Mapping[str, str], pod: str) -> None:
    """The same after a restart of the container, wherever the name was found; a file on a shared volume is left."""
    home = Path("/home/gitlab-runner/.gitlab-runner")
    made = found_id(home, environ={**IN_A_POD, **environ}, service_account=account(tmp_path / "account", pod=pod))
    assert made == "r_b7fa649b3e3c"


def test_replicas_on_one_volume_have_ids_of_their_own(tmp_path: Path) -> None:
    """Three pods see the same `.runner_system_id`, and none takes it or changes it."""
    (tmp_path / ".runner_system_id").write_text("s_0f1e2d3c4b5a")
    made = {
        found_id(
            tmp_path,
            environ={**IN_A_POD, "HOSTNAME": f"runner-5f7b8-{number}"},
            service_account=account(tmp_path / f"account-{number}"),
        )
        for number in range(3)
    }
    assert len(made) == 3
    assert all(re.fullmatch(r"r_[0-9a-zA-Z]{12}", one) for one in made)
    assert (tmp_path / ".runner_system_id").read_text() == "s_0f1e2d3c4b5a"


@pytest.mark.parametrize(
    "over",
    [
        pytest.param({"ca": "CA of another cluster"}, id="cluster"),
        pytest.param({"namespace": "other"}, id="namespace"),
        pytest.param({"pod": "runner-1"}, id="pod"),
    ],
)
def test_system_id_of_a_pod_differs_with(tmp_path: Path, over: dict[str, str]) -> None:
    """A StatefulSet's pods have the same names in every cluster."""
    one = account(tmp_path / "one", pod="runner-0")
    other = account(tmp_path / "other", **{"pod": "runner-0", **over})
    assert found_id(tmp_path, environ=IN_A_POD, service_account=one) != found_id(
        tmp_path, environ=IN_A_POD, service_account=other
    )


def test_system_id_of_a_pod_without_a_service_account(tmp_path: Path) -> None:
    """No token is mounted: the host's name is enough, and nothing is written."""
    made = found_id(tmp_path, environ={**IN_A_POD, "HOSTNAME": "runner-0"}, service_account=tmp_path / "none")
    assert re.fullmatch(r"r_[0-9a-f]{12}", made)
    assert list(tmp_path.iterdir()) == []
