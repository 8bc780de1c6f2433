"""Manifests as YAML: comments where they belong, and always the same document read back."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.cli.pod_yaml import Layout, Path, yaml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text(" \n#:-'\"|,[]{}ab1\t\r.")
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)


def test_comments_stand_beside_and_above() -> None:
    """At the end of a leaf's line, also of the first line of a text; and above tables, items and leaves."""
    document = {
        "metadata": {"name": "a", "labels": {}},
        "list": [{"x": "1", "z": ["p", 2]}, {"text": "one\n  two\n"}],
        "empty": [],
    }
    comments = Layout(
        beside={
            ("metadata", "name"): ["the name", "again"],
            ("metadata", "labels"): [],
            ("list", 0, "z", 1): ["an item"],
            ("list", 1, "text"): ["a text", "2", "3", "4", "5"],
        },
        otherwise="nothing",
        above={("metadata",): "first\nsecond", ("list", 1): "an item", ("empty",): "last"},
    )
    assert (
        yaml_text(document, comments)
        == """\
# first
# second
metadata:
  name: a  # the name, again
  labels: {}  # nothing
list:
  - x: '1'
    z:
      - p
      - 2  # an item
  # an item
  - text: |  # a text, 2, 3 and 2 more
      one
        two
# last
empty: []
"""
    )


def test_short_stand_on_one_line() -> None:
    """Lists of scalars and small tables in lists; what would end them early is quoted, what is said of them joined."""
    document = {"verbs": ["get", "a, b]"], "groups": [""], "rules": [{"x": [1]}], "env": [{"name": "A", "value": "1"}]}
    words: dict[Path, list[str]] = {("env", 0, "name"): ["one", "two"], ("env", 0, "value"): ["two", "three"]}
    text = yaml_text(document, Layout(short=True, beside=words))
    assert text.splitlines() == [
        "verbs: [get, 'a, b]']",
        'groups: [""]',
        "rules:",
        "  - x: [1]",
        "env:",
        "  - {name: A, value: '1'}  # one, two, three",
    ]
    assert yaml.safe_load(text) == document


def test_texts_that_look_like_numbers_are_quoted() -> None:
    """Also those that only newer readers of YAML take for something else than text."""
    texts = ["1e3", "0o17", "0x1F", "1_000", "y", "No", "null", "2024-01-01", "12:30:45", "1.5", ".5", "-1", "~", ""]
    lines = yaml_text({str(index): text for index, text in enumerate(texts)}).splitlines()
    assert [line.partition(": ")[2] for line in lines] == [f"'{text}'" for text in texts]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.booleans())
def test_any_document_reads_back(document: object, short: bool) -> None:
    """Whatever keys and values hold, PyYAML reads the same document."""
    assert yaml.safe_load(yaml_text(document, Layout(short=short))) == document
