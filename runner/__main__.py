"""`python -m runner` and the console script `runner`.

`runner helper ...` branches off before anything else is imported: a pod starts it several times per job. The helper's
commands answer without that word too, as they do in the original's one program.
"""

import sys

HELPER_COMMANDS = (
    "artifacts-downloader",
    "artifacts-uploader",
    "cache-archiver",
    "cache-extractor",
    "cache-init",
    "read-logs",
)
"""Commands that are the helper's alone."""


def main() -> int:
    """Dispatch to the helper or to the command line."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["helper"]:
        arguments = arguments[1:]
    elif not _is_for_helper(arguments):
        from runner.cli.main import main as command_line

        return command_line(arguments)
    from runner.helper.__main__ import main as helper

    return helper(arguments)


def _is_for_helper(arguments: list[str]) -> bool:
    from runner.cli.command_word import command_word

    return sys.argv[0].endswith("gitlab-runner-helper") or command_word(arguments) in HELPER_COMMANDS


if __name__ == "__main__":
    sys.exit(main())
