"""The process's own settings: environment and flags, never config.toml.

Names that the original reads keep their names (`CONFIG_FILE`, `LOG_LEVEL`, `LOG_FORMAT`); new ones begin with
`RUNNER_`. Flags win over the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runner import __version__
from runner.manager.config_path import default_config_path

HELPER_IMAGE_VARIABLE = "RUNNER_HELPER_IMAGE"
"""Names the helper image where config.toml names none; the image and the chart set it to the manager's own image."""

REVISION = os.environ.get("RUNNER_REVISION", "HEAD")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


LogLevel = Annotated[
    Literal["debug", "info", "warn", "warning", "error", "fatal", "panic"],
    BeforeValidator(_lower),
]
LogFormat = Annotated[Literal["runner", "text", "json"], BeforeValidator(_lower)]
OnSigterm = Literal["drain", "abort"]


def default_helper_image(environ: Mapping[str, str]) -> str:
    """The helper image of runners whose configuration names none."""
    return environ.get(HELPER_IMAGE_VARIABLE) or f"runner:{__version__}"


class ProcessSettings(BaseSettings):
    """What one process is told besides its configuration file; a variable that is empty is none."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    config: Path = Field(
        default_factory=default_config_path,
        validation_alias=AliasChoices("config", "CONFIG_FILE"),
        description="The configuration file.",
    )
    log_level: LogLevel | None = Field(
        default=None,
        validation_alias=AliasChoices("log_level", "LOG_LEVEL"),
        description="How much is logged; config.toml's `log_level` when not given.",
    )
    log_format: LogFormat | None = Field(
        default=None,
        validation_alias=AliasChoices("log_format", "LOG_FORMAT"),
        description="How lines are written; config.toml's `log_format` when not given.",
    )
    on_sigterm: OnSigterm = Field(
        default="abort",
        validation_alias=AliasChoices("on_sigterm", "RUNNER_ON_SIGTERM"),
        description="What the first SIGTERM does: let jobs end (`drain`, as in the image) or end them (`abort`).",
    )
    final_update_timeout: float = Field(
        default=86400.0,
        validation_alias=AliasChoices("final_update_timeout", "RUNNER_FINAL_UPDATE_TIMEOUT"),
        gt=0,
        description="Seconds for which a log's rest and a final state are offered to a GitLab that takes neither.",
    )
    listen_address: str = Field(
        default="",
        validation_alias=AliasChoices("listen_address", "LISTEN_ADDRESS"),
        description="Where metrics and probes are served; config.toml's `listen_address` when not given.",
    )
    metrics_server: str = Field(
        default="",
        validation_alias=AliasChoices("metrics_server", "METRICS_SERVER"),
        description="The former name of `listen_address`, taken when nothing else gives one.",
    )
    max_jobs: int | None = Field(
        default=None,
        validation_alias=AliasChoices("max_jobs", "RUNNER_MAX_JOBS"),
        gt=0,
        description="Leave after this many jobs.",
    )
