"""Under which names `register` takes the keys of a `[[runners]]` entry: environment variables and flags.

The service itself reads config.toml alone. The names follow a rule: `cpu_limit` of `[runners.kubernetes]` is
`KUBERNETES_CPU_LIMIT` and `--kubernetes-cpu-limit`, `shell` of the runner is `RUNNER_SHELL` and `--shell`. Where the
original breaks its rule, the field is marked with `Given`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic.fields import FieldInfo

from runner.config.base import Given, Table
from runner.config.keys import by_subject, nested_table, toml_key
from runner.config.model import RunnerConfig


@dataclass(frozen=True, slots=True)
class Input:
    """One key that `register` takes."""

    path: tuple[str, ...]
    """Tables and key below `[[runners]]`, as the file spells them, such as `("kubernetes", "cpu_limit")`."""
    env: str
    """Environment variable; empty where there is none."""
    flag: str
    """Flag without its dashes; empty where there is none."""
    field: FieldInfo
    """The field that the value is for: its type, default and description."""
    today: tuple[str, ...] = ()
    """For a key of former times, the keys that replaced it."""
    former_env: str = ""
    """Variable under which versions before 12 took the key of today; what `env` says goes before it."""


FORMER_ENVIRONMENT: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("cache", "s3", "ServerAddress"): "S3_SERVER_ADDRESS",
        ("cache", "s3", "AccessKey"): "S3_ACCESS_KEY",
        ("cache", "s3", "SecretKey"): "S3_SECRET_KEY",
        ("cache", "s3", "BucketName"): "S3_BUCKET_NAME",
        ("cache", "s3", "BucketLocation"): "S3_BUCKET_LOCATION",
        ("cache", "s3", "Insecure"): "S3_CACHE_INSECURE",
        ("cache", "Path"): "S3_CACHE_PATH",
    }
)
"""Variables of versions before 12, whose keys have stayed or moved to a table of their own."""


def inputs() -> tuple[Input, ...]:
    """Every key that `register` takes, former names after the keys of their table."""
    return tuple(given for given in _below(RunnerConfig, (), "RUNNER_", "") if given.env or given.flag)


def _below(model: type[Table], path: tuple[str, ...], env: str, flag: str) -> Iterator[Input]:
    for name, field in (pair for _, fields in by_subject(model) for pair in fields.items()):
        mark = next((mark for mark in field.metadata if isinstance(mark, Given)), Given())
        inner = (*path, toml_key(name, field))
        table = nested_table(field)
        own_env = f"{env}{name.upper()}" if mark.env is None else mark.env
        if table is not None and own_env:
            # Names of tables keep their underscores where those of keys get dashes.
            yield from _below(table, inner, f"{own_env}_", f"{flag}{name}-" if mark.flag is None else f"{mark.flag}-")
        else:
            own_flag = f"{flag}{name.replace('_', '-')}" if mark.flag is None else mark.flag
            yield Input(inner, own_env, own_flag, field, former_env=FORMER_ENVIRONMENT.get(inner, ""))
    for key, claim in model.FORMER_KEYS.items():
        field = model.model_fields[key if claim.meant else claim.fields[0]]
        yield Input((*path, key), f"{env}{key.upper()}", f"{flag}{key.replace('_', '-')}", field, claim.fields)
