"""Parameters in paths."""

from __future__ import annotations

import pytest

from runner.helper.archives.expansion import ExpansionError, expand

ENVIRON = {"NAME": "build", "FILE": "dist/app-1.2.tar.gz", "EMPTY": "", "N": "7"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain/*.txt", "plain/*.txt"),
        ("$NAME/x", "build/x"),
        ("${NAME}x", "buildx"),
        ("$MISSING/x", "/x"),
        ("${MISSING:-dist}/x", "dist/x"),
        ("${EMPTY:-$NAME}", "build"),
        ("${EMPTY-dist}", ""),
        ("${NAME:+yes}${MISSING+no}", "yes"),
        ("${#NAME}", "5"),
        ("${FILE##*/}", "app-1.2.tar.gz"),
        ("${FILE#*/}", "app-1.2.tar.gz"),
        ("${FILE%.gz}", "dist/app-1.2.tar"),
        ("${FILE%%.*}", "dist/app-1"),
        ("${FILE/app/lib}", "dist/lib-1.2.tar.gz"),
        ("${FILE//a/o}", "dist/opp-1.2.tor.gz"),
        ("${NAME:1:3}", "uil"),
        ("${NAME: -2}", "ld"),
        ("$((N * 2 + 1))", "15"),
        ("$(( (1 << 4) % 7 ))", "2"),
        ("\\$NAME", "$NAME"),
        ("cost $", "cost $"),
        ("a$-b", "a$-b"),
    ],
)
def test_a_text_is_expanded_as_in_double_quotes(text: str, expanded: str) -> None:
    """Parameters, their operations and arithmetic."""
    assert expand(text, ENVIRON) == expanded


@pytest.mark.parametrize(
    "text", ["$(ls)", "`ls`", "${NAME", "${!NAME}", "$((1/0))", "$((1 +))", "${MISSING:?it is needed}"]
)
def test_what_needs_a_shell_is_refused(text: str) -> None:
    """Nothing is run for a path."""
    with pytest.raises(ExpansionError):
        expand(text, ENVIRON)
