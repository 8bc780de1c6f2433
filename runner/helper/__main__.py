"""`runner helper COMMAND`: what a pod's helper container runs. Each command's module is loaded alone, when asked for.

Law: the names, flags and exit codes of the official helper's commands, so that either image works in a pod. Any failure
is exit code 1, but for `read-logs` whose file is gone.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

TYPE_CHECKING = False  # importing `typing` for it would cost the agent 8 ms
if TYPE_CHECKING:
    from runner.helper.console import Console
    from runner.helper.flags import Flag

COMMANDS = {
    "agent": "runner.helper.agent",
    "artifacts-downloader": "runner.helper.artifacts_downloader",
    "artifacts-uploader": "runner.helper.artifacts_uploader",
    "cache-archiver": "runner.helper.cache_archiver",
    "cache-extractor": "runner.helper.cache_extractor",
    "cache-init": "runner.helper.cache_init",
    "health-check": "runner.helper.health_check",
    "read-logs": "runner.helper.read_logs",
}
"""Command -> the module whose `main` runs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one helper command and return its exit code; an unknown one is 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["agent"]:  # a long-lived process of the pod: none of the commands' parts are loaded for it
        agent: Callable[[Sequence[str]], int] = import_module(COMMANDS["agent"]).main
        return agent(arguments[1:])
    return _command(arguments)


def _command(arguments: list[str]) -> int:
    from runner.helper.console import Console, HelperError
    from runner.helper.flags import Flag, parse_flags

    environ = os.environ
    console = Console.of(environ)
    try:
        options = (
            Flag("debug", "boolean", "RUNNER_DEBUG", default=False),
            Flag("log-format", env="LOG_FORMAT", default="runner"),
            Flag("log-level", env="LOG_LEVEL", default="info"),
            Flag("l"),
            *(Flag(name, "boolean", default=False) for name in ("version", "v", "help", "h")),
        )
        given = parse_flags(options, arguments, environ)
        if given.boolean("version") or given.boolean("v"):
            return _print_version()
        if given.boolean("help") or given.boolean("h") or given.words[:1] == ("help",):
            print(f"usage: gitlab-runner-helper [options] COMMAND [flags]\ncommands: {', '.join(sorted(COMMANDS))}")
            return 0
        level = "debug" if given.boolean("debug") else given.text("l") or given.text("log-level")
        console = Console(form=given.text("log-format"), level=level)
        return _run(given.words, environ, console)
    except HelperError as error:
        console.fatal(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1


def _run(words: Sequence[str], environ: Mapping[str, str], console: "Console") -> int:
    module = COMMANDS.get(words[0]) if words else None
    if module is None:
        names = ", ".join(sorted(COMMANDS))
        print(f"runner helper: no such command; there are: {names}", file=sys.stderr)
        return 1
    loaded = import_module(module)
    if words[1:2] in (("--help",), ("-help",), ("-h",)):
        return _print_flags(words[0], getattr(loaded, "_FLAGS", ()))
    command: Callable[[Sequence[str], Mapping[str, str], Console], int | None] = loaded.main
    return command(words[1:], environ, console) or 0


def _print_flags(command: str, flags: Sequence["Flag"]) -> int:
    """Name the flags, which scripts look for in what a helper says of its command."""
    print(f"usage: gitlab-runner-helper {command} [flags]")
    for flag in flags:
        value = "" if flag.kind == "boolean" else " value"
        print(f"  --{flag.name}{value}{f'  [${flag.env}]' if flag.env else ''}")
    return 0


def _print_version() -> int:
    from runner import __version__

    print(f"Version:      {__version__}\nGit revision: {os.environ.get('RUNNER_REVISION', 'unknown')}")
    # A script looks for these: a helper that takes signed addresses from there needs none in its arguments, and one
    # that takes a file of variables can upload in parts.
    print("Cache links:  RUNNER_CACHE_LINKS, env-file")
    return 0


if __name__ == "__main__":
    sys.exit(main())
