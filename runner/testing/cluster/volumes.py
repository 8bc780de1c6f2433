"""A pod's volumes as folders, and its mounts as symbolic links, without any privilege.

Law: nothing that was there before is changed or removed. A mount is a link at its path; when something else is at that
path, another pod's mount for instance, the container waits. Read-only mounts are writable here; a volume with a host
path equal to its mount path is that folder itself and outlives the pod, as on a node.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from runner.testing.cluster.environment import Lookup, field_value, object_files
from runner.testing.cluster.problems import Manifest


class VolumeError(Exception):
    """A volume cannot be had yet: the pod waits, and the kubelet looks again."""


class MountError(Exception):
    """A mount cannot be made at its path: the container waits."""


class PodVolumes:
    """The volumes of one pod below `folder`; claims live below `claims` and outlive it."""

    def __init__(self, folder: Path, claims: Path, pod: Manifest, lookup: Lookup) -> None:
        self._folder = folder
        self._claims = claims
        self._pod = pod
        self._lookup = lookup
        self._sources: dict[str, Path] = {}
        self._links: dict[Path, Path] = {}
        self._made: list[Path] = []

    def prepare(self) -> None:
        """Make every volume; raises VolumeError when something it needs is missing. May be called again."""
        for volume in self._pod["spec"].get("volumes") or []:
            if volume["name"] not in self._sources:
                self._sources[volume["name"]] = self._source(volume)

    def mount(self, container: Manifest) -> None:
        """Make the container's mounts; raises MountError when a path is taken. May be called again."""
        for mount in sorted(container.get("volumeMounts") or [], key=lambda mount: len(mount["mountPath"])):
            self._mount(mount)

    def remove(self) -> None:
        """Take away every link and folder that was made here."""
        for path, target in reversed(self._links.items()):
            if path.is_symlink() and path.readlink() == target:
                path.unlink()
        self._links.clear()
        for path in reversed(self._made):
            # Not empty: something else lives there now.
            with suppress(OSError):
                path.rmdir()
        self._made.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _mount(self, mount: Manifest) -> None:
        path, target = Path(mount["mountPath"]), self._sources[mount["name"]]
        try:
            if sub_path := mount.get("subPath"):
                target = target / sub_path
                if not target.exists():
                    target.mkdir(parents=True)
            if self._links.get(path) == target or (path.exists() and target.exists() and path.samefile(target)):
                return
            if os.path.lexists(path):
                raise MountError(f"The mount path {path} is there already and does not belong to this pod.")
            self._make_parents(path)
            path.symlink_to(target)
        except OSError as error:
            raise MountError(f"The mount path {path} cannot be made: {error.strerror}.") from error
        self._links[path] = target

    def _make_parents(self, path: Path) -> None:
        missing = [parent for parent in path.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir()
            self._made.append(parent)

    def _source(self, volume: Manifest) -> Path:
        name = volume["name"]
        for kind, make in self._KINDS.items():
            if kind in volume:
                return make(self, name, volume[kind])
        kind = next(key for key in volume if key != "name")
        raise VolumeError(f'MountVolume.SetUp failed for volume "{name}": the embedded node knows no {kind} volumes')

    def _empty(self, name: str, _source: Manifest) -> Path:
        folder = self._folder / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return folder

    def _host_path(self, name: str, source: Manifest) -> Path:
        path, kind = Path(source["path"]), source.get("type", "")
        if kind in ("", "DirectoryOrCreate") and not path.exists():
            path.mkdir(parents=True)
        wanted: dict[str, Callable[[Path], bool]] = {
            "Directory": Path.is_dir,
            "File": Path.is_file,
            "Socket": Path.is_socket,
        }
        if kind in wanted and not wanted[kind](path):
            raise VolumeError(
                f'MountVolume.SetUp failed for volume "{name}": hostPath type check failed: {path} is no {kind}'
            )
        return path

    def _claim(self, name: str, source: Manifest) -> Path:
        claim = source["claimName"]
        if self._lookup("persistentvolumeclaims", claim) is None:
            raise VolumeError(f'persistentvolumeclaim "{claim}" not found')
        folder: Path = self._claims / self._pod["metadata"]["namespace"] / claim
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _files(self, name: str, projections: Iterator[tuple[Path, bytes]], mode: int) -> Path:
        folder = self._empty(name, {})
        for path, data in projections:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(mode)
        return folder

    def _secret(self, name: str, source: Manifest) -> Path:
        files = self._object_files(name, "secrets", source.get("secretName", ""), source)
        return self._files(name, files, source.get("defaultMode", 0o644))

    def _config_map(self, name: str, source: Manifest) -> Path:
        files = self._object_files(name, "configmaps", source.get("name", ""), source)
        return self._files(name, files, source.get("defaultMode", 0o644))

    def _downward(self, name: str, source: Manifest) -> Path:
        return self._files(name, self._field_files(source), source.get("defaultMode", 0o644))

    def _projected(self, name: str, source: Manifest) -> Path:
        def files() -> Iterator[tuple[Path, bytes]]:
            for part in source.get("sources") or []:
                for kind, resource in (("secret", "secrets"), ("configMap", "configmaps")):
                    if kind in part:
                        yield from self._object_files(name, resource, part[kind].get("name", ""), part[kind])
                yield from self._field_files(part.get("downwardAPI") or {})

        return self._files(name, files(), source.get("defaultMode", 0o644))

    def _object_files(self, name: str, resource: str, wanted: str, source: Manifest) -> Iterator[tuple[Path, bytes]]:
        found = self._lookup(resource, wanted)
        if found is None:
            if source.get("optional"):
                return
            raise VolumeError(
                f'MountVolume.SetUp failed for volume "{name}" : {resource.removesuffix("s")} "{wanted}" not found'
            )
        content = object_files(resource, found)
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        for item in items:
            if item["key"] not in content:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}" : references non-existent key {item["key"]}'
                )
            yield Path(item["path"]), content[item["key"]]

    def _field_files(self, source: Manifest) -> Iterator[tuple[Path, bytes]]:
        for item in source.get("items") or []:
            reference = item.get("fieldRef") or {}
            yield Path(item["path"]), field_value(self._pod, reference.get("fieldPath", "")).encode()

    _KINDS: Mapping[str, Callable[[PodVolumes, str, Manifest], Path]] = {
        "emptyDir": _empty,
        "hostPath": _host_path,
        "persistentVolumeClaim": _claim,
        "secret": _secret,
        "configMap": _config_map,
        "downwardAPI": _downward,
        "projected": _projected,
    }
