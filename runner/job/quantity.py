"""Kubernetes quantities: "500m", "1.5", "100Mi", "1e3" as exact numbers.

Quantities come from job variables, so parsing is bounded: an exponent of a billion is refused, not computed. What
parses here the API server accepts, and two quantities that Kubernetes holds equal are equal here (`1000m` is `1`).
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_FORM = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[eE](?P<exponent>[+-]?[0-9]+)|(?P<suffix>[KMGTPE]i|[numkMGTPE]|))"
)
_MAX_LENGTH = 64
_MAX_EXPONENT = 30


class QuantityError(ValueError):
    """A text that is no Kubernetes quantity; the message repeats it."""


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An amount of a resource. Compares by value; `str` gives the text it was read from."""

    value: Fraction
    """In the resource's own unit: cores or bytes."""
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: "Quantity") -> "Quantity":
        total = self.value + other.value
        return Quantity(total, format_quantity(total, binary=_is_binary(self.text) or _is_binary(other.text)))


def parse_quantity(text: str) -> Quantity:
    """Read a quantity; blanks around it are forgiven, as configuration files have them. Raises `QuantityError`.

    The grammar is Kubernetes': a sign, a decimal number, then a decimal suffix (`m`, `k`, `M`, ...), a binary one
    (`Ki`, `Mi`, ...) or an exponent (`e3`). `1E` is an exa, `1E3` a thousand.
    """
    stripped = text.strip()
    match = _FORM.fullmatch(stripped) if len(stripped) <= _MAX_LENGTH else None
    if match is None:
        shown = text[:_MAX_LENGTH]
        raise QuantityError(f'"{shown}" is no quantity: write a number with a suffix, as in 500m, 1.5 or 2Gi.')
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > _MAX_EXPONENT:
        raise QuantityError(f'"{text[:_MAX_LENGTH]}" is out of range for a quantity.')
    value = Fraction(match["number"].rstrip(".")) * Fraction(10) ** exponent * _SUFFIXES[match["suffix"] or ""]
    return Quantity(value, stripped)


def format_quantity(value: Fraction, *, binary: bool = False) -> str:
    """Write an amount shortly: with the largest suffix that leaves a whole number, finer than nano rounded up."""
    whole = _largest_whole(value, ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki") if binary else ("E", "P", "T", "G", "M", "k"))
    if whole:
        return whole
    for suffix in ("", "m", "u"):
        scaled = value / _SUFFIXES[suffix]
        if scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    nano = value / _SUFFIXES["n"]
    return f"{-(-nano.numerator // nano.denominator)}n"


def _largest_whole(value: Fraction, suffixes: tuple[str, ...]) -> str:
    for suffix in suffixes:
        scaled = value / _SUFFIXES[suffix]
        if scaled and scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    return ""


def _is_binary(text: str) -> bool:
    return text.endswith("i")
