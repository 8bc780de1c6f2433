"""Which word of a command line is the command: the original takes options before it, some with a value.

Imported before anything else, so it imports nothing.
"""

_WITH_VALUE = {"log-level", "l", "log-format", "cpuprofile"}


def command_word(arguments: list[str]) -> str:
    """The command that a command line calls; empty when it calls none."""
    is_value = False
    for word in arguments:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            is_value = word.lstrip("-") in _WITH_VALUE
        else:
            return word
    return ""
