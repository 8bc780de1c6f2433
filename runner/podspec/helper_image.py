"""Which image the helper container runs.

The order: `helper_image`; then, where `helper_image_flavor` is set, GitLab Runner's own helper image of that flavor,
named as it names them; else the image that the manager was given, which is this project's and serves every
architecture. So the architecture matters for GitLab Runner's images alone: it comes from the manager's machine with
`helper_image_autoset_arch_and_os`, and from the node selector, which wins.

A pod on Windows is refused whatever the image, because nothing here runs there.
"""

from dataclasses import dataclass

from runner.config.kubernetes import KubernetesConfig
from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variables

REPOSITORY = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
"""Where GitLab Runner's helper images are."""

VERSION = "latest"
"""The version in their tags. GitLab Runner writes `latest` for every manager whose own version is none of its
releases, and this project's is none."""

_DEFAULT_FLAVOR = "alpine"
_ARCHITECTURES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
}
_OS_LABEL, _ARCH_LABEL = "kubernetes.io/os", "kubernetes.io/arch"


@dataclass(frozen=True, slots=True)
class Machine:
    """The manager's own machine, for `helper_image_autoset_arch_and_os`."""

    system: str
    """As `platform.system` names it."""
    arch: str
    """As the kernel names it: `x86_64`, `aarch64`."""

    @property
    def is_windows(self) -> bool:
        """The one system that `helper_image_autoset_arch_and_os` looks for."""
        return self.system.lower() == "windows"


def helper_image(kubernetes: KubernetesConfig, variables: Variables, *, default: str, machine: Machine) -> str:
    """Choose the helper image; `kubernetes` has the job's overwrites applied, its node selector among them.

    Raises JobConfigurationError for a system other than Linux.
    """
    autoset = kubernetes.helper_image_autoset_arch_and_os
    selector = kubernetes.node_selector
    _refuse_unless_linux(selector.get(_OS_LABEL) or ("windows" if autoset and machine.is_windows else "linux"))
    named = variables.expand(kubernetes.helper_image)
    if named:
        return named
    flavor = variables.expand(kubernetes.helper_image_flavor)
    if not flavor:
        return default
    return f"{REPOSITORY}:{_tag(flavor, selector.get(_ARCH_LABEL) or (machine.arch if autoset else 'amd64'))}"


def _tag(flavor: str, arch: str) -> str:
    """`[FLAVOR-]ARCH-VERSION`; alpine has no prefix, and an architecture without a name of its own stays as it is."""
    prefix = "" if flavor == _DEFAULT_FLAVOR else f"{flavor}-"
    return f"{prefix}{_ARCHITECTURES.get(arch, arch)}-{VERSION}"


def _refuse_unless_linux(system: str) -> None:
    if system != "linux":
        raise JobConfigurationError(
            f'the pod would run on "{system}", but this runner\'s pods run on linux alone: '
            f'set "{_OS_LABEL}" = "linux" in node_selector'
        )
