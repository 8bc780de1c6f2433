"""Variables of a file: expanded as GitLab does before a runner sees them."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.model import LocalVariable
from runner.pipeline.variables import expand, expand_all


def expanded(variables: Mapping[str, str], raw: Mapping[str, str] | None = None) -> dict[str, str]:
    """Expand plain and raw variables, in this order."""
    given = [LocalVariable(key=key, value=value) for key, value in variables.items()]
    given += [LocalVariable(key=key, value=value, raw=True) for key, value in (raw or {}).items()]
    return {each.key: each.value for each in expand_all(given)}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"A": "$B", "B": "b"}, {"A": "b", "B": "b"}),
        ({"A": "${B}-%C%", "B": "b", "C": "c"}, {"A": "b-c", "B": "b", "C": "c"}),
        ({"A": "$B", "B": "$C", "C": "c"}, {"A": "c", "B": "c", "C": "c"}),
        ({"A": "$NOBODY"}, {"A": "$NOBODY"}),
        ({"A": "$$B %%", "B": "b"}, {"A": "$$B %%", "B": "b"}),
        ({"A": "$A/x"}, {"A": "$A/x"}),
        ({"A": "$B", "B": "$A"}, {"A": "$A", "B": "$A"}),
        ({"A": "$1 $- ${B", "B": "b"}, {"A": "$1 $- ${B", "B": "b"}),
        ({"A": "$BC", "B": "b"}, {"A": "$BC", "B": "b"}),
    ],
    ids=["plain", "forms", "chain", "unknown", "escaped", "itself", "circle", "no-names", "longest"],
)
def test_variables_are_put_into_each_other(variables: dict[str, str], expected: dict[str, str]) -> None:
    """Whatever their order; what cannot be put in stays for the runner."""
    assert expanded(variables) == expected


def test_raw_variables_are_neither_expanded_nor_put_in() -> None:
    """Put in, the runner would expand what was not to be."""
    assert expanded({"A": "$R"}, raw={"R": "$B"}) == {"A": "$R", "R": "$B"}


def test_the_last_of_a_name_counts() -> None:
    """For what refers to it as well."""
    variables = (
        LocalVariable(key="A", value="$B"),
        LocalVariable(key="B", value="one"),
        LocalVariable(key="B", value="two"),
    )
    assert expand_all(variables) == (LocalVariable(key="A", value="two"), LocalVariable(key="B", value="two"))


def test_variables_that_double_each_other_stay_small() -> None:
    """Forty of them would be a terabyte."""
    doubling = {f"A{n}": f"$A{n + 1}$A{n + 1}" for n in range(40)} | {"A40": "x"}
    assert sum(map(len, expanded(doubling).values())) < 100_000_000


def test_a_text_is_expanded_with_what_is_known() -> None:
    """For names of environments and the like."""
    assert expand("review/$A-${B}-$C", {"A": "a", "B": "b"}) == "review/a-b-$C"


@given(st.dictionaries(st.sampled_from("ABCDE"), st.text(alphabet="$ABCDE{}%x", max_size=12)))
def test_every_set_of_variables_has_an_expansion(variables: dict[str, str]) -> None:
    """In which the keys are those that went in."""
    assert expanded(variables).keys() == variables.keys()
