"""What all tables of config.toml have in common.

A model knows its keys, their types and what each is for; where a key stood in the file and what to say about a wrong
one is `load.py`'s business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from runner.config.values import Secret


@dataclass(frozen=True, slots=True)
class FormerKey:
    """Today's fields for a key of former times; `wins` when the old key was stronger than the new ones."""

    fields: tuple[str, ...]
    wins: bool = False
    meant: str = ""
    """What the key asked for, where today's field asks for something else. The key then has a field of its own name."""


@dataclass(frozen=True, slots=True)
class Given:
    """Under which names `register` takes a field, where they are not those of the rule in `inputs.py`.

    An empty name means that there is none. On a table it is the beginning of its fields' names; a table without an
    environment name has none for its fields either.
    """

    env: str | None = None
    flag: str | None = None


FILE_ONLY = Given(env="", flag="")
"""Marks a field that only config.toml can set."""


class Table(BaseModel):
    """One table of config.toml: frozen, typed, each field with its description."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    KNOWN_BUT_UNUSED: ClassVar[frozenset[str]] = frozenset()
    """Keys of other executors, in lower case; a warning names a table of them."""

    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset()
    """Keys of GitLab Runner, in lower case, that this version does not act on: a warning says so."""

    FORMER_KEYS: ClassVar[Mapping[str, FormerKey]] = {}
    """Names that keys had in former times: they still work, with a warning."""

    def doubt(self) -> tuple[str, str] | None:
        """Kind of finding and sentence about values that load and do not work together; None for none."""
        return None

    def __repr_args__(self) -> Any:
        """Leave out secrets; a configuration is printed when something goes wrong."""
        fields = type(self).model_fields
        secret = {name for name, field in fields.items() if any(isinstance(m, Secret) for m in field.metadata)}
        return ((name, value) for name, value in super().__repr_args__() if name not in secret)
