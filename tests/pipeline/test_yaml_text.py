"""YAML with the line of every value: what comes out, what is warned of, and the sentences for broken files."""

from typing import Any

import pytest

from runner.pipeline.findings import PipelineError, Place, Warnings
from runner.pipeline.located import Reference, Series, Table
from runner.pipeline.yaml_text import MOST_LEVELS, MOST_NODES, Document, read_yaml


def read(text: str) -> tuple[Document, list[str]]:
    """Read a file called `f`; also give its warnings as texts."""
    warnings = Warnings()
    document = read_yaml(text, file="f", warnings=warnings)
    return document, [str(warning) for warning in warnings.all()]


def line_of(value: Any, *path: str | int) -> int:
    """The line of a value by its path."""
    line = 0
    for step in path:
        if isinstance(value, Table) and isinstance(step, str):
            line = value.place_of(step).line
        elif isinstance(value, Series) and isinstance(step, int):
            line = value.places[step].line
        value = value[step]
    return line


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, 2.5, yes, ~]\n", {"a": 1, "b": ["x", 2.5, True, None]}),
        ("\ufeffa: 1\r\nb:\r\n  - x\r\n", {"a": 1, "b": ["x"]}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: 2024-01-02\nb: =\n", {"a": "2024-01-02", "b": "="}),
        ("a: 0777\nb: '0777'\n", {"a": 511, "b": "0777"}),
        ("on: x\n1: y\n", {"on": "x", "1": "y"}),
        ("a: &x {k: 1}\nb: *x\n", {"a": {"k": 1}, "b": {"k": 1}}),
        ("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
        ("", None),
        ("# nothing\n", None),
        ("---\na: 1\n", {"a": 1}),
    ],
    ids=[
        "scalars",
        "bom-crlf",
        "block",
        "date",
        "octal",
        "keys",
        "alias",
        "anchor-again",
        "empty",
        "comment",
        "marker",
    ],
)
def test_values_are_those_that_gitlab_reads(text: str, data: object) -> None:
    """Scalars, lists and mappings come out as Ruby's reader has them, but dates stay texts."""
    document, warnings = read(text)
    assert document.data == data
    assert warnings == []


def test_every_value_has_its_line() -> None:
    """A key has the line of its word, an entry of a list that of its dash's value."""
    data = read("a:\n  b:\n    - x\n\n    - y\nc: {d: 1,\n  e: 2}\n")[0].data
    paths: list[tuple[str | int, ...]] = [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1), ("c", "d"), ("c", "e")]
    assert [line_of(data, *path) for path in paths] == [1, 2, 3, 5, 6, 7]


def test_an_alias_has_the_line_where_it_was_written() -> None:
    """What an anchor brings in is found at the anchor."""
    data = read(".x: &x\n  - one\na:\n  b: *x\n")[0].data
    assert line_of(data, "a", "b") == 4
    assert line_of(data, "a", "b", 0) == 2


@pytest.mark.parametrize(
    ("text", "data", "lines"),
    [
        (
            ".x: &x\n  k: 1\n  l: 1\na:\n  <<: *x\n  l: 2\n",
            {"k": 1, "l": 2},
            {"k": 2, "l": 6},
        ),
        (
            ".x: &x {k: 1}\n.y: &y {k: 2,\n  m: 2}\na:\n  <<: [*x, *y]\n",
            {"k": 1, "m": 2},
            {"k": 1, "m": 3},
        ),
        (
            ".x: &x {k: 1}\n.y: &y\n  <<: *x\n  l: 1\na:\n  <<: *y\n",
            {"k": 1, "l": 1},
            {"k": 1, "l": 4},
        ),
    ],
    ids=["own-key-wins", "first-of-list-wins", "nested"],
)
def test_merge_keys_keep_the_lines_of_what_they_bring(text: str, data: dict[str, int], lines: dict[str, int]) -> None:
    """A merged key has its own line, one that replaces it has that of the replacement."""
    document, warnings = read(text)
    assert document.data["a"] == data
    assert {key: line_of(document.data, "a", key) for key in data} == lines
    assert warnings == []


def test_a_merge_key_below_a_key_replaces_it_with_a_warning() -> None:
    """GitLab's reader goes from top to bottom; people expect the other."""
    document, warnings = read(".x: &x {k: 1}\na:\n  k: 2\n  <<: *x\n")
    assert document.data["a"] == {"k": 1}
    assert warnings == ["f:4: `<<` replaces `k`, which stands above it: put `<<` first"]


def test_a_key_that_stands_twice_is_warned_of() -> None:
    """The last one counts, as in GitLab."""
    document, warnings = read("a:\n  k: 1\n  l: 2\n  k: 3\n")
    assert document.data == {"a": {"k": 3, "l": 2}}
    assert warnings == ["f:4: `k` stands here again, and this one counts; see line 2"]


