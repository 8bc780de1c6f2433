"""The published documents' blocks, word for word, and what each leaves to its readers.

Five documents of ten years showed how to configure this executor: 000 a manual of 2016, 001 one of 2020, 002 a post of
2017, 003 installation notes, 004 a manual of 2018 whose page has lost its markup. `data/` holds their blocks and their
lists of keywords, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"

_URL_AND_TOKEN = '  url = "https://gitlab.com/"\n  token = "......"\n'

LEFT_TO_READERS: dict[str, tuple[tuple[str, str], ...]] = {
    "001-volumes.toml": (("  # usual configuration\n", _URL_AND_TOKEN),),
    "001-security-context.toml": (
        ("%(concurrent)s", "1"),
        ('url = "gitlab.example.com"\n', 'url = "gitlab.example.com"\n    token = "......"\n'),
    ),
    "001-services.toml": (('url = "gitlab.example.com"\n', 'url = "gitlab.example.com"\n    token = "......"\n'),),
    "003-registered.toml": (("[TOKEN]", '"......"'),),
    "004-example.toml": (
        ("\n  name", "\n[[runners]]\n  name"),
        ('url = ""', 'url = "https://gitlab.com/ci"'),
        ("    host", "  [runners.kubernetes]\n    host"),
        ("      gitlab", "    [runners.kubernetes.node_selector]\n      gitlab"),
    ),
}
"""Blocks that are no whole file, with what stands there and what a reader puts in its place."""


def block(name: str) -> str:
    """A block as it is published."""
    return (DATA / name).read_text(encoding="utf-8")


def completed(name: str) -> str:
    """A block as a reader uses it."""
    text = block(name)
    for published, filled in LEFT_TO_READERS.get(name, ()):
        assert text.count(published) == 1, f"{name} has not exactly one {published!r}"
        text = text.replace(published, filled)
    return text
