"""How a runner is called in metrics and on pages: by names that open nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.job.variables import short_token

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig


@dataclass(frozen=True, slots=True)
class RunnerLabels:
    """The original's three labels of a runner."""

    runner: str
    """The short token: nine characters do not authenticate."""
    runner_name: str
    system_id: str

    @classmethod
    def of(cls, runner: RunnerConfig, *, system_id: str) -> RunnerLabels:
        """Call a runner by its configuration."""
        return cls(short_token(runner.token), runner.name, system_id)

    @property
    def values(self) -> tuple[str, str, str]:
        """In the order of the labels' names."""
        return (self.runner, self.runner_name, self.system_id)
