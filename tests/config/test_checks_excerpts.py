"""Which line of a configuration is shown with a finding, and what of it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.checks.excerpts import Excerpt, excerpt
from runner.config.positions import Place, positions

TEXT = """\
concurrent = 4  # token = "s3cret"
[[runners]]  # s3cret
  url = "https://me:s3cret@gitlab.example.com"  # s3cret
  token = "s3cret"
  tokn = "s3cret"
  environment = [
    "A=s3cret",
  ]
  pre_build_script = "export A=s3cret"
  feature_flags.FF_TIMESTAMPS = false
\t[runners.kubernetes]
    image_pull_secrets = ["one",
      "two # no comment"] # s3cret
    cpus = "1"
    bearer_token_overwrite_allowed = true
    key_file = '/a#b'
    node_selector = { role = "ci" }
    services = [{ name = "postgres", environment = ["A=s3cret"] }]
    [[runners.kubernetes.pod_spec]]
      patch = '''
        spec: s3cret
      '''
      name = '''
      long'''
    [runners.cache.s3]
      AccessKey = "s3cret"
"""
PLACES = positions(TEXT)
RUNNER = ("runners", 0)
KUBERNETES = (*RUNNER, "kubernetes")


@pytest.mark.parametrize(
    ("path", "shown", "meant"),
    [
        (("concurrent",), "concurrent = 4", "concurrent"),
        (RUNNER, "[[runners]]", "runners"),
        ((*RUNNER, "url"), '  url = "https://...@gitlab.example.com"', "url"),
        ((*RUNNER, "token"), "  token = ...", "token"),
        ((*RUNNER, "tokn"), "  tokn = ...", "tokn"),
        ((*RUNNER, "environment"), "  environment = ...", "environment"),
        ((*RUNNER, "environment", 0), None, ""),
        ((*RUNNER, "pre_build_script"), "  pre_build_script = ...", "pre_build_script"),
        ((*RUNNER, "feature_flags", "FF_TIMESTAMPS"), "  feature_flags.FF_TIMESTAMPS = false", "FF_TIMESTAMPS"),
        (KUBERNETES, " [runners.kubernetes]", "kubernetes"),
        ((*KUBERNETES, "image_pull_secrets"), '    image_pull_secrets = ["one",', "image_pull_secrets"),
        ((*KUBERNETES, "image_pull_secrets", 1), '      "two # no comment"]', '"two # no comment"'),
        ((*KUBERNETES, "cpus"), '    cpus = "1"', "cpus"),
        (
            (*KUBERNETES, "bearer_token_overwrite_allowed"),
            "    bearer_token_overwrite_allowed = true",
            "bearer_token_overwrite_allowed",
        ),
        ((*KUBERNETES, "key_file"), "    key_file = '/a#b'", "key_file"),
        ((*KUBERNETES, "node_selector", "role"), '    node_selector = { role = "ci" }', "role"),
        ((*KUBERNETES, "services"), "    services = ...", "services"),
        ((*KUBERNETES, "services", 0, "name"), "    services = ...", "services"),
        ((*KUBERNETES, "pod_spec", 0, "patch"), "      patch = ...", "patch"),
        ((*KUBERNETES, "pod_spec", 0, "name"), "      name = '''...", "name"),
        ((*RUNNER, "cache", "s3", "AccessKey"), "      AccessKey = ...", "AccessKey"),
    ],
)
def test_line_is_shown_as_far_as_it_holds_no_secret(path: tuple[str | int, ...], shown: str | None, meant: str) -> None:
    """A value is shown where the model knows it for no secret, a comment never; the mark stands under the key."""
    found = excerpt(TEXT, PLACES, PLACES[path])
    if shown is None:
        assert found is None
    else:
        assert found == Excerpt(shown, shown.index(meant), len(meant))


def test_place_outside_of_the_text_shows_nothing() -> None:
    """A line that is not there is not shown."""
    assert excerpt(TEXT, PLACES, Place(1000, 1)) is None


def test_end_of_a_long_text_is_not_shown() -> None:
    """What stands before the first key of a line may belong to a text that began above."""
    text = 'runners = [{ token = """a\ns3cret""", limit = -1 }]\n'
    places = positions(text)
    assert excerpt(text, places, places["runners", 0, "limit"]) is None


SECRETS = st.text(st.sampled_from("ab=#[]{}',. \"\\\n"), max_size=8).map(lambda inner: f"s3c{inner}ret")


@given(token=SECRETS, entry=SECRETS, in_line=st.booleans(), multi_line=st.booleans())
def test_no_line_shows_a_secret(token: str, entry: str, *, in_line: bool, multi_line: bool) -> None:
    """However a file spells its secrets, no line of it shows a part of one."""
    quoted = [_basic(value, multi_line=multi_line) for value in (token, entry)]
    pairs = ['url = "https://gitlab.example.com"', f"token = {quoted[0]}", f"environment = [{quoted[1]}]", "limit = -1"]
    text = f"runners = [{{ {', '.join(pairs)} }}]\n" if in_line else "\n".join(["[[runners]]", *pairs, ""])
    assert tomllib.loads(text)["runners"][0]["token"] == token
    places = positions(text)
    for place in places.values():
        found = excerpt(text, places, place)
        assert found is None or not {"s3c", "ret"} & {found.text[i : i + 3] for i in range(len(found.text))}


def _basic(value: str, *, multi_line: bool) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{escaped}"""' if multi_line else '"' + escaped.replace("\n", "\\n") + '"'
