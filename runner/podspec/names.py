"""Names and labels of what a job makes in the cluster.

Kubernetes takes DNS-1123 names and refuses the rest, so every name made of a branch, a project or an alias passes
here. Randomness is an argument: the same request gives the same names.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

RANDOM_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
"""What a random suffix is made of."""
RANDOM_LENGTH = 8
"""How long a random suffix is."""

LABEL_PREFIX = "runner.gitlab.com"
"""The domain of the labels that only the runner may set."""

_NAME_LENGTH = 63
_BASE_LENGTH = _NAME_LENGTH - RANDOM_LENGTH - 1
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_RESERVED_CONTAINERS = frozenset({"build", "helper", "init-permissions", "init-build-uid-gid-collector"})


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one job's objects."""

    base: str
    """`runner-<token>-project-<id>-concurrent-<n>`: the slot, not the job; a predecessor may still carry it."""
    pod: str
    """The base with a random suffix: unique, so it is the name to select by."""

    @property
    def credentials(self) -> str:
        """The Secret with the registry credentials."""
        return f"{self.pod}-registry"

    @property
    def disruption_budget(self) -> str:
        """The PodDisruptionBudget of the pod."""
        return f"{self.pod}-pdb"

    @property
    def environment(self) -> str:
        """The Secret with the values of service variables that must not stand in the pod."""
        return f"{self.pod}-environment"

    def job_secret(self, index: int) -> str:
        """The Secret with part `index` of what another manager needs to go on with this job."""
        return f"{self.pod}-job-{index}"


def job_namespace(job_id: int) -> str:
    """The namespace of one job alone, where each job has one (`namespace_per_job`)."""
    return f"ci-job-{job_id}"


def names_for(*, short_token: str, project_id: int, concurrent_project_id: int, random: str) -> Names:
    """Name the objects of a job; `random` is `RANDOM_LENGTH` characters of `RANDOM_ALPHABET`."""
    base = dns_name(f"runner-{short_token}-project-{project_id}-concurrent-{concurrent_project_id}")
    return Names(base=base, pod=object_name(base, random))


def dns_name(text: str) -> str:
    """Lower the case, drop every character that no DNS-1123 label has, and cut to 63."""
    cleaned = re.sub(r"[^-a-z0-9]", "", text.lower())
    return cleaned.lstrip("-")[:_NAME_LENGTH].rstrip("-")


def object_name(base: str, random: str) -> str:
    """Cut the base so that a hyphen and the random suffix fit into 63 characters."""
    return f"{base[:_BASE_LENGTH].rstrip('-')}-{random}"


def sanitise_label(value: str) -> str:
    """Make any text a label value: other characters become `_`, at most 63, letters or digits at both ends."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "_", value).strip("-_.")
    return cleaned[:_NAME_LENGTH].strip("-_.")


def is_reserved_label(key: str) -> bool:
    """True for a key under `runner.gitlab.com`: it selects and sweeps pods, so users may not set it."""
    domain = key.split("/", 1)[0].lower()
    return domain == LABEL_PREFIX or domain.endswith(f".{LABEL_PREFIX}")


def is_dns_label(text: str) -> bool:
    """True for a DNS-1123 label, which is what a container's name must be."""
    return _DNS_LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """True for a DNS-1123 subdomain, which is what a host alias must be: its parts have no bound of their own."""
    return len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text) is not None


def service_container_names(aliases: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Name the container of each service: its first free alias that is a DNS-1123 label, else `svc-<n>`.

    `n` counts unnamed services only, as GitLab Runner does. Unlike there, names that the pod itself uses are not
    free, and a generated name steps over an alias of the same spelling: a pod with two containers of one name is
    refused by the API server, so the job would fail for a matter of taste.
    """
    used = set(_RESERVED_CONTAINERS)
    chosen: list[str] = []
    for names in aliases:
        # Every alias looked at counts as used, taken or not: GitLab Runner's choice of names depends on it.
        chosen.append(next((name for name in names if _claim(name, used)), ""))
    unnamed = (f"svc-{number}" for number in range(2 * len(chosen) + len(used)))
    return tuple(name or next(free for free in unnamed if free not in used) for name in chosen)


def _claim(name: str, used: set[str]) -> bool:
    free = name not in used and is_dns_label(name)
    used.add(name)
    return free


def image_host_names(image: str) -> tuple[str, ...]:
    """Give the host names that an image gives its service: `registry.tld:5000/a/b:1` gives `registry.tld-a-b`.

    GitLab's documentation also names `registry.tld__a__b`; a name that is no DNS-1123 subdomain, as this one, is left
    out, because the API server refuses the whole pod for it.
    """
    path = without_tag(image)
    return tuple(
        dict.fromkeys(name for name in (path.replace("/", "__"), path.replace("/", "-")) if is_dns_subdomain(name))
    )


def without_tag(image: str) -> str:
    """Drop digest, tag and the registry's port. Only what follows the last slash can hold a tag."""
    registry, slash, rest = image.partition("@")[0].rpartition("/")
    return re.sub(r":[0-9]+(?=/|$)", "", registry, count=1) + slash + rest.partition(":")[0]
