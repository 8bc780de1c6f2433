"""Which image the helper runs: named, of a flavor, or the manager's own."""

from typing import Any

import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variable, Variables
from runner.podspec.helper_image import Machine, helper_image

THEIRS = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
VARIABLES = Variables((Variable("TAG", "v17"), Variable("FLAVOR", "ubuntu"), Variable("ALPINE", "alpine")))
ON_ARM = Machine("Linux", "aarch64")


def chosen(machine: Machine = ON_ARM, **config: Any) -> str:
    """The helper image of this configuration."""
    return helper_image(KubernetesConfig(**config), VARIABLES, default="ours:1", machine=machine)


@pytest.mark.parametrize(
    ("config", "image"),
    [
        pytest.param({}, "ours:1", id="nothing is said"),
        pytest.param({"helper_image": "mine:$TAG"}, "mine:v17", id="named, expanded"),
        pytest.param({"helper_image": "mine", "helper_image_flavor": "ubuntu"}, "mine", id="the name wins"),
        pytest.param({"helper_image": "$NOTHING"}, "ours:1", id="a name that comes to nothing"),
        pytest.param({"helper_image_flavor": "alpine"}, f"{THEIRS}:x86_64-latest", id="alpine has no prefix"),
        pytest.param({"helper_image_flavor": "$FLAVOR"}, f"{THEIRS}:ubuntu-x86_64-latest", id="flavor, expanded"),
        pytest.param({"helper_image_flavor": "concrete"}, f"{THEIRS}:concrete-x86_64-latest", id="any flavor"),
        pytest.param({"helper_image_flavor": "$NOTHING"}, "ours:1", id="a flavor that comes to nothing"),
        pytest.param(
            {"helper_image_flavor": "alpine", "helper_image_autoset_arch_and_os": True},
            f"{THEIRS}:arm64-latest",
            id="this machine's architecture",
        ),
        pytest.param({"helper_image_autoset_arch_and_os": True}, "ours:1", id="our image serves them all"),
        pytest.param(
            {
                "helper_image_flavor": "alpine",
                "helper_image_autoset_arch_and_os": True,
                "node_selector": {"kubernetes.io/arch": "amd64"},
            },
            f"{THEIRS}:x86_64-latest",
            id="the node selector wins",
        ),
        pytest.param(
            {"helper_image_flavor": "ubuntu", "node_selector": {"kubernetes.io/arch": "arm64"}},
            f"{THEIRS}:ubuntu-arm64-latest",
            id="arm64",
        ),
        pytest.param(
            {"helper_image_flavor": "alpine", "node_selector": {"kubernetes.io/arch": "armv7l"}},
            f"{THEIRS}:arm-latest",
            id="arm",
        ),
        pytest.param(
            {"helper_image_flavor": "alpine", "node_selector": {"kubernetes.io/arch": "riscv64"}},
            f"{THEIRS}:riscv64-latest",
            id="an architecture without a name of its own",
        ),
        pytest.param({"node_selector": {"kubernetes.io/os": "linux"}}, "ours:1", id="linux, said"),
    ],
)
def test_helper_image_when(config: dict[str, Any], image: str) -> None:
    """The name wins over the flavor, the flavor over the manager's own image."""
    assert chosen(**config) == image


@pytest.mark.parametrize(
    ("machine", "config", "system"),
    [
        pytest.param(ON_ARM, {"node_selector": {"kubernetes.io/os": "windows"}}, "windows", id="selected"),
        pytest.param(
            ON_ARM,
            {"node_selector": {"kubernetes.io/os": "windows"}, "helper_image": "mine"},
            "windows",
            id="selected, with an image",
        ),
        pytest.param(ON_ARM, {"node_selector": {"kubernetes.io/os": "plan9"}}, "plan9", id="unknown"),
        pytest.param(
            Machine("Windows", "AMD64"), {"helper_image_autoset_arch_and_os": True}, "windows", id="this machine's"
        ),
    ],
)
def test_helper_image_refuses_when_the_pod_would_not_run_on_linux(
    machine: Machine, config: dict[str, Any], system: str
) -> None:
    """The job fails at once with the key to change, whatever image is named."""
    with pytest.raises(JobConfigurationError) as caught:
        chosen(machine, **config)

    assert str(caught.value) == (
        f'the pod would run on "{system}", but this runner\'s pods run on linux alone: '
        'set "kubernetes.io/os" = "linux" in node_selector'
    )


def test_helper_image_is_for_linux_when_the_machine_is_another_and_nobody_asked() -> None:
    """What the manager runs on counts with `helper_image_autoset_arch_and_os` alone."""
    assert chosen(Machine("Windows", "AMD64"), helper_image_flavor="alpine") == f"{THEIRS}:x86_64-latest"
