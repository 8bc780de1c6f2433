"""Lines of keys in TOML texts."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.positions import Path, Place, place_of, positions

TEXT = '''\
concurrent = 4 # a comment = 5

[[runners]]
  name = "a # no comment"
  environment = [
    "A=1", # first
    "B=]",
  ]
  [runners.kubernetes]
    "quoted.key" = 1
    dotted . "k\\u0065y" = { x = 1, y = { z = [ { w = 2 } ] }, }
    [[runners.kubernetes.volumes.host_path]]
      name = """
two
lines"""
      mount_path = '/a'
    [[runners.kubernetes.volumes.host_path]]
[[runners]]
  when = 1979-05-27 07:32:00
  [runners.kubernetes.node_selector]
    pi = 3.14
'''.replace(", }", " }")


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every path in a parsed document."""
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*at, index))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("concurrent",), 1),
        (("runners",), 3),
        (("runners", 0), 3),
        (("runners", 0, "name"), 4),
        (("runners", 0, "environment"), 5),
        (("runners", 0, "environment", 1), 7),
        (("runners", 0, "kubernetes"), 9),
        (("runners", 0, "kubernetes", "quoted.key"), 10),
        (("runners", 0, "kubernetes", "dotted", "key", "y", "z", 0, "w"), 11),
        (("runners", 0, "kubernetes", "volumes"), 12),
        (("runners", 0, "kubernetes", "volumes", "host_path", 0), 12),
        (("runners", 0, "kubernetes", "volumes", "host_path", 0, "mount_path"), 16),
        (("runners", 0, "kubernetes", "volumes", "host_path", 1), 17),
        (("runners", 1), 18),
        (("runners", 1, "when"), 19),
        (("runners", 1, "kubernetes"), 20),
        (("runners", 1, "kubernetes", "node_selector", "pi"), 21),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_position_is_the_line_of_the_key(path: Path, line: int) -> None:
    """Each path is found at the line where its key, element or table header stands."""
    assert positions(TEXT)[path].line == line


def test_positions_know_the_same_paths_as_tomllib() -> None:
    """No path is missing and none is made up, comments and strings with brackets notwithstanding."""
    assert set(positions(TEXT)) == set(paths(tomllib.loads(TEXT)))


@pytest.mark.parametrize(
    ("path", "column"),
    [
        ((), 1),
        (("runners",), 3),
        (("runners", 0), 3),
        (("runners", 0, "name"), 3),
        (("runners", 0, "environment", 1), 5),
        (("runners", 0, "kubernetes"), 12),
        (("runners", 0, "kubernetes", "dotted"), 5),
        (("runners", 0, "kubernetes", "dotted", "key"), 14),
        (("runners", 0, "kubernetes", "dotted", "key", "y", "z"), 42),
        (("runners", 0, "kubernetes", "volumes", "host_path", 1), 34),
    ],
)
def test_column_is_that_of_the_key_or_element(path: Path, column: int) -> None:
    """A place's column is the one where the key itself begins, in a header, a dotted key or an inline table."""
    assert positions(TEXT)[path].column == column


def test_line_of_a_missing_key_is_that_of_its_table() -> None:
    """A key that is not there is reported at the table that lacks it."""
    assert place_of(positions(TEXT), ("runners", 1, "token")) == Place(18, 3)


def test_line_of_anything_in_an_empty_text_is_one() -> None:
    """Even an empty file has a first line."""
    assert place_of(positions(""), ("runners", 0)) == Place(1, 1)


@pytest.mark.parametrize(
    "value",
    [
        '""',
        "''",
        r'"\\"',
        r'"\""',
        '""""""',
        '""""a""b"""""',
        "''''a''b'''''",
        '"""\\\n  x"""',
        "'''\n\\'''",
        "[]",
        "[ [], [ {} ] ]",
        "{}",
        "[\n# ]\n1,\n]",
        "-0.5e-3",
        "inf",
        "07:32:00.5",
        "1979-05-27T07:32:00Z",
    ],
)
def test_what_follows_a_value_is_found_behind_it(value: str) -> None:
    """The next key is at the next line, whatever the value's form."""
    text = f"a = {value} # tail\nb.c = {value}\n"
    index = positions(text)
    assert set(index) == set(paths(tomllib.loads(text)))
    assert index["b", "c"].line == f"a = {value} # tail\n".count("\n") + 1


def test_positions_count_lines_with_carriage_returns() -> None:
    """Files from Windows have the same line numbers."""
    assert positions("a = 1\r\n\r\n[b]\r\nc = '''x\r\ny'''\r\nd = 2\r\n")["b", "d"] == Place(6, 1)


KEYS = st.text(st.sampled_from("ab.-_ ]#\"'\\é\n"), max_size=4)
SCALARS = st.one_of(
    st.integers(-99, 99),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(st.sampled_from("a]}{[,#='\"\\\n"), max_size=6),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)
DOCUMENTS = st.dictionaries(KEYS, st.one_of(TABLES, st.lists(TABLES, min_size=1, max_size=3)), max_size=4)


def quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def inline(value: Any) -> str:
    """A value as TOML writes it in one place; texts with a line end use several lines where they can."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'''\n{value}'''" if "\n" in value and "'" not in value else quoted(value)
    if isinstance(value, list):
        return "[" + "".join(f"\n {inline(item)}, # [" for item in value) + "\n]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {inline(item)}" for key, item in value.items()) + "}"
    return repr(value)


def written(document: dict[str, Any]) -> str:
    """A document of tables and arrays of tables."""
    lines: list[str] = []
    for name, content in document.items():
        tables = content if isinstance(content, list) else [content]
        opening, closing = ("[[", "]]") if isinstance(content, list) else ("[", "]")
        for table in tables:
            lines.append(f"{opening} {quoted(name)} {closing} # [x]")
            lines += [f"{quoted(key)}={inline(value)}" for key, value in table.items()]
    return "\n".join(lines)


@given(DOCUMENTS)
def test_positions_agree_with_tomllib_on_any_document(document: dict[str, Any]) -> None:
    """For any valid document the index has exactly the paths that tomllib sees, in a plausible order of lines."""
    text = written(document)
    index = positions(text)
    assert set(index) == set(paths(tomllib.loads(text)))
    lines = text.split("\n")
    for path, (line, column) in index.items():
        if path:
            assert index[path[:-1]].line <= line
            assert isinstance(path[-1], int) or lines[line - 1][column - 1 :].startswith(quoted(path[-1]))
