"""How much of a job's variables Linux lets a program have.

The law: a variable that is too large for programs is still one of the scripts'. The kernel counts a variable as
`NAME=value` and a NUL behind it; how much it takes together grows with the stack that a program may have, up to a
bound of its own. File variables count by their paths alone.
"""

from collections.abc import Iterable

from runner.job.variables import Variables

LONGEST_BYTES = 128 * 1024
"""The largest single variable (`MAX_ARG_STRLEN`)."""

ORDINARY_BYTES = 1024 * 1024
"""All variables together, up to which nothing has to be done: half of what goes with a stack of 8 MiB."""

MOST_BYTES = 6 * 1024 * 1024 - 256 * 1024
"""All variables together, whatever the stack: three quarters of 8 MiB, less what arguments need."""

STACK_KIBIBYTES = 32 * 1024
"""A stack with which programs get `MOST_BYTES`: the kernel gives variables a quarter of it."""

_POINTER_BYTES = 8
_MOST_NAMED = 5


def is_too_long(key: str, value: str) -> bool:
    """Say whether no program can be started with this variable."""
    return _bytes(key, value) > LONGEST_BYTES


def exported_bytes(variables: Variables) -> int:
    """Count what programs are to get of these variables; those that are too long are not for them."""
    sizes = (_bytes(key, value) for key, value in _last(variables))
    return sum(size + _POINTER_BYTES for size in sizes if size <= LONGEST_BYTES)


def room_warnings(variables: Variables) -> tuple[str, ...]:
    """Say which variables programs cannot have; lines for the job log."""
    found = []
    if long := [key for key, value in _last(variables) if is_too_long(key, value)]:
        found.append(
            f"Linux gives programs no variable of more than {LONGEST_BYTES // 1024} KiB. The script can use "
            f"{named(long)}, the commands that it calls cannot: let a file variable have such a value."
        )
    if (together := exported_bytes(variables)) > MOST_BYTES:
        found.append(
            f"The job's variables have {together / 1024 / 1024:.1f} MiB together, and Linux gives programs less than "
            "6 MiB: commands may fail with `Argument list too long`. Let file variables have the large values."
        )
    return tuple(found)


def named(keys: Iterable[str]) -> str:
    """Name the first few variables, and say how many more there are."""
    first = list(keys)
    more = len(first) - _MOST_NAMED
    return ", ".join(first[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _last(variables: Variables) -> Iterable[tuple[str, str]]:
    return ((key, variables.get(key)) for key in dict.fromkeys(variable.key for variable in variables))


def _bytes(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode()) + 2
