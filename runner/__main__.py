"""`python -m runner` and the console script `runner`.

`runner helper ...` branches off before anything else is imported: a pod starts it several times per job.
"""

import sys


def main() -> int:
    """Dispatch to the helper or to the command line."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["helper"]:
        from runner.helper.__main__ import main as helper

        return helper(arguments[1:])
    from runner.cli.main import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
