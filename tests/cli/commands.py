"""The commands as processes, as a script starts them, with a home of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import anyio

_KEPT = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Done:
    """How a process ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """`runner`, with a home that holds the configuration."""

    home: Path

    @property
    def config(self) -> Path:
        """The configuration that every command works on."""
        return self.home / "config.toml"

    def environment(self, over: Mapping[str, str] = {}) -> dict[str, str]:
        """What a process finds: nothing of the one that runs the tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        root = str(Path(__file__).parent.parent.parent)
        return {**kept, "HOME": str(self.home), "PYTHONPATH": root, "CONFIG_FILE": str(self.config), **over}

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Done:
        """Run one command to its end."""
        with anyio.fail_after(60):
            done = await anyio.run_process(
                [sys.executable, "-m", "runner", *arguments],
                input=stdin.encode(),
                check=False,
                stdout=PIPE,
                stderr=PIPE,
                cwd=self.home,
                env=self.environment(environment),
            )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
