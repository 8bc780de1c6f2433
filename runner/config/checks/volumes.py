"""Volumes, and where containers see them."""

import posixpath
from collections.abc import Iterator
from typing import Final

from runner.config.checks.amounts import KINDS
from runner.config.checks.rules import Problem, Rule, has_variable, quoted
from runner.config.checks.security import contexts, is_privileged
from runner.config.checks.words import DNS_LABEL, is_dns_label, is_dns_subdomain, is_safe_path
from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.config.positions import Path
from runner.config.volumes import (
    ConfigMapVolume,
    CsiVolume,
    EmptyDirVolume,
    HostPathVolume,
    NfsVolume,
    PvcVolume,
    SecretVolume,
    VolumesConfig,
)

AnyVolume = HostPathVolume | SecretVolume | PvcVolume | ConfigMapVolume | EmptyDirVolume | CsiVolume | NfsVolume

_OURS = ("repo", "scripts", "logs")
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock")
_OF_THE_NODE = ("/etc", "/proc", "/sys", "/root", "/var/lib/kubelet", "/var/run", "/run", "/var/lib/docker")


def each_volume(volumes: VolumesConfig) -> Iterator[tuple[Path, AnyVolume]]:
    """Every configured volume with its path below `[runners.kubernetes]`."""
    for kind in VolumesConfig.model_fields:
        for index, volume in enumerate(getattr(volumes, kind)):
            yield ("volumes", kind, index), volume


