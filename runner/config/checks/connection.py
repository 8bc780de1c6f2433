"""The API server, and as whom and where in it jobs run."""

from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, quoted
from runner.config.kubernetes import KubernetesConfig

_OF_THE_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


def _host_missing(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Credentials for an API server are there, and its address is not."""
    for key in ("cert_file", "key_file", "ca_file", "bearer_token"):
        if getattr(kubernetes, key) and not kubernetes.host:
            yield Problem(
                (key,),
                "host is not set, so the key does nothing: the pod's own credentials or the kubeconfig are used",
                "set host, or take the key away",
            )


def _host_not_encrypted(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The API server is spoken to in the clear."""
    if kubernetes.host.lower().startswith("http://"):
        yield Problem(
            ("host",), "credentials and scripts go to the API server without encryption", "use https, with ca_file"
        )


def _context_unused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A context of the kubeconfig is named, and the kubeconfig is not used."""
    if kubernetes.context and kubernetes.host:
        yield Problem(
            ("context",), "host is set, so no kubeconfig is read and the key does nothing", "take one of the two away"
        )


def _key_file_unused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A key without its certificate does nothing."""
    if kubernetes.key_file and not kubernetes.cert_file:
        yield Problem(
            ("key_file",), "there is no cert_file beside it, so the key does nothing", "set cert_file, or take it away"
        )


def _namespace_unset(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs run in the namespace `default`."""
    if kubernetes.namespace == "default" and not kubernetes.namespace_per_job:
        yield Problem(
            ("namespace",),
            'jobs run in the namespace "default", beside whatever else is there',
            "give jobs a namespace of their own, so that rights and quotas can be theirs",
        )


def _namespace_of_the_system(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs run in a namespace of the cluster itself."""
    if kubernetes.namespace in _OF_THE_SYSTEM and not kubernetes.namespace_per_job:
        yield Problem(
            ("namespace",),
            f"{quoted(kubernetes.namespace)} belongs to the cluster: jobs there can come by its secrets and accounts",
            "give jobs a namespace of their own",
        )


def _namespace_unused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A namespace is named, and each job has one of its own."""
    if not kubernetes.namespace_per_job:
        return
    keys = {"namespace": kubernetes.namespace != "default"}
    keys["namespace_overwrite_allowed"] = bool(kubernetes.namespace_overwrite_allowed)
    for key, is_set in keys.items():
        if is_set:
            yield Problem(
                (key,), "namespace_per_job is set and wins, so the key does nothing", f"take {key} or that away"
            )


def _nothing_in_a_new_namespace(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Each job has a new namespace, which lacks what the configuration names."""
    if not kubernetes.namespace_per_job:
        return
    volumes = kubernetes.volumes
    named = {
        ("service_account",): bool(kubernetes.service_account) and kubernetes.service_account != "default",
        ("image_pull_secrets",): bool(kubernetes.image_pull_secrets),
        ("volumes", "pvc"): bool(volumes.pvc),
        ("volumes", "config_map"): bool(volumes.config_map),
        ("volumes", "secret"): bool(volumes.secret),
    }
    for path, is_set in named.items():
        if is_set:
            yield Problem(
                path,
                "namespace_per_job makes a new namespace for each job, where none of these exists",
                "give up namespace_per_job, or have a controller copy them into new namespaces",
            )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("host-missing", "warning", _host_missing),
    Rule("host-not-encrypted", "warning", _host_not_encrypted),
    Rule("context-unused", "warning", _context_unused),
    Rule("key-file-unused", "warning", _key_file_unused),
    Rule("namespace-unset", "note", _namespace_unset),
    Rule("namespace-of-the-system", "warning", _namespace_of_the_system),
    Rule("namespace-unused", "warning", _namespace_unused),
    Rule("new-namespace-is-empty", "warning", _nothing_in_a_new_namespace),
)
"""All rules of this subject."""
