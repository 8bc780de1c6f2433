"""Images that a job may use."""

from __future__ import annotations

import time

import pytest

from runner.job.outcome import FailureReason, JobConfigurationError
from runner.podspec.allowed import Kind, check_image


def is_allowed(image: str, *patterns: str, always: tuple[str, ...] = ()) -> bool:
    """Whether a job may use an image."""
    try:
        check_image(image, kind="images", allowed=patterns, always=always)
    except JobConfigurationError:
        return False
    return True


@pytest.mark.parametrize(
    ("image", "patterns", "expected"),
    [
        ("anything:1", (), True),
        ("ruby:3.3", ("ruby:*", "python:*"), True),
        ("python:3", ("ruby:*", "python:*"), True),
        ("php:8", ("ruby:*", "python:*"), False),
        ("my.registry.tld:5000/group/app:1", ("my.registry.tld:5000/*:*",), False),
        ("my.registry.tld:5000/app:1", ("my.registry.tld:5000/*:*",), True),
        ("my.registry.tld:5000/group/app:1", ("my.registry.tld:5000/**",), True),
        ("debian", ("*/*:*",), False),
        ("debian", ("**",), True),
        ("docker.io/library/ruby:3", ("ruby:*",), False),
        ("ruby:3\nmore", ("ruby:*",), False),
        ("ruby:3@sha256:0123", ("ruby:*",), True),
        ("evil/ruby:3", ("ruby:*",), False),
        ("ruby:3", ("[", "{", "ruby:3\\"), False),
        ("x" * 5000, ("**",), False),
    ],
    ids=[
        "no list",
        "first",
        "second",
        "none",
        "one part",
        "its registry",
        "many parts",
        "documented but wrong",
        "everything",
        "long name",
        "two lines",
        "digest",
        "other repository",
        "no globs",
        "absurd",
    ],
)
def test_image_is_allowed_when(image: str, patterns: tuple[str, ...], expected: bool) -> None:
    """The whole text is matched as it stands; a list allows what it matches and nothing else."""
    assert is_allowed(image, *patterns) is expected


def test_image_is_allowed_when_the_configuration_names_it() -> None:
    """As it is written there: a variable in it would let the job choose."""
    assert is_allowed("helper:1", "ruby:*", always=("default:$TAG", "helper:1"))
    assert not is_allowed("default:evil", "ruby:*", always=("default:$TAG", "helper:1"))


@pytest.mark.parametrize("kind", ["images", "services"])
def test_sentence_lists_the_patterns_when_an_image_is_refused(kind: Kind) -> None:
    """In GitLab Runner's words, with the key; a job's wish is no failure of the system."""
    with pytest.raises(JobConfigurationError) as refused:
        check_image("php:8", kind=kind, allowed=("ruby:*", "python:*"))
    assert refused.value.message == (
        f'disallowed image: the "php:8" image is not present on list of allowed {kind}: ruby:*, python:*. '
        f"Please check runner's configuration: allowed_{kind} in [runners.kubernetes]"
    )
    assert refused.value.reason == FailureReason.RUNNER_CONFIGURATION_ERROR


def test_sentence_stays_short_when_names_and_lists_are_long() -> None:
    """And on one line, whatever the name holds."""
    with pytest.raises(JobConfigurationError) as refused:
        check_image("x" * 4000, kind="images", allowed=tuple(f"image-{number}" for number in range(1000)))
    assert len(refused.value.message) < 700
    with pytest.raises(JobConfigurationError, match=r"\"a\\nERROR: no\" is no name of an image"):
        check_image("a\nERROR: no", kind="images", allowed=())


def test_name_takes_linear_time_when_a_glob_would_go_back() -> None:
    """Expressions of Python's own take minutes for this."""
    begun = time.perf_counter()
    assert not is_allowed("a/" * 2000 + "c", "**/a/**/a/**/a/**/b", "*a*a*a*a*a*a*b")
    assert time.perf_counter() - begun < 0.25
