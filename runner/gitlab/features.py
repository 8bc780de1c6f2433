"""Who we say we are: the `info` object of every request, and the features that GitLab may count on.

Law: a feature is true only when this runner does all of it. GitLab silently drops jobs that need a feature we do not
advertise (`runner_unsupported`), and breaks those that need one we advertise and do not have. Pure.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_GO_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i686": "386"}


class Feature(NamedTuple):
    """Whether we have it, and why GitLab may or may not count on it."""

    advertised: bool
    reason: str


FEATURES: Final[Mapping[str, Feature]] = {
    "variables": Feature(True, "job variables reach every script"),
    "raw_variables": Feature(True, "raw variables are not expanded"),
    "image": Feature(True, "the build container runs the job's image"),
    "services": Feature(True, "services run as containers of the job's pod"),
    "service_variables": Feature(True, "a service gets its own variables"),
    "service_multiple_aliases": Feature(True, "each alias of a service is a name in the pod"),
    "refspecs": Feature(True, "exactly the payload's refspecs are fetched, so merge request refs work"),
    "masking": Feature(True, "masked values are removed before a byte of the log leaves"),
    "multi_build_steps": Feature(True, "every step of the payload is a stage, release included"),
    "return_exit_code": Feature(True, "the final update carries the script's exit code"),
    "cancelable": Feature(True, "Job-Status is read on every answer"),
    "cancel_gracefully": Feature(True, "a canceling job still runs its after_script"),
    "trace_reset": Feature(True, "412 sends the whole log again"),
    "trace_checksum": Feature(True, "updates carry the CRC32 of the stored log"),
    "trace_size": Feature(True, "updates carry the size of the stored log"),
    "two_phase_job_commit": Feature(True, "the job is acknowledged before anything else is said or made for it"),
    "job_inputs": Feature(False, "inputs are not interpolated"),
    "artifacts": Feature(True, "artifacts are uploaded and downloaded by the helper"),
    "upload_multiple_artifacts": Feature(True, "each entry of the payload's artifacts is an upload, reports too"),
    "upload_raw_artifacts": Feature(True, "zip, gzip and raw are written"),
    "artifacts_exclude": Feature(True, "the helper leaves out what is excluded"),
    "cache": Feature(True, "caches are kept on a volume or in an object store"),
    "fallback_cache_keys": Feature(True, "the fallback keys are tried in their order"),
    "image_executor_opts": Feature(True, "`kubernetes.user` is applied, and unknown options end the job"),
    "service_executor_opts": Feature(False, "the reference does not have it either"),
    "session": Feature(False, "true where the configuration has a session server"),
    "terminal": Feature(False, "true where the configuration has a session server"),
    "proxy": Feature(False, "true where the configuration has a session server"),
    "vault_secrets": Feature(False, "secrets are not resolved from vaults"),
    "native_steps_integration": Feature(False, "run: is not executed"),
    "shared": Feature(False, "GitLab Runner sends false"),
}
"""Every name that GitLab Runner sends, with our answer."""


_OF_SESSIONS = frozenset({"session", "terminal", "proxy"})


def features(*, sessions: bool = False) -> dict[str, bool]:
    """Return the names with their answers; `sessions` says that the session server is on."""
    return {name: feature.advertised or (sessions and name in _OF_SESSIONS) for name, feature in FEATURES.items()}


def go_platform() -> tuple[str, str]:
    """Return operating system and architecture of this process as Go spells them, such as `("linux", "arm64")`."""
    machine = platform.machine().lower()
    return sys.platform, _GO_ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """What GitLab shows of this runner manager and decides by."""

    version: str
    revision: str = "HEAD"
    name: str = "gitlab-runner"
    """GitLab's own name for us; its version checks look at it."""
    executor: str = "kubernetes"
    shell: str = "bash"
    labels: Mapping[str, str] = field(default_factory=dict)
    operating_system: str = field(default_factory=lambda: go_platform()[0])
    architecture: str = field(default_factory=lambda: go_platform()[1])
    features: Mapping[str, bool] = field(default_factory=features)

    def as_json(self) -> dict[str, object]:
        """Return the `info` object; empty texts are left out, `features` and `config` never are."""
        texts = {
            "name": self.name,
            "version": self.version,
            "revision": self.revision,
            "platform": self.operating_system,
            "architecture": self.architecture,
            "executor": self.executor,
            "shell": self.shell,
        }
        info: dict[str, object] = {key: text for key, text in texts.items() if text}
        info["features"] = dict(self.features)
        info["config"] = {"gpus": ""}
        if self.labels:
            info["labels"] = dict(self.labels)
        return info

    @property
    def user_agent(self) -> str:
        """The `User-Agent` in GitLab Runner's shape: name, version, branch, toolchain, platform."""
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return f"{self.name} {self.version} (main; {python}; {self.operating_system}/{self.architecture})"
