"""Types of values in config.toml."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from runner.config.values import Filled, Flag, GoDuration, Number, NumberTable, PullPolicy, Quantity, Seconds

QUANTITIES = ["0", "500m", "1.5", ".5", "5.", "-1", "+1", "100Mi", "1G", "250m", "1e3", "1E-3", "2Ei", "5n", "7u", "9k"]
NO_QUANTITIES = ["m", "1 Gi", "1gb", "1KB", "1K i", "1Mi\n", ".", "1e", "--1", "٣"]


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Seconds, 3, 3.0),
        (Seconds, 0.01, 0.01),
        (GoDuration, "1h30m", 5400.0),
        (GoDuration, 1_500_000_000, 1.5),
        (GoDuration, 2.5, 2.5),
        (GoDuration, "-1s", -1.0),
        (PullPolicy, "always", ("always",)),
        (PullPolicy, ["if-not-present", "never"], ("if-not-present", "never")),
        (PullPolicy, [], ()),
        (PullPolicy, "", ("",)),
        (Flag, True, True),
        (Number, 3, 3),
        (Number, 2**63 - 1, 2**63 - 1),
        (NumberTable, {"a": 5}, {"a": 5}),
        (Filled, "a", "a"),
        (Quantity, "", ""),
        *(
            (Quantity, text, text)
            for text in (
                "",
                "0",
                "500m",
                "1.5",
                ".5",
                "5.",
                "-1",
                "+1",
                "100Mi",
                "1G",
                "250m",
                "1e3",
                "1E-3",
                "2Ei",
                "5n",
                "7u",
                "9k",
            )
        ),
    ],
)
def test_value_of_its_type_is_taken(kind: Any, value: object, result: object) -> None:
    """Every way in which the original writes the type is read."""
    assert TypeAdapter(kind).validate_python(value) == result


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Seconds, "3", "number of seconds"),
        (Seconds, True, "number of seconds"),
        (Seconds, None, "number of seconds"),
        (Seconds, float("nan"), "number of seconds"),
        (Seconds, float("inf"), "number of seconds"),
        (Seconds, 2**63, "number of seconds"),
        (GoDuration, float("inf"), "duration such as"),
        (GoDuration, 2**63 * 10**9, "duration such as"),
        (GoDuration, "3", "duration such as"),
        (GoDuration, "soon", "duration such as"),
        (GoDuration, True, "duration such as"),
        (GoDuration, [], "duration such as"),
        (PullPolicy, "Always", "always, if-not-present or never"),
        (PullPolicy, ["always", "x"], "always, if-not-present or never"),
        (PullPolicy, 3, "valid tuple"),
        (Flag, "true", "valid boolean"),
        (Flag, 1, "valid boolean"),
        (Number, "5", "valid integer"),
        (Number, 5.0, "valid integer"),
        (Number, True, "valid integer"),
        (Number, 2**63, "less than or equal to 9223372036854775807"),
        (Number, -(2**63) - 1, "greater than or equal to -9223372036854775808"),
        (NumberTable, {"a": "5"}, "valid integer"),
        (Quantity, "1e999", "Kubernetes quantity"),
        (Filled, "", "not be empty"),
        *(
            (Quantity, text, "Kubernetes quantity")
            for text in ("m", "1 Gi", "1gb", "1KB", "1K i", "1Mi\n", ".", "1e", "--1", "٣")
        ),
    ],
)
def test_value_of_another_type_is_refused(kind: Any, value: object, reason: str) -> None:
    """Nothing is converted that the original would refuse."""
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(kind).validate_python(value)
