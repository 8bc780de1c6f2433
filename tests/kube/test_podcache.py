"""What is kept of a watch."""

import pytest

from runner.kube.podcache import CachedPod, LineSplitter, PodCache, is_newer, is_older, slim_pod
from runner.kube.resources import Manifest


def pod(name: str = "x", version: str = "1", **status: object) -> Manifest:
    """A pod at a version."""
    return {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}, "status": status}


TEXT = b'{"a":1}\n\n{"b":"\xc3\xa9"}\n' + b"x" * 40 + b"\nrest"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_bytes_were_cut(size: int) -> None:
    """A last line without its newline was cut off and is never given out."""
    splitter = LineSplitter()
    lines = [line for at in range(0, len(TEXT), size) for line in splitter.feed(TEXT[at : at + size])]
    assert lines == [b'{"a":1}', b"", b'{"b":"\xc3\xa9"}', b"x" * 40]


def test_a_line_beyond_the_limit_is_refused() -> None:
    """What is kept of a line is bounded."""
    splitter = LineSplitter(limit=10)
    assert splitter.feed(b"0123456789") == []
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        splitter.feed(b"a")


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("9", "9", False),
        ("18446744073709551616", "18446744073709551615", True),
        ("b", "a", True),
        ("a", "b", True),
        ("a", "a", False),
        ("", "1", True),
    ],
)
def test_versions_are_compared_by_number(version: str, than: str, newer: bool) -> None:
    """By number where they are numbers, else any other is news."""
    assert is_newer(version, than) is newer


def test_an_older_state_never_replaces_a_newer_one() -> None:
    """Events may come twice, late, or after a GET that knew more."""
    cache = PodCache()
    assert cache.put(pod(version="5", phase="Running"))
    assert not cache.put(pod(version="5", phase="Pending"))
    assert not cache.put(pod(version="4", phase="Pending"))
    known = cache.get("x")
    assert known is not None
    assert (known.uid, known.version, known.unpack()["status"]) == ("u-x", "5", {"phase": "Running"})


def test_what_is_given_out_is_nobody_elses() -> None:
    """A consumer that changes its pod changes it for itself."""
    cache = PodCache()
    cache.put(pod(phase="Running"))
    known = cache.get("x")
    assert known is not None
    known.unpack()["status"]["phase"] = "Failed"
    assert known.unpack()["status"] == {"phase": "Running"}


def test_a_deletion_that_is_older_than_what_is_known_is_ignored() -> None:
    """The pod lives again under its name."""
    cache = PodCache()
    cache.put(pod(version="7"))
    assert not cache.remove("x", version="6")
    assert cache.remove("x", version="8")
    assert not cache.remove("x")
    assert (cache.get("x"), cache.names(), len(cache)) == (None, (), 0)


def test_a_list_tells_what_went_away() -> None:
    """But not of pods that are younger than the list."""
    cache = PodCache()
    for name, version in (("stays", "3"), ("gone", "4"), ("younger", "12")):
        cache.put(pod(name, version))
    assert cache.retain({"stays"}, version="10") == ("gone",)
    assert cache.names() == ("stays", "younger")


@pytest.mark.parametrize(("version", "older"), [("8", True), ("9", False), ("10", False), ("", False), ("a", False)])
def test_a_state_is_older_only_when_that_is_sure(version: str, older: bool) -> None:
    """Versions that are no numbers prove nothing."""
    assert is_older(pod(version=version), CachedPod.of(pod(version="9"))) is older
    assert not is_older(pod(version=version), CachedPod.of(pod(version="b")))


def test_all_can_be_forgotten() -> None:
    """For a store that was set back."""
    cache = PodCache()
    cache.put(pod())
    cache.clear()
    assert len(cache) == 0


def test_a_slim_pod_keeps_what_a_job_needs() -> None:
    """The course of a pod and its metadata; no bookkeeping, no environment, no volumes."""
    whole = {
        "metadata": {
            "name": "x",
            "managedFields": [{"manager": "m"}],
            "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "job": "7"},
            "deletionTimestamp": "t",
        },
        "spec": {
            "nodeName": "n",
            "volumes": [{"name": "v"}],
            "initContainers": [{"name": "i", "image": "i:1", "restartPolicy": "Always", "args": ["a"]}],
            "containers": [{"name": "build", "image": "b:1", "env": [{"name": "A", "value": "B"}]}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert slim_pod(whole) == {
        "metadata": {"name": "x", "labels": {"a": "b"}, "annotations": {"job": "7"}, "deletionTimestamp": "t"},
        "spec": {
            "nodeName": "n",
            "initContainers": [{"name": "i", "image": "i:1", "restartPolicy": "Always"}],
            "containers": [{"name": "build", "image": "b:1"}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_a_bare_pod_is_slim() -> None:
    """Nothing is required but metadata."""
    assert slim_pod({"metadata": {"name": "x"}}) == {"metadata": {"name": "x"}, "spec": {}, "status": {}}
