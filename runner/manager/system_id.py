"""The system id: how GitLab tells apart processes that share one token.

The original's file and form: `.runner_system_id` beside config.toml, `s_` and twelve characters of the machine, or
`r_` and twelve random ones. A place that cannot be written to costs only stability, so it is a warning.

In a pod the pod is what counts, and no file (docs/decisions/011): replicas may share a volume, and a ConfigMap takes no
file. There the id follows from the pod's name, so it outlives containers, and no two pods have the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import platform
import re
import secrets
import string
from collections.abc import Mapping
from pathlib import Path

import orjson
import structlog

log = structlog.get_logger()

_FORM = re.compile(r"[sr]_[0-9a-zA-Z]{12}")
_MACHINE_IDS = (Path("/var/lib/dbus/machine-id"), Path("/etc/machine-id"))
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def system_id(
    folder: Path,
    *,
    machine_ids: tuple[Path, ...] = _MACHINE_IDS,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = _SERVICE_ACCOUNT,
) -> str:
    """Read this process's system id from the configuration's folder, or make one and keep it there.

    In a pod, whose environment names the API server, it is made from the pod each time and kept nowhere.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return _id_of_pod(folder, environ, service_account)
    file = folder / ".runner_system_id"
    known = _text(file)
    if _FORM.fullmatch(known):
        return known
    made = _made_id(machine_ids)
    try:
        file.write_text(made)
    except OSError as error:
        then = "it follows from the machine's" if made.startswith("s_") else "it changes with each start"
        log.warning(f"the system id cannot be kept, {then}", file=str(file), reason=error.strerror)
    return made


def _made_id(machine_ids: tuple[Path, ...]) -> str:
    for path in machine_ids:
        if machine := _text(path):
            return "s_" + hmac.new(machine.encode(), b"gitlab-runner", hashlib.sha256).hexdigest()[:12]
    alphabet = string.ascii_letters + string.digits
    return "r_" + "".join(secrets.choice(alphabet) for _ in range(12))


def _id_of_pod(folder: Path, environ: Mapping[str, str], service_account: Path) -> str:
    claims = _claims(_text(service_account / "token"))
    name = environ.get("POD_NAME") or claims.get("name") or environ.get("HOSTNAME") or platform.node()
    namespace = environ.get("POD_NAMESPACE") or _text(service_account / "namespace")
    # Names repeat from cluster to cluster, their authorities do not; and one pod may hold two configurations.
    parts = (_text(service_account / "ca.crt"), namespace, name, str(folder.absolute()))
    return "r_" + hmac.new("\0".join(parts).encode(), b"gitlab-runner", hashlib.sha256).hexdigest()[:12]


def _claims(token: str) -> Mapping[str, str]:
    """The pod in the claims of a service account's token; empty for an old one, which names none."""
    try:
        payload = token.split(".")[1]
        pod = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["kubernetes.io"]["pod"]
        return {"name": str(pod["name"])}
    except (IndexError, KeyError, TypeError, ValueError):
        return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