def test_references_are_read_with_their_place() -> None:
    """`!reference` is a value of its own."""
    assert read("a:\n  - !reference [.b, script]\n")[0].data == {"a": [Reference((".b", "script"), Place("f", 2))]}


def test_a_header_is_told_from_the_pipeline() -> None:
    """`spec` before `---` is no part of the pipeline."""
    document, _ = read("spec:\n  inputs: {a: {}}\n---\nb: 1\n")
    assert document.data == {"b": 1}
    assert document.header == {"spec": {"inputs": {"a": {}}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: x\n", "f:2: this is no YAML: a tab stands in the indentation: YAML takes blanks only."),
        ('a:\n  b: "x\nc: y\n', "f:2: this is no YAML: the quote that opens here is never closed."),
        ("a:\n  b: [x\nc: y\n", "f:2: this is no YAML: the `[` that opens here is not closed, or a comma is missing."),
        ("a: {b: c\n", "f:1: this is no YAML: the `{` that opens here is not closed, or a comma is missing."),
        ("a:\n  b: c: d\n", "f:2: this is no YAML: a second `: ` stands in this line: put the text in quotes."),
        ("a:\n  b: x\n c: y\n", "f:3: this is no YAML: the indentation fits none of the lines above."),
        (
            "a:\n  b: x\n  c\nd: y\n",
            "f:3: this is no YAML: this line is neither `key: value` nor part of the text above: a `:` may be missing.",
        ),
        ("a: - b\n", "f:1: this is no YAML: a list entry `- ` stands where none can be."),
        ("a: *x\n", "f:1: this is no YAML: `*x` names an anchor that does not stand above it."),
        ("a: @x\n", "f:1: this is no YAML: a text cannot start with this character: put it in quotes."),
        (
            'a: "\\q"\n',
            "f:1: this is no YAML: a `\\` in double quotes begins no known escape: write `\\\\` or use single quotes.",
        ),
        ("a: b\n\x07\n", "f:2: this is no YAML: the character U+0007 may not stand in it."),
        ('a: "\\UFFFFFFFF"\n', "f:1: this is no YAML: an escape names no character."),
        ('a: "\\ud800"\n', "f:1: a text holds an escape that is no character."),
        ('a: "\\0"\n', "f:1: a text holds an escape that is no character."),
        ("? [a]\n: b\n", "f:1: a key has to be a word."),
        ("a: &x\n  b: *x\n", "f:1: an anchor contains itself."),
        ("a:\n  <<: 3\n", "f:2: `<<` takes mappings, not a number."),
        ("a: !reference b\n", "f:1: `!reference` takes a list of names, such as [.setup, script]."),
        ("a: !reference [[b]]\n", "f:1: `!reference` takes a list of names, such as [.setup, script]."),
        ("a: !secret b\n", "f:1: the tag `!secret` is not understood."),
        ("a: !!binary YQ==\n", "f:1: the tag `!!binary` is not understood."),
        ("a: !!int x\n", "f:1: `x` is no int: put it in quotes."),
        ("a: 0x_\n", "f:1: `0x_` is no int: put it in quotes."),
        ("a: 1\n---\nb: 2\n", "f:3: a second YAML document begins: a pipeline is one."),
        (
            "[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1),
            f"f:1: this is no YAML: more than {MOST_LEVELS} mappings and lists are inside each other.",
        ),
        ("[" * 5000, f"f:1: this is no YAML: more than {MOST_LEVELS} mappings and lists are inside each other."),
    ],
    ids=[
        "tab", "quote", "bracket", "brace", "colon", "indentation", "no-colon", "dash", "anchor", "at", "escape",
        "control", "no-character", "surrogate", "nul", "complex-key", "self", "merge-scalar", "reference-scalar",
        "reference-nested", "tag", "binary", "int", "hex", "documents", "levels", "open-levels",
    ],
)  # fmt: skip
def test_a_broken_file_gives_line_and_sentence(text: str, message: str) -> None:
    """One sentence, with the line where the mistake is."""
    with pytest.raises(PipelineError) as raised:
        read(text)
    assert raised.value.messages == (message,)


def test_a_file_of_nested_aliases_is_refused_before_it_is_unfolded() -> None:
    """A billion laughs are not laughed."""
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(PipelineError) as raised:
        read("\n".join(lines))
    assert raised.value.messages == (f"f:5: the file's aliases unfold to more than {MOST_NODES} values.",)


def test_aliases_share_what_they_name() -> None:
    """Nothing is copied."""
    data = read("a: &x [1]\nb: *x\n")[0].data
    assert data["a"] is data["b"]
