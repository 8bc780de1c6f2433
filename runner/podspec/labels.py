"""Labels and annotations of what a job makes in the cluster.

Labels under `runner.gitlab.com` select, adopt and sweep; nobody but the runner sets them. No value of a masked variable
gets into a label or an annotation: everyone who may list pods reads them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from runner.job.durations import format_duration
from runner.job.variables import Variables, short_token
from runner.podspec.manifest import Manifest, read_moment
from runner.podspec.names import is_reserved_label, sanitise_label
from runner.podspec.request import PodRequest

JOB_ID_LABEL = "job.runner.gitlab.com/id"
"""The job's id. With the two below it finds a job's objects again."""
SYSTEM_ID_LABEL = "manager.runner.gitlab.com/system-id"
"""The manager process that made the object."""
SHORT_TOKEN_LABEL = "manager.runner.gitlab.com/id-short"
"""The runner that the job was given to."""
SLOT_LABEL = "job.runner.gitlab.com/pod"
"""The slot a pod runs in. GitLab Runner selects by it, but a terminating predecessor carries it too."""
EXPIRES_ANNOTATION = "job.runner.gitlab.com/expires-at"
"""The moment after which any manager may delete the object: its job is over, whatever became of its own manager."""
NAME_LABEL = "job.runner.gitlab.com/pod-name"
"""The pod's name, unique to the job: what a PodDisruptionBudget selects by."""

EXPIRY_MARGIN = 3600.0
"""Seconds beyond the job's own time in which its log and result may still be on their way to GitLab."""

_MASK = "[MASKED]"


def manager_selector(*, system_id: str, runner_token: str) -> str:
    """Select every object that one manager made for one runner."""
    return (
        f"{SYSTEM_ID_LABEL}={sanitise_label(system_id)},{SHORT_TOKEN_LABEL}={sanitise_label(short_token(runner_token))}"
    )


def runner_selector(runner_token: str) -> str:
    """Select every object that any manager made for one runner."""
    return f"{SHORT_TOKEN_LABEL}={sanitise_label(short_token(runner_token))}"


def has_expired(manifest: Manifest, now: float) -> bool:
    """Say whether an object's job is over whatever became of its manager; what says no moment never is."""
    until = read_moment((manifest["metadata"].get("annotations") or {}).get(EXPIRES_ANNOTATION))
    return until is not None and until < now


def object_labels(request: PodRequest) -> dict[str, str]:
    """The labels by which any object of the job is found and swept; pods carry more."""
    return {
        JOB_ID_LABEL: str(request.job.id),
        SYSTEM_ID_LABEL: sanitise_label(request.system_id),
        SHORT_TOKEN_LABEL: sanitise_label(short_token(request.config.token)),
        NAME_LABEL: sanitise_label(request.names.pod),
    }


def object_annotations(request: PodRequest) -> dict[str, str]:
    """The annotations of any object of the job."""
    return {EXPIRES_ANNOTATION: _moment(request.now + request.job.timeout + EXPIRY_MARGIN)}


def pod_labels(request: PodRequest) -> dict[str, str]:
    """The pod's labels: GitLab Runner's, and the configured ones unless they claim its domain."""
    variables = request.variables.expanded()
    info = request.job.job_info
    slot = sanitise_label(request.names.base)
    fixed = {
        "pod": slot,
        SLOT_LABEL: slot,
        "project.runner.gitlab.com/id": str(info.project_id),
        "project.runner.gitlab.com/name": sanitise_label(info.project_name),
        "project.runner.gitlab.com/namespace": sanitise_label(variables.get("CI_PROJECT_NAMESPACE")),
        "project.runner.gitlab.com/namespace-id": sanitise_label(variables.get("CI_PROJECT_NAMESPACE_ID")),
        "project.runner.gitlab.com/root-namespace": sanitise_label(variables.get("CI_PROJECT_ROOT_NAMESPACE")),
        "project.runner.gitlab.com/root-namespace-id": str(info.root_namespace_id),
        "manager.runner.gitlab.com/name": sanitise_label(request.config.name),
        **object_labels(request),
    }
    configured = _expanded(request.kubernetes.pod_labels, variables)
    free = {key: sanitise_label(value) for key, value in configured.items() if not is_reserved_label(key)}
    return {**free, **fixed}


def pod_annotations(request: PodRequest) -> dict[str, str]:
    """The pod's annotations: GitLab Runner's, then the configured ones, which may replace those.

    Autoscalers are asked to leave the pod alone: a job cannot be moved to another node. The expiry comes last, because
    a job that may set annotations must not keep its pod for ever.
    """
    job = request.job
    ours = {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
        "job.runner.gitlab.com/id": str(job.id),
        "job.runner.gitlab.com/url": _job_url(request),
        "job.runner.gitlab.com/sha": job.git_info.sha,
        "job.runner.gitlab.com/before_sha": job.git_info.before_sha,
        "job.runner.gitlab.com/ref": job.git_info.ref,
        "job.runner.gitlab.com/name": job.job_info.name,
        "job.runner.gitlab.com/timeout": format_duration(job.timeout),
        "project.runner.gitlab.com/id": str(job.job_info.project_id),
    }
    configured = _expanded(request.kubernetes.pod_annotations, request.variables.expanded())
    return {**ours, **configured, **object_annotations(request)}


def _expanded(table: Mapping[str, str], variables: Variables) -> dict[str, str]:
    secrets = variables.masked_values()
    return {key: _without(secrets, variables.expand(value)) for key, value in table.items()}


def _without(secrets: tuple[str, ...], text: str) -> str:
    # Longest first: a secret may be part of another one.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


def _job_url(request: PodRequest) -> str:
    """The job's page. The repository's URL holds the job's token in front of the host, so only its parts are used."""
    try:
        url = urlsplit(request.job.git_info.repo_url)
    except ValueError:
        return ""  # git will say what is wrong with it
    host = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{host}{url.path.removesuffix('.git')}/-/jobs/{request.job.id}" if host else ""


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
