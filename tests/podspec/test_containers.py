"""Containers: commands, images, resources, security, environment."""

from typing import Any

import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.job.variables import Variable, Variables
from runner.podspec.containers import build_containers, build_resources


def container(request: Any, name: str) -> dict[str, Any]:
    """The container of that name."""
    return next(each for each in build_containers(request) if each["name"] == name)


def test_containers_are_sorted_when_there_are_services(make_request: Any) -> None:
    """Build and helper first, then services by name, wherever they were declared."""
    request = make_request(
        job={"services": [{"name": "redis"}, {"name": "postgres", "alias": "db"}]},
        kubernetes={"services": [{"name": "minio", "alias": "s3"}, {"name": ""}]},
    )

    assert [each["name"] for each in build_containers(request)] == ["build", "helper", "db", "s3", "svc-0"]


def test_service_container_when_everything_is_given(make_request: Any) -> None:
    """Entrypoint is the command, command the arguments; scripts and logs are not mounted."""
    request = make_request(
        job={
            "services": [
                {
                    "name": "$CI_PROJECT_NAMESPACE/db:1",
                    "alias": "db",
                    "entrypoint": ["/bin/start"],
                    "command": ["--fast", "now"],
                    "ports": [{"number": 5432, "protocol": "https", "name": "sql"}],
                    "pull_policy": ["if-not-present"],
                    "executor_opts": {"kubernetes": {"user": "999:998"}},
                }
            ]
        },
        kubernetes={
            "pull_policy": "if-not-present",
            "service_cpu_limit": "1",
            "service_memory_request": "1Gi",
            "service_container_security_context": {"run_as_non_root": True},
        },
        variables=Variables((Variable("CI_PROJECT_NAMESPACE", "shop", public=True),)),
    )

    assert container(request, "db") == {
        "name": "db",
        "image": "shop/db:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/start"],
        "args": ["--fast", "now"],
        "env": [{"name": "CI_PROJECT_NAMESPACE", "value": "shop"}],
        "ports": [{"containerPort": 5432}],
        "resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "repo", "mountPath": "/builds"}],
        "securityContext": {
            "runAsUser": 999,
            "runAsGroup": 998,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["NET_RAW"]},
        },
        "stdin": True,
        "stdinOnce": False,
    }


def test_entrypoints_are_kept_when_the_flag_honors_them(make_request: Any) -> None:
    """Our command becomes the argument of the image's entrypoint, and services keep their own."""
    request = make_request(
        job={"services": [{"name": "db", "entrypoint": ["a"], "command": ["b"]}]},
        feature_flags={"FF_KUBERNETES_HONOR_ENTRYPOINT": True},
    )
    build, helper, service = build_containers(request)

    assert ("command" in build, build["args"]) == (False, ["sh", "-c", "build agent"])
    assert ("command" in helper, helper["args"]) == (False, ["sh", "-c", "helper agent"])
    assert (service["command"], service["args"]) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("config", "kind", "resources"),
    [
        ({}, "", {}),
        (
            {"cpu_limit": "2", "memory_limit": "1Gi", "ephemeral_storage_request": "5Gi"},
            "",
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"ephemeral-storage": "5Gi"}},
        ),
        ({"cpu_limit": "2", "helper_cpu_request": "0"}, "helper_", {"requests": {"cpu": "0"}}),
        ({"service_memory_limit": "1Gi"}, "service_", {"limits": {"memory": "1Gi"}}),
        ({"pod_cpu_limit": "8"}, "pod_", {"limits": {"cpu": "8"}}),
    ],
    ids=["nothing set", "build", "helper, explicit zero", "service", "pod"],
)
def test_build_resources_when(config: dict[str, str], kind: Any, resources: dict[str, Any]) -> None:
    """Empty is not sent, zero is."""
    assert build_resources(KubernetesConfig(**config), kind) == resources


def test_services_have_their_own_resources_when_given(make_request: Any) -> None:
    """A service's own amounts stand in place of the common ones."""
    request = make_request(job={"services": [{"name": "db"}]}, kubernetes={"service_cpu_limit": "1"})
    (service,) = request.services
    own = type(service)(name="db", image="db", resources={"limits": {"cpu": "3"}})

    assert container(request, "svc-0")["resources"] == {"limits": {"cpu": "1"}}
    assert container(make_request(services=(own,)), "db")["resources"] == {"limits": {"cpu": "3"}}


@pytest.mark.parametrize(
    ("kubernetes", "environment"),
    [
        ({}, None),
        ({"helper_container_security_context": {"run_as_user": 0}}, None),
        ({"helper_container_security_context": {"run_as_user": 7}}, [{"name": "HOME", "value": "/scripts-77-4711"}]),
        ({"pod_security_context": {"run_as_user": 1000}}, [{"name": "HOME", "value": "/scripts-77-4711"}]),
    ],
    ids=["image's user", "root", "container's user", "pod's user"],
)
def test_helper_has_a_home_when_its_user_is_unknown(make_request: Any, kubernetes: Any, environment: Any) -> None:
    """Git writes its configuration at home, and an unknown user's home is `/`."""
    assert container(make_request(kubernetes=kubernetes), "helper").get("env") == environment


