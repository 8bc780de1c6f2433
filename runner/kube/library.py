"""What we take from kubernetes_asyncio: its configuration and its loaders, without its models.

The library's packages import some 800 generated modules, 36 MiB and half a second, and the loaders need none of them.
So they are imported below bare packages that stand in for the real ones, and the stand-ins are taken away afterwards:
whoever imports the library later in this process gets it whole. Where the library is loaded already, or is built
otherwise than we know it, the ordinary import serves.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException
    from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader
    from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger

_NAME = "kubernetes_asyncio"


@dataclass(frozen=True, slots=True)
class Loaders:
    """The classes of the library that we use."""

    Configuration: type[Configuration]
    ConfigException: type[ConfigException]
    InClusterConfigLoader: type[InClusterConfigLoader]
    KubeConfigLoader: type[KubeConfigLoader]
    KubeConfigMerger: type[KubeConfigMerger]


@functools.cache
def loaders() -> Loaders:
    """Import them, once in a process and as late as somebody connects."""
    if _NAME in sys.modules:
        return _import()
    try:
        return _import_without_models()
    except (ImportError, AttributeError, TypeError):
        return _import()


def _import() -> Loaders:
    kube_config = importlib.import_module(f"{_NAME}.config.kube_config")
    return Loaders(
        importlib.import_module(f"{_NAME}.client.configuration").Configuration,
        importlib.import_module(f"{_NAME}.config.config_exception").ConfigException,
        importlib.import_module(f"{_NAME}.config.incluster_config").InClusterConfigLoader,
        kube_config.KubeConfigLoader,
        kube_config.KubeConfigMerger,
    )


def _import_without_models() -> Loaders:
    spec = importlib.util.find_spec(_NAME)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{_NAME} is not a package.")
    places = list(spec.submodule_search_locations)
    try:
        _stand_in(_NAME, places)
        client = _stand_in(f"{_NAME}.client", [f"{place}/client" for place in places])
        _stand_in(f"{_NAME}.config", [f"{place}/config" for place in places])
        client.Configuration = importlib.import_module(f"{_NAME}.client.configuration").Configuration  # type: ignore[attr-defined]
        # The loaders' module names it for functions that make a client of the library's own, which is not used here.
        client.ApiClient = object  # type: ignore[attr-defined]
        return _import()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _NAME]:
            del sys.modules[name]


def _stand_in(name: str, places: list[str]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = places
    sys.modules[name] = module
    return module
