"""What the cache commands share: signed addresses of an object store, and the archive beside its metadata.

Law: a signed URL is a secret; it is told without its query.
"""

import calendar
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime

from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, Given

FLAGS = (
    Flag("file"),
    Flag("url"),
    Flag("gocloud-url"),
    Flag("timeout", kind="number", default=10),
    Flag("env-file"),
    Flag("retry", kind="number", default=2),
    Flag("retry-time", kind="duration", default=1.0),
    Flag("transfer-buffer-size", kind="number", env="CACHE_TRANSFER_BUFFER_SIZE", default=4 * 2**20),
    Flag("chunk-size", kind="number", env="CACHE_CHUNK_SIZE", default=16 * 2**20),
    Flag("concurrency", kind="number", env="CACHE_CONCURRENCY", default=16),
    Flag("transfer-meter-frequency", kind="duration", env="TRANSFER_METER_FREQUENCY", default=0.0),
)
METADATA_FILE = "metadata.json"

LINKS = "RUNNER_CACHE_LINKS"
"""The variable with signed addresses, by the names of their flags: others can read arguments (decision 010)."""

_LINK_FLAGS = frozenset(
    {"url", "head-url", "check-url", "alternate-url", "alternate-head-url", "alternate-file", "header"}
)


def with_links(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Add to the flags those that the environment has. Raises HelperError for what is no list of them."""
    text = environ.get(LINKS, "")
    if not text:
        return list(argv)
    try:
        found = json.loads(text)
        pairs = [
            (name, value) for name, given in found.items() for value in ([given] if given == str(given) else given)
        ]
    except (ValueError, AttributeError, TypeError) as error:
        raise HelperError(f"the variable {LINKS} cannot be read") from error
    # Nothing else: a job's own variable of that name must not turn a command round.
    return [f"--{name}={value}" for name, value in pairs if name in _LINK_FLAGS] + list(argv)


def seconds_of(given: Given) -> float:
    """How long a transfer may take: the flag's minutes, 10 where it says 0."""
    return 60.0 * (given.number("timeout") or 10)


def environment(given: Given, environ: Mapping[str, str]) -> dict[str, str]:
    """What stands in `--env-file`, above what is around. Raises HelperError."""
    from runner.helper.gocloud import read_env_file

    return {**environ, **read_env_file(given.text("env-file"))}


def modified_at(headers: Mapping[str, str]) -> float:
    """When an object was last changed, in seconds since the epoch; 0 if its store does not say."""
    try:
        return parsedate_to_datetime(headers["Last-Modified"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return 0.0


def http_date(seconds: float) -> str:
    """Write a time as HTTP does."""
    day, month = calendar.day_abbr, calendar.month_abbr
    now = time.gmtime(seconds)
    return (
        f"{day[now.tm_wday]}, {now.tm_mday:02} {month[now.tm_mon]} {now.tm_year} "
        f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"
    )


def write_metadata(archive: str, metadata: Mapping[str, str], console: Console) -> None:
    """Write what is known about an archive beside it; without it the archive is as good."""
    path = os.path.join(os.path.dirname(archive), METADATA_FILE)
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({key.lower(): value for key, value in metadata.items()}, file)
    except OSError as error:
        console.warning(f"{path}: {error.strerror}")


def metadata_of(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The metadata among headers, as S3, Google and Azure name them: `X-*-Meta-KEY`."""
    found = {}
    for name, value in headers:
        match = re.fullmatch(r"x-[a-z]+-meta-(.+)", name.lower())
        if match:
            found[match[1]] = value
    return found
