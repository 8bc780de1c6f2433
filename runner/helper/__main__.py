"""`runner helper COMMAND`: what a pod's helper container runs. Each command's module is loaded alone, when asked for.

Law: the names and flags of the official helper's commands, so that either image works in a pod.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "agent": "runner.helper.agent",
}
"""Command -> the module whose `main(argv)` runs it and returns the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one helper command and return its exit code; an unknown one is 1, as every failure of the helper."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    module = COMMANDS.get(arguments[0]) if arguments else None
    if module is None:
        print(f"runner helper: no such command; there are: {', '.join(sorted(COMMANDS))}", file=sys.stderr)
        return 1
    command: Callable[[Sequence[str]], int] = import_module(module).main
    return command(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
