"""Prints one of the README's commands:

`python3 tests/readme.py tests`. CI and tests/test_docs.py run what the README says, not a copy of it.
"""

import re
import sys
from pathlib import Path

_README = Path(__file__).parent.parent / "README.md"
_MARKS = {"local": "runner local", "tests": "pytest -n auto --dist worksteal"}


def command(name: str) -> str:
    """The README's one-line command that ends in a word."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)\n```", _README.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if block.rstrip().endswith(_MARKS[name]))


if __name__ == "__main__":
    print(command(sys.argv[1]))
