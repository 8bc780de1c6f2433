"""Names, labels, resolver, services and hooks of a job's pod; judged as the API server judges them."""

import re
from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, has_variable, quoted
from runner.config.checks.words import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    LABEL_KEY,
    is_dns_label,
    is_dns_subdomain,
    is_ip_address,
    is_label_key,
)
from runner.config.kubernetes import KubernetesConfig
from runner.config.lifecycle import LifecycleHook
from runner.config.positions import Path

_REFUSED = "the API server refuses such a pod"
_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_RESERVED_DOMAIN = "runner.gitlab.com"
_HEADER = re.compile(r"[-A-Za-z0-9]+")


def _metadata_key(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A label or an annotation has a key that is none."""
    for table, what in (("pod_labels", "a label"), ("pod_annotations", "an annotation")):
        for key in getattr(kubernetes, table):
            # The domain of an annotation may have capitals.
            if not is_label_key(key if table == "pod_labels" else key.lower()):
                yield Problem((table, key), f"{quoted(key)} is no key of {what}: {_REFUSED}", f"write {LABEL_KEY}")


def _label_reserved(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A label lies in the runner's own domain and is left out."""
    for key in kubernetes.pod_labels:
        domain = key.partition("/")[0].lower()
        if domain == _RESERVED_DOMAIN or domain.endswith(f".{_RESERVED_DOMAIN}"):
            yield Problem(
                ("pod_labels", key),
                f"labels under {_RESERVED_DOMAIN} are the runner's own: it finds its pods by them, and leaves this out",
                "take another domain",
            )


def _object_name(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A name is none that an object of the cluster can have."""
    keys = ("service_account", "priority_class_name", "runtime_class_name")
    names: dict[Path, str] = {(key,): name for key in keys if (name := getattr(kubernetes, key))}
    names |= {("image_pull_secrets", index): name for index, name in enumerate(kubernetes.image_pull_secrets)}
    if not is_dns_label(kubernetes.namespace):
        yield Problem(("namespace",), f"{quoted(kubernetes.namespace)} is no name of a namespace", f"write {DNS_LABEL}")
    for path, name in names.items():
        if not is_dns_subdomain(name):
            yield Problem(path, f"{quoted(name)} can be the name of nothing in a cluster", f"write {DNS_SUBDOMAIN}")


def _host_alias(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A host alias has an address or a name that is none."""
    for index, alias in enumerate(kubernetes.host_aliases):
        path = ("host_aliases", index)
        if not is_ip_address(alias.ip):
            yield Problem(
                (*path, "ip"), f"{quoted(alias.ip)} is no address: {_REFUSED}", "write an IPv4 or IPv6 address"
            )
        for number, name in enumerate(alias.hostnames):
            if not is_dns_subdomain(name):
                yield Problem(
                    (*path, "hostnames", number),
                    f"{quoted(name)} is no host name: {_REFUSED}",
                    f"write {DNS_SUBDOMAIN}",
                )


def _dns_policy(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The DNS policy lacks its name server."""
    if kubernetes.dns_policy == "none" and not kubernetes.dns_config.nameservers:
        yield Problem(
            ("dns_policy",),
            f'"none" needs a name server in dns_config: {_REFUSED}',
            "set nameservers in [runners.kubernetes.dns_config]",
        )


def _dns_config(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The resolver's table has an address, a domain or an option that is none."""
    config = kubernetes.dns_config
    for index, address in enumerate(config.nameservers):
        path = ("dns_config", "nameservers", index)
        if not is_ip_address(address):
            yield Problem(path, f"{quoted(address)} is no address: {_REFUSED}", "write an IPv4 or IPv6 address")
        elif index == _MOST_NAMESERVERS:
            yield Problem(path, f"there are more than {_MOST_NAMESERVERS}: {_REFUSED}", "take some away")
    for index, domain in enumerate(config.searches):
        path = ("dns_config", "searches", index)
        if domain != "." and not is_dns_subdomain(domain.rstrip(".").replace("_", "-")):
            yield Problem(path, f"{quoted(domain)} is no domain: {_REFUSED}", f"write {DNS_SUBDOMAIN}")
        elif index == _MOST_SEARCHES:
            yield Problem(path, f"there are more than {_MOST_SEARCHES}: {_REFUSED}", "take some away")
    for index, option in enumerate(config.options):
        if not option.name:
            yield Problem(("dns_config", "options", index, "name"), f"it is empty: {_REFUSED}", "name the option")


def _service_alias(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An alias of a service is no host name."""
    for path, alias in _aliases(kubernetes):
        if not is_dns_subdomain(alias):
            yield Problem(path, f"{quoted(alias)} is no host name: every job fails", f"write {DNS_SUBDOMAIN}")


def _service_alias_twice(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Two services have one alias."""
    seen: dict[str, Path] = {}
    for path, alias in _aliases(kubernetes):
        if seen.setdefault(alias, path) != path:
            yield Problem(
                path,
                f"{quoted(alias)} is an alias of another service too; both are reached at the pod's own address",
                "give each service names of its own",
            )


def _aliases(kubernetes: KubernetesConfig) -> Iterator[tuple[Path, str]]:
    for index, service in enumerate(kubernetes.services):
        for alias in re.split(r"[\s,]+", service.alias):
            if alias and not has_variable(service.alias):
                yield ("services", index, "alias"), alias


def _hook(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A hook of the containers' life has several actions, or one with a wrong value."""
    for key in ("post_start", "pre_stop"):
        hook = getattr(kubernetes.container_lifecycle, key)
        if hook is None:
            continue
        path = ("container_lifecycle", key)
        if len(actions := _actions(hook)) > 1:
            what = f"the hook has {' and '.join(actions)}: {_REFUSED}"
            yield Problem(path, what, "give it one of exec, http_get and tcp_socket")
        yield from _action(path, hook)


def _hook_of_nothing(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A hook of the containers' life has no action, or no command, and is left out."""
    for key in ("post_start", "pre_stop"):
        hook = getattr(kubernetes.container_lifecycle, key)
        if hook is not None and not _actions(hook):
            what = "has no command" if hook.exec else "has no action"
            yield Problem(
                ("container_lifecycle", key),
                f"the hook {what} and is left out of every pod",
                "give it one of exec with a command, http_get and tcp_socket, or take it away",
            )


def _actions(hook: LifecycleHook) -> list[str]:
    """What a hook does; an exec without a command is sent as none."""
    given = [name for name in LifecycleHook.model_fields if getattr(hook, name) is not None]
    return [name for name in given if name != "exec" or (hook.exec and hook.exec.command)]


def _action(path: Path, hook: LifecycleHook) -> Iterator[Problem]:
    for name in ("http_get", "tcp_socket"):
        action = getattr(hook, name)
        if action is not None and not 1 <= action.port <= 65535:
            yield Problem(
                (*path, name, "port"), f"{action.port} is no port: {_REFUSED}", "write a number from 1 to 65535"
            )
    if hook.http_get is None:
        return
    if hook.http_get.scheme not in ("", "HTTP", "HTTPS"):
        yield Problem(
            (*path, "http_get", "scheme"),
            f"{quoted(hook.http_get.scheme)} is no scheme: {_REFUSED}",
            'write "HTTP" or "HTTPS"',
        )
    for index, header in enumerate(hook.http_get.http_headers):
        if not _HEADER.fullmatch(header.name):
            yield Problem(
                (*path, "http_get", "http_headers", index, "name"),
                f"{quoted(header.name)} is no name of a header: {_REFUSED}",
                "write letters, digits and -",
            )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("metadata-key", "error", _metadata_key),
    Rule("label-reserved", "warning", _label_reserved),
    Rule("object-name", "error", _object_name),
    Rule("host-alias", "error", _host_alias),
    Rule("dns-policy-without-server", "error", _dns_policy),
    Rule("dns-config", "error", _dns_config),
    Rule("service-alias", "error", _service_alias),
    Rule("service-alias-twice", "warning", _service_alias_twice),
    Rule("lifecycle-hook", "error", _hook),
    Rule("lifecycle-hook-of-nothing", "warning", _hook_of_nothing),
)
"""All rules of this subject."""
