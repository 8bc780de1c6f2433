"""Texts of flags and variables, and the TOML that they become."""

from typing import Any

import pytest

from runner.config.given import GivenError, filled, given_value, parse_flag, place
from runner.config.inputs import inputs
from runner.config.load import parse_config

KEYS = {".".join(key.path): key for key in inputs()}


@pytest.mark.parametrize(
    ("key", "texts", "value"),
    [
        pytest.param("name", ["a", "b"], "b", id="text"),
        pytest.param("limit", ["3"], 3, id="number"),
        pytest.param("kubernetes.privileged", ["T"], True, id="flag"),
        pytest.param("kubernetes.poll_timeout", ["360"], 360, id="seconds"),
        pytest.param("unhealthy_interval", ["1h30m"], "1h30m", id="duration"),
        pytest.param("environment", ["A=1,2", "B=3"], ["A=1,2", "B=3"], id="list"),
        pytest.param("kubernetes.pull_policy", ["always, never", "always"], ["always", "never", "always"], id="commas"),
        pytest.param("kubernetes.pod_security_context.supplemental_groups", ["1", "2"], [1, 2], id="numbers"),
        pytest.param("kubernetes.node_tolerations", ["a=b:NoSchedule"], {"a=b": "NoSchedule"}, id="table"),
        pytest.param("kubernetes.pod_annotations", ["a:b:c"], {"a": "b:c"}, id="first-colon"),
        pytest.param("feature_flags", ["FF_A:true", "FF_B:0"], {"FF_A": True, "FF_B": False}, id="flags"),
        pytest.param("kubernetes.retry_limits", ["timeout:3"], {"timeout": 3}, id="table-of-numbers"),
        pytest.param("kubernetes.host_aliases", ['[{"ip":"1.2.3.4"}]'], [{"ip": "1.2.3.4"}], id="json"),
    ],
)
def test_text_becomes_what_a_person_would_write(key: str, texts: list[str], value: Any) -> None:
    """By the type of the key alone."""
    assert given_value(KEYS[key], texts) == value


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        pytest.param("limit", "many", "no whole number", id="number"),
        pytest.param("kubernetes.privileged", "yes", "neither true nor false", id="flag"),
        pytest.param("kubernetes.node_selector", "a=b", "key:value", id="table"),
        pytest.param("kubernetes.host_aliases", "{}", "no JSON array", id="json"),
        pytest.param("kubernetes.poll_timeout", "5m", "no whole number", id="seconds"),
    ],
)
def test_text_that_is_no_value_is_refused(key: str, text: str, words: str) -> None:
    """Without being repeated, for it may be secret."""
    with pytest.raises(GivenError, match=words) as caught:
        given_value(KEYS[key], [text])
    assert text not in str(caught.value).split()


@pytest.mark.parametrize("key", [key for key in inputs() if not key.today], ids=lambda key: ".".join(key.path))
def test_every_key_gives_what_its_model_takes(key: Any) -> None:
    """No key of the model is one that no text can give."""
    from runner.config.edit import append_runner

    for text in ("1", "true", "a:true", "a:1", "1h", "always", "https://a", "[]", "{}", "a=b:NoSchedule"):
        entry: dict[str, Any] = {"url": "https://a", "token": "t", "executor": "kubernetes"}
        try:
            place(entry, key.path, given_value(key, [text]))
            parse_config(append_runner("concurrent = 1", entry))
        except ValueError:
            continue
        return
    pytest.fail("no text fits")


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"])
def test_flags_are_read_as_go_does(text: str) -> None:
    """Its twelve spellings."""
    assert parse_flag(text) == (text in {"1", "t", "T", "true", "TRUE", "True"})


def test_template_fills_what_is_zero_or_empty() -> None:
    """Also what was said to be false: the original cannot tell it from nothing."""
    entry = {"name": "a", "limit": 0, "kubernetes": {"privileged": False, "cap_add": ["X"], "image": ""}}
    template = {
        "Name": "t",
        "limit": 5,
        "Kubernetes": {"privileged": True, "cap_add": ["Y"], "image": "i", "new": 1},
        "cache": {"Type": "s3"},
    }
    assert filled(entry, template) == {
        "name": "a",
        "limit": 5,
        "kubernetes": {"privileged": True, "cap_add": ["X"], "image": "i", "new": 1},
        "cache": {"Type": "s3"},
    }
