"""The pull policies of a pod's containers: which are to be tried, in which order, and how far each has come.

Pure. A failed pull of one container moves that container alone to its next policy; the pod that failed is removed and
another one is made. The lists are finite, so the number of pods is. The lines for the job's log are GitLab Runner's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from runner.job.outcome import JobConfigurationError
from runner.podspec.request import PodRequest

_WORDS = {"": "", "always": "Always", "if-not-present": "IfNotPresent", "never": "Never"}
_PIPELINE = "GitLab pipeline config"
_RUNNER = "Runner config"
_DEFAULT = "Runner config (default)"


@dataclass(frozen=True, slots=True)
class PullPolicies:
    """The policies of each container, in GitLab's words, and how many of them have failed."""

    lists: Mapping[str, tuple[str, ...]]
    failures: Mapping[str, int]

    def current(self) -> dict[str, str]:
        """The policy to use for each container now; empty leaves it to the cluster."""
        return {name: policies[self.failures.get(name, 0)] for name, policies in self.lists.items()}

    def announcements(self) -> tuple[str, ...]:
        """One line for each container with all that will be tried."""
        return tuple(
            f"Using effective pull policy of {_shown(policies)} for container {name}"
            for name, policies in self.lists.items()
        )

    def after_failure(self, container: str) -> "PullPolicies | None":
        """What is left when an image could not be had; None when nothing is.

        The same policy twice in the list is another try of the same.
        """
        failed = self.failures.get(container, 0) + 1
        if failed >= len(self.lists.get(container, ())):
            return None
        return replace(self, failures={**self.failures, container: failed})


def pull_policies(request: PodRequest, containers: Iterable[str]) -> PullPolicies:
    """Find the policies of these containers of a pod. Raises JobConfigurationError for one that is not allowed."""
    return PullPolicies({name: effective_policies(name, request) for name in containers}, {})


def effective_policies(container: str, request: PodRequest) -> tuple[str, ...]:
    """The policies to try for a container, in order, in GitLab's words.

    What its image asks for in the job (all but services follow the build's image), else the configured ones; of these,
    what `allowed_pull_policies` lets through, which is `pull_policy` itself where it is not set. So a job cannot choose
    a policy on a runner that names none. Raises JobConfigurationError when nothing is left.
    """
    configured = request.kubernetes.pull_policy
    asked = _asked_by_job(container, request)
    wanted = asked or configured or ("",)
    if unknown := [policy for policy in wanted if policy not in _WORDS]:
        raise JobConfigurationError(
            f'invalid pull policy for container "{container}": "{unknown[0]}" is none of always, if-not-present, never'
        )
    allowed = request.kubernetes.allowed_pull_policies or configured or ("",)
    effective = tuple(policy for policy in wanted if policy in allowed)
    if not effective:
        source = _PIPELINE if asked else _RUNNER if configured else _DEFAULT
        raise JobConfigurationError(
            f'invalid pull policy for container "{container}": pull_policy ({_shown(wanted)}) defined in {source} '
            f"is not one of the allowed_pull_policies ({_shown(allowed)})"
        )
    return effective


def pull_policy(container: str, request: PodRequest) -> str:
    """The `imagePullPolicy` of a container: the one that the request names for now, else the first effective one."""
    policy = request.pull_policies.get(container)
    return _WORDS[effective_policies(container, request)[0] if policy is None else policy]


def pull_failure_line(*, image: str, container: str, policy: str, message: str) -> str:
    """The warning that an image could not be had under a policy."""
    return f'Failed to pull image "{image}" for container "{container}" with policy "{_WORDS[policy]}": {message}'


def next_attempt_line(*, attempt: int, image: str, container: str, policy: str) -> str:
    """The notice of another pod with the next policy; `attempt` counts pods from 1."""
    return f'Attempt #{attempt}: Trying "{_WORDS[policy]}" pull policy for "{image}" image for container "{container}"'


def _asked_by_job(container: str, request: PodRequest) -> tuple[str, ...]:
    for service in request.services:
        if service.name == container:
            return service.pull_policies
    return request.job.image.pull_policy if request.job.image else ()


def _shown(policies: Iterable[str]) -> str:
    """A list as Go prints it, in Kubernetes' words."""
    return f"[{' '.join(_WORDS[policy] for policy in policies)}]"
