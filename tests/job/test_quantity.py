"""Quantities: Kubernetes' grammar, exact values, no work for absurd ones."""

from fractions import Fraction

import pytest

from runner.job.quantity import Quantity, QuantityError, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("500m", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("+2", Fraction(2)),
        ("-1", Fraction(-1)),
        ("1k", Fraction(1000)),
        ("1Ki", Fraction(1024)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1E", Fraction(10**18)),
        ("1E3", Fraction(1000)),
        ("1e-3", Fraction(1, 1000)),
        ("250m", Fraction(1, 4)),
        ("7n", Fraction(7, 10**9)),
        ("3u", Fraction(3, 10**6)),
        (" 2Gi\n", Fraction(2**31)),
    ],
)
def test_parse_quantity_when(text: str, value: Fraction) -> None:
    """Every form of the grammar has an exact value."""
    assert parse_quantity(text).value == value


@pytest.mark.parametrize(
    "text", ["", "  ", "m", "1 Gi", "1KB", "0x10", "1e", "1Kim", "one", "1.2.3", "٣", "1e999999999", "9" * 65, "1e-31"]
)
def test_parse_quantity_refuses_when(text: str) -> None:
    """What the API server would not take, or what only costs time, is refused with a sentence."""
    with pytest.raises(QuantityError, match=r"^\".*\" is (no|out of range for a) quantity"):
        parse_quantity(text)


def test_quantities_compare_by_value_when_written_differently() -> None:
    """`1000m` is `1`, and a Mebibyte is more than a Megabyte."""
    assert parse_quantity("1000m") == parse_quantity("1")
    assert sorted(["1Mi", "1M", "900k", "1"], key=parse_quantity) == ["1", "900k", "1M", "1Mi"]
    assert max(parse_quantity("2"), parse_quantity("1500m")).text == "2"


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        ("1Gi", "512Mi", "1536Mi"),
        ("500m", "500m", "1"),
        ("100m", "1", "1100m"),
        ("1Gi", "1", "1073741825"),
        ("1k", "1k", "2k"),
        ("1n", "1", "1000000001n"),
    ],
)
def test_quantities_add_up_when(left: str, right: str, total: str) -> None:
    """A sum is written in the largest unit that leaves a whole number."""
    assert parse_quantity(left) + parse_quantity(right) == parse_quantity(total)
    assert str(parse_quantity(left) + parse_quantity(right)) == total


def test_format_quantity_rounds_up_when_finer_than_nano() -> None:
    """Kubernetes knows nothing smaller, and a request must not become less."""
    assert format_quantity(Fraction(1, 3 * 10**9)) == "1n"
    assert format_quantity(Fraction(0)) == "0"


def test_quantity_shows_its_text_when_printed() -> None:
    """Users recognise what they wrote."""
    assert str(Quantity(Fraction(2**30), "1024Mi")) == "1024Mi"
