"""Edits of a config.toml: what is meant changes, and nothing else."""

import tomllib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.edit import EditError, append_runner, remove_runners, runner_tables, set_runner_keys

TEXT = """\
# Written by hand.
concurrent = 4   # four

# The first, of team A.
[[runners]]
\tname = 'a'      # its name
    Token = "old"   # from the vault
  [runners.kubernetes]
    image = \"\"\"
[[runners]]
\"\"\"
  # Pinned to big nodes.
  [runners.kubernetes.node_selector]
    "example.com/size" = "big"

# The second, of team B.
[[runners]]
name = "b"
token="other"

[session_server]   # none yet
  # listen_address = ":8093"
"""

WITHOUT_FIRST = """\
# Written by hand.
concurrent = 4   # four

# The second, of team B.
[[runners]]
name = "b"
token="other"

[session_server]   # none yet
  # listen_address = ":8093"
"""


def test_append_leaves_the_text_before_it() -> None:
    """A new runner stands at the end, indented as the original does."""
    entry = {"name": "c", "limit": 2, "kubernetes": {"privileged": True, "node_selector": {"a/b": "c"}}}
    assert append_runner(TEXT, entry) == (
        TEXT
        + """
[[runners]]
  name = "c"
  limit = 2
  [runners.kubernetes]
    privileged = true
    [runners.kubernetes.node_selector]
      "a/b" = "c"
"""
    )


def test_append_to_nothing_writes_the_global_keys_too() -> None:
    """Scripts of former times look for `concurrent` at the beginning of a line."""
    text = append_runner("", {"name": "a"})
    assert text.startswith("concurrent = 1\ncheck_interval = 0\n")
    assert tomllib.loads(text)["runners"] == [{"name": "a"}]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("runners = []\nconcurrent = 1\n", ["new"], id="empty-value"),
        pytest.param("concurrent = 1", ["new"], id="no-newline-at-the-end"),
        pytest.param("[[Runners]]\nname = 'old'\n", ["old", "new"], id="another-case"),
        pytest.param("\ufeff[[runners]]\r\nname = 'old'\r\n", ["old", "new"], id="byte-order-mark"),
        pytest.param("[['runners']] # x\nname = 'old' # y", ["old", "new"], id="quoted-header"),
    ],
)
def test_append_to_odd_texts(text: str, names: list[str]) -> None:
    """Whatever TOML allows."""
    assert [runner["name"] for runner in runner_tables(append_runner(text, {"name": "new"}))] == names


def test_append_keeps_the_line_ends_of_the_text() -> None:
    """A file from Windows stays one."""
    assert append_runner("concurrent = 1\r\n", {"name": "a"}) == 'concurrent = 1\r\n\r\n[[runners]]\r\n  name = "a"\r\n'


def test_removed_runner_takes_its_tables_and_comments_along() -> None:
    """And no others: the comment above the next runner is that runner's."""
    assert remove_runners(TEXT, [0]) == WITHOUT_FIRST


def test_removing_all_leaves_the_rest() -> None:
    """The global keys and what stands between runners stay."""
    edited = remove_runners(TEXT, [0, 1])
    assert edited.splitlines()[:2] == TEXT.splitlines()[:2]
    assert edited.endswith(TEXT[TEXT.index("[session_server]") :])
    assert "runners" not in tomllib.loads(edited)


def test_table_of_a_runner_behind_another_table_goes_with_it() -> None:
    """TOML lets a runner's tables stand apart from it."""
    text = "[[runners]]\nname='a'\n[session_server]\nsession_timeout=1\n[runners.cache]\nType='s3'\n"
    assert remove_runners(text, [0]) == "[session_server]\nsession_timeout=1\n"


def test_key_that_is_there_keeps_its_place_and_comment() -> None:
    """In whatever case it is written; one that is missing comes behind the last."""
    edited = set_runner_keys(TEXT, 0, {"token": "new", "id": 7})
    assert edited == TEXT.replace('"old"   # from the vault\n', '"new"   # from the vault\n    id = 7\n')


def test_dates_are_written_as_dates() -> None:
    """As the original reads them."""
    edited = set_runner_keys(TEXT, 1, {"token_expires_at": datetime(2026, 1, 2, tzinfo=UTC)})
    assert 'token="other"\ntoken_expires_at = 2026-01-02T00:00:00Z\n' in edited


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("concurrent = \n", id="no-toml"),
        pytest.param("runners = 3\n", id="no-array"),
        pytest.param("runners = [{name = 'a'}]\n", id="one-value"),
        pytest.param("a = " + "[" * 2000 + "]" * 2000, id="deep"),
    ],
)
def test_text_that_cannot_be_edited_is_refused(text: str) -> None:
    """With a sentence, and without a change."""
    with pytest.raises(EditError):
        append_runner(text, {"name": "a"})


_SCALARS = st.one_of(st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.lists(st.text(), max_size=3))
_TABLES = st.dictionaries(st.text(min_size=1), _SCALARS, max_size=4)
_ENTRIES = st.dictionaries(st.text(min_size=1), st.one_of(_SCALARS, _TABLES), max_size=5)


@given(st.lists(_ENTRIES, min_size=1, max_size=3), st.data())
def test_what_was_appended_can_be_removed_again(entries: list[dict[str, object]], data: st.DataObject) -> None:
    """Any keys and values: each runner says what it was given, and the others stay byte for byte."""
    text = TEXT
    for entry in entries:
        text = append_runner(text, entry)
    assert runner_tables(text)[2:] == entries
    gone = data.draw(st.integers(2, len(entries) + 1))
    kept = remove_runners(text, [gone])
    assert kept.startswith(TEXT)
    assert runner_tables(kept)[2:] == [entry for index, entry in enumerate(entries, 2) if index != gone]
