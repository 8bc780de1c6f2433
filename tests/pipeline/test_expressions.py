"""The expressions of `rules:if`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.expressions import ExpressionError, evaluate

VARIABLES = {
    "BRANCH": "feature/one",
    "EMPTY": "",
    "TEXT": "main",
    "OTHER": "main",
    "PATTERN": "/^feature/",
    "LINES": "one\nTWO",
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$TEXT", True),
        ("$EMPTY", False),
        ("$UNSET", False),
        ('$TEXT == "main"', True),
        ("$TEXT == 'main'", True),
        ('"main" == $TEXT', True),
        ("$TEXT == $OTHER", True),
        ('$TEXT != "main"', False),
        ('$UNSET == ""', False),
        ('$EMPTY == ""', True),
        ("$UNSET == null", True),
        ("$EMPTY == null", False),
        ("$TEXT != null", True),
        ("$BRANCH =~ /^feature/", True),
        ("$BRANCH =~ /^FEATURE/", False),
        ("$BRANCH =~ /^FEATURE/i", True),
        ("$BRANCH !~ /^feature/", False),
        ("$BRANCH =~ /one$/", True),
        (r"$BRANCH =~ /feature\/one/", True),
        ("$BRANCH =~ $PATTERN", True),
        ("$BRANCH =~ $TEXT", False),
        ("$UNSET =~ /x/", False),
        ("$UNSET !~ /x/", True),
        ("$LINES =~ /^TWO/", False),
        ("$LINES =~ /^TWO/m", True),
        ("$LINES =~ /one.TWO/", False),
        ("$LINES =~ /one.two/si", True),
        (r"$TEXT =~ /\Amain\z/", True),
        ("$TEXT =~ /^[[:alpha:]]+$/", True),
        ("$TEXT && $EMPTY", False),
        ("$TEXT || $EMPTY", True),
        ("$TEXT || $TEXT && $EMPTY", True),
        ("($TEXT || $TEXT) && $EMPTY", False),
        ("$EMPTY && $EMPTY || $TEXT", True),
        ('  $TEXT=="main"&&($BRANCH=~/one/)  ', True),
        ('$TEXT ==\n "main"', True),
        ('$TEXT == "it\'s"', False),
        ("null", False),
        ('"text"', True),
    ],
)
def test_an_expression_is_evaluated(expression: str, expected: bool) -> None:
    """Comparisons, patterns, `&&` before `||`, and brackets."""
    assert evaluate(expression, VARIABLES) is expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "the expression `` cannot be read at its end"),
        ("$TEXT ==", "the expression `$TEXT ==` cannot be read at its end"),
        ("$TEXT = 'x'", "the expression `$TEXT = 'x'` cannot be read at `= 'x'`"),
        ("${TEXT}", "the expression `${TEXT}` cannot be read at `${TEXT}`"),
        ("$TEXT == 1", "the expression `$TEXT == 1` cannot be read at `1`; texts stand in quotes"),
        ("!$TEXT", "the expression `!$TEXT` cannot be read at `!$TEXT`"),
        ("($TEXT", "the expression `($TEXT` cannot be read at its end"),
        ("$TEXT)", "the expression `$TEXT)` cannot be read at `)`"),
        ("$EMPTY && $TEXT == ", "the expression `$EMPTY && $TEXT ==` cannot be read at its end"),
        ('$TEXT == "x', 'the expression `$TEXT == "x` cannot be read at `"x`'),
        ("$TEXT =~ /(/", "the pattern /(/ cannot be read: missing ), unterminated subpattern at position 0"),
        ("(" * 60 + "$TEXT" + ")" * 60, "the expression has more than 50 brackets inside each other"),
    ],
)
def test_a_mistake_says_where_it_is(expression: str, message: str) -> None:
    """Both sides are read, whatever the variables say."""
    with pytest.raises(ExpressionError) as raised:
        evaluate(expression, VARIABLES)
    assert str(raised.value) == message


@given(st.text(alphabet="$AB=~!&|() \"'/[]*+\\nul", max_size=40))
def test_no_text_raises_anything_else(expression: str) -> None:
    """The evaluation is total."""
    with suppress(ExpressionError):
        evaluate(expression, {"A": "a", "AB": "/a/"})
