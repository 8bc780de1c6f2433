"""Volumes of a job's pod and where its containers mount them.

A configured volume is mounted by every container. `repo` is there unless a configured volume stands at the builds
directory; `scripts` and `logs` carry the stages. Those two belong to the runner, so services do not see them: scripts
hold the job's secrets, and a service's image is a stranger's.
"""

from collections.abc import Iterable, Iterator

from runner.config.model import RunnerConfig
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
from runner.job.quantity import QuantityError, parse_quantity
from runner.job.variables import Variables
from runner.podspec.manifest import Manifest, filled
from runner.podspec.request import PodRequest

ConfiguredVolume = HostPathVolume | SecretVolume | PvcVolume | ConfigMapVolume | EmptyDirVolume | CsiVolume | NfsVolume


def build_volumes(request: PodRequest) -> list[Manifest]:
    """Build the pod's volumes: configured ones, `repo`, `scripts`, `logs`."""
    variables = request.variables.expanded()
    volumes: list[Manifest] = []
    for entry in _configured(request.kubernetes.volumes):
        volume = {"name": _name(entry, variables), **_source(entry, variables)}
        # Several mounts may share one volume, and the API server refuses a name that comes twice.
        if volume not in volumes:
            volumes.append(volume)
    if not builds_volume_is_configured(request):
        volumes.append({"name": "repo", "emptyDir": {}})
    return [*volumes, {"name": "scripts", "emptyDir": {}}, {"name": "logs", "emptyDir": {}}]


def build_mounts(request: PodRequest) -> list[Manifest]:
    """Build the mounts of `build` and `helper`: scripts, logs, configured ones, repo."""
    return [*own_mounts(request), *build_service_mounts(request)]


def own_mounts(request: PodRequest) -> list[Manifest]:
    """Build the mounts that `build` and `helper` have before those of every container: scripts, logs."""
    return [
        {"name": "scripts", "mountPath": request.directories.scripts},
        {"name": "logs", "mountPath": request.directories.logs},
    ]


def build_service_mounts(request: PodRequest) -> list[Manifest]:
    """Build the mounts of a service: configured ones and the builds directory, which `docker run -v` needs there."""
    variables = request.variables.expanded()
    mounts = [_mount(entry, variables) for entry in _configured(request.kubernetes.volumes)]
    if not builds_volume_is_configured(request):
        mounts.append({"name": "repo", "mountPath": request.directories.builds})
    return mounts


def builds_volume_is_configured(request: PodRequest) -> bool:
    """True if a configured volume stands at the builds directory, spelled exactly so."""
    return _stands_at(request.directories.builds, request.variables, _configured(request.kubernetes.volumes))


def shares_builds_dir(config: RunnerConfig, variables: Variables | None = None) -> bool:
    """True if the builds directory may outlive the pod, so that jobs side by side need directories of their own."""
    return _stands_at(config.builds_dir, variables or Variables(), _lasting(config.kubernetes.volumes))


def volume_warnings(volumes: VolumesConfig) -> tuple[str, ...]:
    """Say which sizes of `empty_dir` volumes cannot be read; those volumes have no limit then."""
    return tuple(
        f'Size limit "{entry.size_limit}" of the empty_dir volume "{entry.name}" is no quantity and is left out.'
        for entry in volumes.empty_dir
        if entry.size_limit.strip() and not _is_quantity(entry.size_limit)
    )


def _configured(volumes: VolumesConfig) -> Iterator[ConfiguredVolume]:
    """Yield the configured volumes in the order of GitLab Runner, which is the order of the model's fields."""
    yield from volumes.host_path
    yield from volumes.secret
    yield from volumes.pvc
    yield from volumes.config_map
    yield from volumes.empty_dir
    yield from volumes.csi
    yield from volumes.nfs


def _lasting(volumes: VolumesConfig) -> Iterator[ConfiguredVolume]:
    return (entry for entry in _configured(volumes) if not isinstance(entry, EmptyDirVolume))


def _stands_at(path: str, variables: Variables, entries: Iterable[ConfiguredVolume]) -> bool:
    plain = variables.expanded()
    return any(plain.expand(entry.mount_path) == path for entry in entries)


def _name(entry: ConfiguredVolume, variables: Variables) -> str:
    """A claim's name is the only one that jobs may choose, so it alone is expanded."""
    return variables.expand(entry.name) if isinstance(entry, PvcVolume) else entry.name


def _mount(entry: ConfiguredVolume, variables: Variables) -> Manifest:
    return filled(
        {
            "name": _name(entry, variables),
            "mountPath": variables.expand(entry.mount_path),
            "subPath": variables.expand(entry.sub_path),
            "readOnly": getattr(entry, "read_only", False) or None,
            "mountPropagation": getattr(entry, "mount_propagation", ""),
        }
    )


def _source(entry: ConfiguredVolume, variables: Variables) -> Manifest:
    source: Manifest
    match entry:
        case HostPathVolume():
            source = {"hostPath": {"path": entry.host_path or entry.mount_path}}
        case SecretVolume():
            source = {"secret": filled({"secretName": entry.name, "items": _items(entry.items)})}
        case PvcVolume():
            source = {"persistentVolumeClaim": {"claimName": _name(entry, variables)}}
        case ConfigMapVolume():
            source = {"configMap": filled({"name": entry.name, "items": _items(entry.items)})}
        case EmptyDirVolume():
            source = {"emptyDir": filled({"medium": entry.medium, "sizeLimit": _size_limit(entry)})}
        case CsiVolume():
            source = {"csi": _csi(entry)}
        case _:
            read_only = entry.read_only or None
            source = {"nfs": filled({"server": entry.server, "path": entry.path, "readOnly": read_only})}
    return source


def _csi(entry: CsiVolume) -> Manifest:
    return {
        "driver": entry.driver,
        "fsType": entry.fs_type,
        "readOnly": entry.read_only,
        **filled({"volumeAttributes": dict(entry.volume_attributes)}),
    }


def _items(items: dict[str, str]) -> list[Manifest]:
    return [{"key": key, "path": path} for key, path in items.items()]


def _size_limit(entry: EmptyDirVolume) -> str:
    return entry.size_limit.strip() if _is_quantity(entry.size_limit) else ""


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return True