UMASK = {"FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": True}
ON_BUILDS = {"volumes": {"host_path": [{"name": "b", "mount_path": "/builds"}]}}
USER = {"helper_container_security_context": {"run_as_user": 7}}
NOT_ROOT = {"pod_security_context": {"run_as_non_root": True}}


@pytest.mark.parametrize(
    ("kubernetes", "flags", "uid"),
    [
        pytest.param({}, {}, 0, id="nothing is configured"),
        pytest.param({**ON_BUILDS, **USER}, UMASK, 7, id="configured"),
        pytest.param({**ON_BUILDS, **NOT_ROOT}, UMASK, None, id="root is forbidden to the pod"),
        pytest.param(
            {**ON_BUILDS, "helper_container_security_context": {"run_as_non_root": True}},
            {},
            None,
            id="root is forbidden to the helper",
        ),
        pytest.param(
            {**ON_BUILDS, **NOT_ROOT, "helper_container_security_context": {"run_as_non_root": False}},
            {},
            0,
            id="root is allowed to the helper alone",
        ),
    ],
)
def test_helper_is_root_unless_it_may_not_be(
    make_request: Any, kubernetes: dict[str, Any], flags: dict[str, bool], uid: int | None
) -> None:
    """It reads and removes whatever a root's job made; what is configured wins."""
    helper = container(make_request(kubernetes=kubernetes, feature_flags=flags), "helper")

    assert helper["securityContext"].get("runAsUser") == uid


def test_ports_of_the_image_are_opened_when_named(make_request: Any) -> None:
    """The interactive proxy reaches them."""
    request = make_request(job={"image": {"name": "web", "ports": [{"number": 8080}]}})

    assert container(request, "build")["ports"] == [{"containerPort": 8080}]


def test_build_environment_is_expanded_and_escaped_when_public(make_request: Any) -> None:
    """Public variables only, each once at its first place with its last value; a name no shell has is left out."""
    variables = Variables(
        (
            Variable("GREETING", "hello $NAME", public=True),
            Variable("NAME", "world", public=True),
            Variable("PRICE", "5$", public=True, raw=True),
            Variable("SECRET", "s3cr3ts3cr3t", masked=True),
            Variable("COPY", "$SECRET", public=True),
            Variable("1 two", "x", public=True),
            Variable("GREETING", "bye $NAME", public=True),
        )
    )

    assert container(make_request(variables=variables), "build")["env"] == [
        {"name": "GREETING", "value": "bye world"},
        {"name": "NAME", "value": "world"},
        {"name": "PRICE", "value": "5$$"},
    ]


LEGACY_ENTRYPOINT = {"FF_KUBERNETES_HONOR_ENTRYPOINT": True, "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": True}


@pytest.mark.parametrize(
    ("kubernetes", "period", "threshold"),
    [({}, 3, 61), ({"poll_interval": 0.2, "poll_timeout": 1.0}, 1, 6), ({"poll_interval": 7}, 7, 26)],
    ids=["default", "at least a second", "rounded down"],
)
def test_build_waits_for_its_entrypoint_when_stages_come_by_exec(
    make_request: Any, kubernetes: dict[str, Any], period: int, threshold: int
) -> None:
    """The agent leaves a mark when the entrypoint has started it, and the probe looks for it as long as for the pod."""
    build = container(make_request(kubernetes=kubernetes, feature_flags=LEGACY_ENTRYPOINT), "build")
    mark = "/scripts-77-4711/.started"

    assert build["args"] == ["sh", "-c", ': >"$1"; shift; exec "$@"', "agent", mark, "sh", "-c", "build agent"]
    assert build["startupProbe"] == {
        "exec": {"command": ["sh", "-c", '[ -e "$1" ]', "started", mark]},
        "initialDelaySeconds": 1,
        "periodSeconds": period,
        "failureThreshold": threshold,
        "successThreshold": 1,
    }


@pytest.mark.parametrize("flag", LEGACY_ENTRYPOINT)
def test_build_has_no_probe_when_an_agent_waits_in_its_place(make_request: Any, flag: str) -> None:
    """An attached agent reads its first command when it runs; without the entrypoint there is nothing to wait for."""
    assert "startupProbe" not in container(make_request(feature_flags={flag: True}), "build")


def test_agents_have_an_init_process_when_the_flag_is_on(make_request: Any) -> None:
    """Build and helper alike, services not; and as arguments where the entrypoint is honored."""
    flags = {"FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR": True}
    services = {"services": [{"name": "db", "entrypoint": ["a"]}]}
    init = ["/scripts-77-4711/dumb-init", "--"]

    build, helper, service = build_containers(make_request(job=services, feature_flags=flags))
    honored = container(make_request(feature_flags={**flags, "FF_KUBERNETES_HONOR_ENTRYPOINT": True}), "build")

    assert build["command"] == [*init, "sh", "-c", "build agent"]
    assert helper["command"] == [*init, "sh", "-c", "helper agent"]
    assert service["command"] == ["a"]
    assert honored["args"] == [*init, "sh", "-c", "build agent"]
