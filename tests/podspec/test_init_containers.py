"""Init containers: none, unless a flag needs one; and what their scripts do."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.podspec.init_containers import OWNER_MARK, build_init_containers
from runner.podspec.pod import build_pod
from runner.shell import prologue

UMASK, DUMB_INIT = "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR"
COLLECTOR, PERMISSIONS = "init-build-uid-gid-collector", "init-permissions"


def test_pod_has_no_init_container_when_no_flag_needs_one(make_request: Any) -> None:
    """Each one would double the time until the job begins."""
    assert "initContainers" not in build_pod(make_request())["spec"]


def test_init_containers_are_in_order_when_both_flags_are_on(make_request: Any) -> None:
    """The collector is the first, and each is whom, and has what, the container of its image is and has."""
    request = make_request(
        job={"image": {"name": "x", "executor_opts": {"kubernetes": {"user": "5:6"}}, "pull_policy": ["never"]}},
        kubernetes={
            "cpu_limit": "2",
            "helper_cpu_limit": "1",
            "pull_policy": ["never", "always"],
            "privileged": True,
            "build_container_security_context": {"run_as_non_root": True},
            "init_permissions_container_security_context": {"run_as_user": 0, "capabilities": {"drop": ["ALL"]}},
            "volumes": {"empty_dir": [{"name": "v", "mount_path": "/v"}]},
            "container_lifecycle": {"post_start": {"exec": {"command": ["a"]}}},
        },
        feature_flags={UMASK: True, DUMB_INIT: True},
        pull_policies={"build": "never", "helper": "always"},
    )
    collector, permissions = build_init_containers(request)
    mounts = [
        {"name": "scripts", "mountPath": "/scripts-77-4711"},
        {"name": "logs", "mountPath": "/logs-77-4711"},
        {"name": "v", "mountPath": "/v"},
        {"name": "repo", "mountPath": "/builds"},
    ]
    collector["command"][2] = permissions["command"][2] = "SCRIPT"

    assert collector == {
        "name": COLLECTOR,
        "image": "busybox:latest",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "SCRIPT", COLLECTOR, "/builds/.gitlab-build-uid-gid"],
        "resources": {"limits": {"cpu": "2"}},
        "volumeMounts": mounts,
        "securityContext": {
            "runAsUser": 5,
            "runAsGroup": 6,
            "runAsNonRoot": True,
            "privileged": True,
            "capabilities": {"drop": ["NET_RAW"]},
        },
    }
    assert permissions == {
        "name": PERMISSIONS,
        "image": "registry.example.com/helper:1",
        "imagePullPolicy": "Always",
        "command": ["sh", "-c", "SCRIPT", PERMISSIONS, "/scripts-77-4711/dumb-init"],
        "resources": {"limits": {"cpu": "1"}},
        "volumeMounts": mounts,
        "securityContext": {"runAsUser": 0, "privileged": True, "capabilities": {"drop": ["ALL"]}},
    }


def test_init_container_has_a_pull_policy_of_its_own_when_the_fallback_chose_one(make_request: Any) -> None:
    """A pull of its image that failed moves it, and not the container with the same image."""
    request = make_request(feature_flags={UMASK: True}, pull_policies={"build": "never", COLLECTOR: "always"})

    assert build_init_containers(request)[0]["imagePullPolicy"] == "Always"


def test_owner_mark_is_the_one_that_the_helper_looks_for() -> None:
    """Two packages that do not know each other name one file."""
    assert OWNER_MARK == prologue.OWNER_MARK


def run(command: list[str], path: Path, *, tools: str = "") -> None:
    """Run an init container's command with other last argument; `tools` comes first on PATH."""
    environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run([*command[:-1], str(path)], check=True, env=environment, timeout=30)


def test_collector_leaves_a_mark_of_its_own_when_another_lies_there(make_request: Any, tmp_path: Path) -> None:
    """A volume that lasts may hold the mark of a job that was killed."""
    (collector,) = build_init_containers(make_request(feature_flags={UMASK: True}))
    mark = tmp_path / OWNER_MARK
    mark.write_text("old")
    old = mark.stat().st_ctime_ns

    run(collector["command"], mark)

    assert (mark.read_text(), mark.stat().st_ctime_ns > old) == ("", True)


@pytest.mark.parametrize("name", ["dumb-init", "tini-static"])
def test_init_process_is_the_helper_images_when_it_has_one(make_request: Any, tmp_path: Path, name: str) -> None:
    """It is copied to where both containers find it, and can be started there."""
    (permissions,) = build_init_containers(make_request(feature_flags={DUMB_INIT: True}))
    own = tmp_path / name
    own.write_text('#!/bin/sh\necho "init $*"\n')
    own.chmod(0o755)
    copy = tmp_path / "copy"

    run(permissions["command"], copy, tools=str(tmp_path))

    assert subprocess.check_output([copy, "--", "a", "b"], text=True, timeout=30) == "init -- a b\n"


def test_init_process_is_the_static_one_when_the_helper_image_has_both(make_request: Any, tmp_path: Path) -> None:
    """The other may need libraries that the job's image has not."""
    (permissions,) = build_init_containers(make_request(feature_flags={DUMB_INIT: True}))
    for name in ("dumb-init", "tini-static"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name).chmod(0o755)
    copy = tmp_path / "copy"

    run(permissions["command"], copy, tools=str(tmp_path))

    assert subprocess.check_output([copy, "--"], text=True, timeout=30) == "tini-static\n"


def test_init_process_is_a_script_when_the_helper_image_has_none(make_request: Any, tmp_path: Path) -> None:
    """The job runs all the same: the agent does what an init process does."""
    (permissions,) = build_init_containers(make_request(feature_flags={DUMB_INIT: True}))
    empty = tmp_path / "bin"
    empty.mkdir()
    for tool in ("sh", "chmod", "cp"):
        (empty / tool).symlink_to(Path("/bin") / tool)
    script = tmp_path / "dumb-init"

    subprocess.run([*permissions["command"][:-1], script], check=True, env={"PATH": str(empty)}, timeout=30)

    assert subprocess.check_output([script, "--", "printf", "%s,", "a b", "c"], text=True, timeout=30) == "a b,c,"


def test_commands_hold_nothing_that_kubernetes_expands(make_request: Any) -> None:
    """`$(NAME)` and `$$` mean something in a command."""
    containers = build_init_containers(make_request(feature_flags={UMASK: True, DUMB_INIT: True}))

    assert not any("$(" in text or "$$" in text for each in containers for text in each["command"])