def _mount_path_twice(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Two volumes are mounted at one path."""
    seen: dict[str, str] = {}
    for path, volume in each_volume(kubernetes.volumes):
        place = volume.mount_path
        if place in seen:
            yield Problem(
                (*path, "mount_path"),
                f"{quoted(place)} is where the volume {quoted(seen[place])} is mounted: "
                "the API server refuses such a pod",
                "mount it somewhere else",
            )
        seen.setdefault(place, volume.name)


def _mount_path_form(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A path to mount at is empty, relative, or has a colon."""
    for path, volume in each_volume(kubernetes.volumes):
        place = volume.mount_path
        if not place:
            yield Problem((*path, "mount_path"), "the path to mount at is empty", "write an absolute path")
        elif ":" in place and not _is_windows(place):
            yield Problem((*path, "mount_path"), f"{quoted(place)} has a colon in it", "write one path alone")
        elif not _is_absolute(place):
            yield Problem(
                (*path, "mount_path"),
                f"{quoted(place)} is relative, and what to is the container engine's choice",
                f"write {quoted('/' + place)}",
            )


def _mount_below_ours(runner: RunnerConfig) -> Iterator[Problem]:
    """A volume stands in the way of the directories that the runner itself mounts."""
    kubernetes = runner.kubernetes
    bases = {"scripts_base_dir": kubernetes.scripts_base_dir, "logs_base_dir": kubernetes.logs_base_dir}
    for path, volume in each_volume(kubernetes.volumes):
        place = volume.mount_path.rstrip("/")
        if not place or has_variable(place):
            continue
        where = ("kubernetes", *path, "mount_path")
        if place.startswith(runner.builds_dir.rstrip("/") + "/"):
            yield Problem(
                where,
                f"{quoted(place)} lies in builds_dir, {quoted(runner.builds_dir)}: "
                "it may be in the way of a project, and git clean empties it",
                f"mount it at {quoted(runner.builds_dir)} itself, or outside of it",
            )
        for key, base in bases.items():
            if base and (base.rstrip("/") + "/").startswith(place + "/"):
                yield Problem(
                    where,
                    f"the volume is mounted at or above {key}, {quoted(base)}: "
                    "the runner's own directories in it would belong to root",
                    f"move it, or {key}",
                )


def _directory_form(runner: RunnerConfig) -> Iterator[Problem]:
    """A directory in the containers is not absolute."""
    kubernetes = runner.kubernetes
    directories: dict[Path, str] = {
        ("builds_dir",): runner.builds_dir,
        ("cache_dir",): runner.cache_dir,
        ("kubernetes", "scripts_base_dir"): kubernetes.scripts_base_dir,
        ("kubernetes", "logs_base_dir"): kubernetes.logs_base_dir,
    }
    for path, place in directories.items():
        if place and not _is_absolute(place):
            yield Problem(path, f"{quoted(place)} is relative: jobs cannot start there", f"write {quoted('/' + place)}")


def _volume_name(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A volume's name is none for Kubernetes, or one of ours."""
    for path, volume in each_volume(kubernetes.volumes):
        if not is_dns_label(volume.name) and not (isinstance(volume, PvcVolume) and has_variable(volume.name)):
            yield Problem(
                (*path, "name"),
                f"{quoted(volume.name)} is no name of a volume: the API server refuses such a pod",
                f"write {DNS_LABEL}",
            )
        elif volume.name in _OURS:
            yield Problem(
                (*path, "name"),
                f"{quoted(volume.name)} is the name of a volume that every job's pod has",
                "give it another name",
            )


def _volume_name_twice(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Two different volumes have one name."""
    seen: dict[str, object] = {}
    for path, volume in each_volume(kubernetes.volumes):
        mounting = {"mount_path", "sub_path", "mount_propagation"}
        if not isinstance(volume, CsiVolume | NfsVolume):
            mounting.add("read_only")
        source = (path[1], volume.model_dump(exclude=mounting), getattr(volume, "host_path", None) == "" and path)
        if seen.setdefault(volume.name, source) != source:
            yield Problem(
                (*path, "name"),
                f"another volume is called {quoted(volume.name)} too: the API server refuses such a pod",
                "give it another name",
            )


def _mount_propagation(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A mount propagation needs privileged containers."""
    ordinary = [
        key for key, context in contexts(kubernetes).items() if key[0] != "i" and not is_privileged(kubernetes, context)
    ]
    for path, volume in each_volume(kubernetes.volumes):
        if getattr(volume, "mount_propagation", "") == "Bidirectional" and ordinary:
            yield Problem(
                (*path, "mount_propagation"),
                "Bidirectional is for privileged containers alone, and every container mounts the volume: "
                "the API server refuses such a pod",
                "take HostToContainer",
            )


def _path_leads_out(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A path inside a volume leads out of it."""
    for path, volume in each_volume(kubernetes.volumes):
        paths: dict[Path, str] = {(*path, "sub_path"): volume.sub_path} if hasattr(volume, "sub_path") else {}
        for key, text in getattr(volume, "items", {}).items():
            paths[*path, "items", key] = text
        for where, text in paths.items():
            if (text or "items" in where) and not has_variable(text) and not (text and is_safe_path(text)):
                yield Problem(
                    where,
                    f"{quoted(text)} is no path below the volume: the API server refuses such a pod",
                    "write a relative path without ..",
                )


def _host_path(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A directory of the node gives jobs power over the node."""
    for index, volume in enumerate(kubernetes.volumes.host_path):
        place = volume.host_path or volume.mount_path
        path = ("volumes", "host_path", index, "host_path" if volume.host_path else "mount_path")
        if place.endswith(_SOCKETS):
            yield Problem(
                path,
                f"{quoted(place)} is the node's container engine: every job can take over the node",
                "build images without it, with buildah or kaniko for one",
            )
        elif not volume.read_only and _belongs_to_the_node(place):
            yield Problem(
                path,
                f"{quoted(place)} belongs to the node's system, and every job may write to it",
                "mount it with read_only = true, or a directory made for jobs",
            )


def _belongs_to_the_node(place: str) -> bool:
    clean = posixpath.normpath(place)
    return clean in ("/", "//") or any(clean == root or clean.startswith(f"{root}/") for root in _OF_THE_NODE)


def _host_path_form(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A directory of the node is spelled with `..`."""
    for index, volume in enumerate(kubernetes.volumes.host_path):
        place = volume.host_path or volume.mount_path
        if ".." in place.split("/"):
            yield Problem(
                ("volumes", "host_path", index, "host_path" if volume.host_path else "mount_path"),
                f"{quoted(place)} has .. in it: the API server refuses such a pod",
                f"write {quoted(posixpath.normpath(place))}",
            )


def _empty_dir(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An `empty_dir` has a medium or a size that is none."""
    for index, volume in enumerate(kubernetes.volumes.empty_dir):
        path = ("volumes", "empty_dir", index)
        if volume.medium not in ("", "Memory") and not volume.medium.startswith("HugePages"):
            yield Problem(
                (*path, "medium"),
                f"{quoted(volume.medium)} is no medium: the pod does not start",
                'write "Memory", or take the key away',
            )
        if volume.size_limit.strip().startswith("-"):
            yield Problem(
                (*path, "size_limit"),
                f"{quoted(volume.size_limit)} is less than nothing: the API server refuses such a pod",
                "write an amount such as 1Gi",
            )


def _memory_volume_without_limit(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A volume in memory has no size."""
    bounded = any(getattr(kubernetes, f"{kind}memory_limit") for kind in KINDS)
    for index, volume in enumerate(kubernetes.volumes.empty_dir):
        if volume.medium == "Memory" and not volume.size_limit and not bounded:
            yield Problem(
                ("volumes", "empty_dir", index, "size_limit"),
                "the volume is in memory and has no size: a job can fill its node's memory with files",
                "set size_limit",
            )


def _driver(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A `csi` volume names no driver, or an `nfs` volume no absolute path."""
    for index, csi in enumerate(kubernetes.volumes.csi):
        if not (len(csi.driver) <= 63 and is_dns_subdomain(csi.driver.lower())):
            yield Problem(
                ("volumes", "csi", index, "driver"),
                f"{quoted(csi.driver)} is no storage driver: the API server refuses such a pod",
                "name the driver as `kubectl get csidrivers` does",
            )
    for index, nfs in enumerate(kubernetes.volumes.nfs):
        if not nfs.path.startswith("/"):
            yield Problem(
                ("volumes", "nfs", index, "path"),
                f"{quoted(nfs.path)} is relative: the API server refuses such a pod",
                f"write {quoted('/' + nfs.path)}",
            )


def _is_windows(place: str) -> bool:
    return place[1:3] in (":\\", ":/") and ":" not in place[2:]


def _is_absolute(place: str) -> bool:
    return place.startswith("/") or _is_windows(place) or has_variable(place[:1])


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("mount-path-twice", "error", _mount_path_twice),
    Rule("mount-path-form", "error", _mount_path_form),
    Rule("volume-name", "error", _volume_name),
    Rule("volume-name-twice", "error", _volume_name_twice),
    Rule("mount-propagation-unprivileged", "error", _mount_propagation),
    Rule("path-leads-out", "error", _path_leads_out),
    Rule("host-path-of-the-node", "warning", _host_path),
    Rule("host-path-form", "error", _host_path_form),
    Rule("empty-dir-form", "error", _empty_dir),
    Rule("memory-volume-without-limit", "warning", _memory_volume_without_limit),
    Rule("volume-driver", "error", _driver),
)
"""All rules of this subject that look at `[runners.kubernetes]`."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("mount-below-ours", "warning", _mount_below_ours),
    Rule("directory-form", "error", _directory_form),
)
"""Those that look at `[[runners]]`."""
