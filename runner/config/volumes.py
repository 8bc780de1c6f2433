"""`[[runners.kubernetes.volumes.<type>]]`: volumes that every container of a job's pod mounts."""

from typing import Annotated

from pydantic import Field

from runner.config.base import Table
from runner.config.values import Filled, Flag, SizeLimit, TextTable, one_of

Propagation = Annotated[
    str,
    one_of("mount-propagation", ("None", "HostToContainer", "Bidirectional"), "the API server refuses the pod"),
]


class _Volume(Table):
    name: str = Field(description="name of the volume")
    mount_path: str = Field(description="where the containers see it; job variables are expanded")
    sub_path: str = Field("", description="directory of the volume to mount; job variables are expanded")


class HostPathVolume(_Volume):
    """A directory of the node."""

    host_path: str = Field("", description="directory on the node; empty: the same as `mount_path`")
    read_only: Flag = Field(False, description="mount it read-only")
    mount_propagation: Propagation = Field("", description="`None`, `HostToContainer` or `Bidirectional`")


class PvcVolume(_Volume):
    """A persistent volume claim; `name` is the claim's, and job variables in it are expanded."""

    read_only: Flag = Field(False, description="mount it read-only")
    mount_propagation: Propagation = Field("", description="`None`, `HostToContainer` or `Bidirectional`")


class ConfigMapVolume(_Volume):
    """A ConfigMap of the job's namespace."""

    read_only: Flag = Field(False, description="mount it read-only")
    items: TextTable = Field({}, description="keys to show, each with its path; empty: all keys")


class SecretVolume(_Volume):
    """A Secret of the job's namespace."""

    read_only: Flag = Field(False, description="mount it read-only")
    items: TextTable = Field({}, description="keys to show, each with its path; empty: all keys")


class EmptyDirVolume(_Volume):
    """A directory that lives as long as the pod."""

    medium: str = Field("", description="`Memory` for a directory in memory; empty: on the node's disk")
    size_limit: SizeLimit = Field("", description="largest size, as a quantity; one that cannot be read is ignored")
    mount_propagation: Propagation = Field("", description="`None`, `HostToContainer` or `Bidirectional`")


class CsiVolume(_Volume):
    """A volume of a storage driver, made for the pod."""

    driver: str = Field("", description="name of the driver")
    fs_type: str = Field("", description="file system")
    read_only: Flag = Field(False, description="mount it read-only")
    volume_attributes: TextTable = Field({}, description="attributes for the driver")


class NfsVolume(_Volume):
    """A directory of an NFS server; every key but `sub_path` and `read_only` must be there."""

    name: Filled = Field(description="name of the volume")
    mount_path: Filled = Field(description="where the containers see it; job variables are expanded")
    server: Filled = Field(description="name or address of the server")
    path: Filled = Field(description="directory that the server exports")
    read_only: Flag = Field(False, description="mount it read-only")


class VolumesConfig(Table):
    """`[runners.kubernetes.volumes]`; the order of the fields is the order of volumes and mounts in the pod."""

    host_path: tuple[HostPathVolume, ...] = Field((), description="directories of the node")
    secret: tuple[SecretVolume, ...] = Field((), description="Secrets")
    pvc: tuple[PvcVolume, ...] = Field((), description="persistent volume claims")
    config_map: tuple[ConfigMapVolume, ...] = Field((), description="ConfigMaps")
    empty_dir: tuple[EmptyDirVolume, ...] = Field((), description="directories that live as long as the pod")
    csi: tuple[CsiVolume, ...] = Field((), description="inline volumes of storage drivers")
    nfs: tuple[NfsVolume, ...] = Field((), description="directories of NFS servers")
