"""What a pod is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variables
from runner.podspec.names import Names, job_namespace
from runner.podspec.patches import SpecPatch
from runner.podspec.services import PodService


@dataclass(frozen=True, slots=True)
class Directories:
    """Where the job's volumes are seen in its containers."""

    builds: str
    logs: str
    scripts: str


def directories_for(config: RunnerConfig, job: Job, builds_dir: str) -> Directories:
    """Place the log and script directories: named after project and job, below the configured base directories."""
    kubernetes = config.kubernetes
    suffix = f"{job.job_info.project_id}-{job.id}"
    return Directories(
        builds=builds_dir,
        logs=f"{_base(kubernetes.logs_base_dir)}/logs-{suffix}",
        scripts=f"{_base(kubernetes.scripts_base_dir)}/scripts-{suffix}",
    )


def _base(directory: str) -> str:
    return directory.rstrip("/\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRequest:
    """Everything that decides about one job's pod. `config` is the runner's entry with the job's overwrites applied."""

    job: Job
    variables: Variables
    config: RunnerConfig
    names: Names
    system_id: str
    """Which manager process made the pod: a later start of the same manager adopts or sweeps by it."""
    build_image: str
    helper_image: str
    build_command: tuple[str, ...]
    helper_command: tuple[str, ...]
    directories: Directories
    namespace: str = ""
    """Namespace of the pod; empty: the configured one."""
    origins: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """The job's variable behind each value of `config` that it overwrote, by key of `[runners.kubernetes]`."""
    services: tuple[PodService, ...] = ()
    feature_flags: Mapping[str, bool] = field(default_factory=dict)
    pull_policies: Mapping[str, str] = field(default_factory=dict)
    """The policy to use for a container now, in GitLab's words; a container that is not named uses its first one."""
    pull_secrets: tuple[str, ...] = ()
    """Registry secrets beside the configured ones."""
    patches: tuple[SpecPatch, ...] = ()
    """What the configuration changes in the finished spec; none without the feature flag."""
    now: float = 0.0
    """Seconds since the epoch; the pod says when it may be swept."""
    helper_may_be_root: bool = True
    """Whether the helper is root where nothing else is configured; not where the cluster has refused it."""

    @property
    def kubernetes(self) -> KubernetesConfig:
        """The executor's part of the configuration."""
        return self.config.kubernetes

    @property
    def pod_namespace(self) -> str:
        """The namespace the pod is made in; one of the job's own wins over any other."""
        if self.kubernetes.namespace_per_job:
            return job_namespace(self.job.id)
        return self.namespace or self.kubernetes.namespace

    def flag(self, name: str, *, default: bool) -> bool:
        """Tell a feature flag as the job has it."""
        return self.feature_flags.get(name, default)
