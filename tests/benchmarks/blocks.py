"""The long log of `log.py`: numbered blocks of a mebibyte, the same bytes from a shell and from Python."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
LINE = b"[ 42%] Building CXX object src/CMakeFiles/example.dir/some/folder/with_a_long_name.cpp.o, line of one\n"


def blocks(count: int) -> Iterator[bytes]:
    """Give what the script prints, one block after the other."""
    body = (LINE * (BLOCK_BYTES // len(LINE) + 1))[:BLOCK_BYTES]
    for number in range(1, count + 1):
        yield b"<<< block %d\n" % number + body + b"\n"


def script(count: int) -> list[str]:
    """Give a script in POSIX shell that prints the same."""
    line = LINE.decode().rstrip("\n")
    return [
        f"{{ yes '{line}' || true; }} | head -c {BLOCK_BYTES} > /tmp/block",
        f'i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo "<<< block $i"; cat /tmp/block; echo; done',
    ]
