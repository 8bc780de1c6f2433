"""The system id: how GitLab tells apart processes that share one token.

The original's file and form: `.runner_system_id` beside config.toml, `s_` and twelve characters of the machine, or
`r_` and twelve random ones. A place that cannot be written to (a ConfigMap) costs only stability, so it is a warning.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from pathlib import Path

import structlog

log = structlog.get_logger()

_FORM = re.compile(r"[sr]_[0-9a-zA-Z]{12}")
_MACHINE_IDS = (Path("/var/lib/dbus/machine-id"), Path("/etc/machine-id"))


def system_id(folder: Path, *, machine_ids: tuple[Path, ...] = _MACHINE_IDS) -> str:
    """Read this process's system id from the configuration's folder, or make one and keep it there."""
    file = folder / ".runner_system_id"
    try:
        known = file.read_text().strip()
    except OSError:
        known = ""
    if _FORM.fullmatch(known):
        return known
    made = _made_id(machine_ids)
    try:
        file.write_text(made)
    except OSError as error:
        log.warning("the system id cannot be kept, it changes with each start", file=str(file), reason=error.strerror)
    return made


def _made_id(machine_ids: tuple[Path, ...]) -> str:
    for path in machine_ids:
        try:
            machine = path.read_text().strip()
        except OSError:
            continue
        if machine:
            return "s_" + hmac.new(machine.encode(), b"gitlab-runner", hashlib.sha256).hexdigest()[:12]
    alphabet = string.ascii_letters + string.digits
    return "r_" + "".join(secrets.choice(alphabet) for _ in range(12))
