"""What all tables of config.toml have in common.

A model knows its keys, their types and what each is for; where a key stood in the file and what to say about a wrong
one is `load.py`'s business.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from runner.config.values import Secret


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
        ser_json_inf_nan="constants",
    )

    KNOWN_BUT_UNUSED: ClassVar[frozenset[str]] = frozenset()
    """Keys that belong to other executors: accepted without a word."""

    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset()
    """Keys that GitLab Runner knows and this version does not act on: accepted with a warning that says so."""

    FORMER_KEYS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Names that keys had in former times, with the fields that hold their value today."""

    def __repr_args__(self) -> Any:
        """Leave out secrets; a configuration is printed when something goes wrong."""
        fields = type(self).model_fields
        secret = {name for name, field in fields.items() if any(isinstance(m, Secret) for m in field.metadata)}
        return ((name, value) for name, value in super().__repr_args__() if name not in secret)
