"""Patches of the pod's spec: reading them, the three kinds, and what is said when one is wrong."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config.patches import PodPatch
from runner.job.outcome import FailureReason, JobConfigurationError
from runner.podspec.patches import apply_patches, read_patches

SPEC: dict[str, Any] = {
    "restartPolicy": "Never",
    "containers": [{"name": "build", "image": "b"}, {"name": "helper", "image": "h", "resources": {"limits": {}}}],
    "nodeSelector": {"a": "1"},
    "tolerations": [{"key": "a"}],
}


def no_file(path: str) -> str:
    """There are no files."""
    raise FileNotFoundError(2, "No such file or directory", path)


def patched(*patches: dict[str, str]) -> dict[str, Any]:
    """The spec with these patches applied; it is itself not changed."""
    before = deepcopy(SPEC)
    after = apply_patches(SPEC, read_patches([PodPatch(**patch) for patch in patches], no_file))
    assert before == SPEC
    return after


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        pytest.param({"patch": "hostname: box"}, {"hostname": "box"}, id="strategic is the default"),
        pytest.param(
            {"patch": "containers: [{name: build, securityContext: {runAsUser: 5}}]", "patch_type": "strategic"},
            {"containers": [{**SPEC["containers"][0], "securityContext": {"runAsUser": 5}}, SPEC["containers"][1]]},
            id="strategic",
        ),
        pytest.param(
            {"patch": '{"nodeSelector": {"b": "2"}, "tolerations": [{"key": "z"}]}', "patch_type": "merge"},
            {"nodeSelector": {"a": "1", "b": "2"}, "tolerations": [{"key": "z"}]},
            id="merge",
        ),
        pytest.param(
            {"patch": "{nodeSelector: {a: null}, x: {y: null, z: 1}}", "patch_type": "merge"},
            {"nodeSelector": {}, "x": {"z": 1}},
            id="merge with nulls",
        ),
        pytest.param(
            {"patch": '[{"op": "replace", "path": "/nodeSelector/a", "value": "3"}]', "patch_type": "json"},
            {
                "nodeSelector": {"a": "3"},
                "affinity": {},
                "containers": [{"resources": {}, **SPEC["containers"][0]}, SPEC["containers"][1]],
            },
            id="json",
        ),
        pytest.param(
            {
                "patch": "- {op: add, path: /affinity/nodeAffinity, value: {}}\n"
                "- {op: add, path: /containers/0/resources/limits, value: {cpu: '1'}}\n",
                "patch_type": "json",
            },
            {
                "affinity": {"nodeAffinity": {}},
                "containers": [{**SPEC["containers"][0], "resources": {"limits": {"cpu": "1"}}}, SPEC["containers"][1]],
            },
            id="json finds affinity and resources to add to",
        ),
        pytest.param(
            {
                "patch": "- {op: replace, path: /hostname, value: a}\n"
                "- {op: add, path: /tolerations/-1, value: {key: c}}\n"
                "- {op: replace, path: /tolerations/-2/key, value: b}\n"
                "- {op: add, path: /nodeSelector/x~1y, value: z}\n"
                "- {op: copy, from: /containers/-1/image, path: /containers/0/image}\n"
                "- {op: move, from: /nodeSelector/a, path: /nodeSelector/b}\n",
                "patch_type": "json",
            },
            {
                "hostname": "a",
                "tolerations": [{"key": "b"}, {"key": "c"}],
                "nodeSelector": {"x/y": "z", "b": "1"},
                "affinity": {},
                "containers": [{"name": "build", "image": "h", "resources": {}}, SPEC["containers"][1]],
            },
            id="json beyond its standard, as kubectl",
        ),
        pytest.param({"patch": ""}, {}, id="empty"),
        pytest.param({"patch": "# nothing", "patch_type": "json"}, {}, id="empty json"),
        pytest.param(
            {"patch": "{nodeSelector: {on: yes, 2: 2024-01-01, 1.5: 0x10, d: '5'}}", "patch_type": "merge"},
            {"nodeSelector": {"a": "1", "true": True, "2": "2024-01-01", "1.5": 16, "d": "5"}},
            id="YAML as Kubernetes reads it",
        ),
    ],
)
def test_patch_changes_the_spec_when(patch: dict[str, str], changed: dict[str, Any]) -> None:
    """Each kind of patch does what its standard says, and the rest stays."""
    assert patched(patch) == {**SPEC, **changed}


def test_patches_build_on_each_other_when_there_are_several() -> None:
    """In the order of the file, kinds mixed; the same text gives the same result every time."""
    add = {"patch": '[{"op": "add", "path": "/x", "value": {"y": [1]}}]', "patch_type": "json"}
    grow = {"patch": '[{"op": "add", "path": "/x/y/-", "value": 2}]', "patch_type": "json"}
    test = {"patch": '[{"op": "test", "path": "/x/y", "value": [1, 2]}]', "patch_type": "json"}
    replace = {"patch": "{x: {z: 3}}", "patch_type": "merge"}

    assert patched(add, grow, test, replace)["x"] == {"y": [1, 2], "z": 3}
    assert patched(add, grow, test)["x"] == {"y": [1, 2]}


@pytest.mark.parametrize(
    "patch",
    [
        {"patch": "dnsConfig: {searches: [a]}"},
        {"patch": "dnsConfig: {searches: [a]}", "patch_type": "merge"},
        {"patch": "[{op: add, path: /dnsConfig, value: {searches: [a]}}]", "patch_type": "json"},
    ],
    ids=["strategic", "merge", "json"],
)
def test_patch_stays_what_it_is_when_its_result_is_changed(patch: dict[str, str]) -> None:
    """It is read once for many jobs."""
    patched(patch)["dnsConfig"]["searches"].append("b")

    assert patched(patch)["dnsConfig"] == {"searches": ["a"]}


def test_patch_is_read_from_its_file_when_it_names_one() -> None:
    """The caller reads; what it gives is the text."""
    texts = {"/etc/patch.yaml": "hostname: box"}
    (patch,) = read_patches([PodPatch(patch_path="/etc/patch.yaml")], texts.__getitem__)

    assert apply_patches(SPEC, [patch]) == {**SPEC, "hostname": "box"}


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        pytest.param(
            {"name": "x", "patch": "a: b", "patch_path": "/p"},
            '"x" has both patch and patch_path: take one of them away',
            id="both",
        ),
        pytest.param(
            {"patch_path": "/p"},
            'number 2 names the file "/p", which cannot be read: No such file or directory',
            id="file",
        ),
        pytest.param(
            {"patch": "a: b", "patch_type": "jsonpatch"},
            'number 2 has the patch_type "jsonpatch", which is none of strategic, merge, json',
            id="type",
        ),
        pytest.param(
            {"name": "x", "patch": "a: b\n c: d"},
            '"x" is no YAML: line 2: mapping values are not allowed here',
            id="YAML",
        ),
        pytest.param({"name": "x", "patch": "a: \0"}, "is no YAML that JSON could hold", id="character"),
        pytest.param({"patch": "a: .inf"}, "is no YAML that JSON could hold: inf is no number of JSON", id="number"),
        pytest.param({"patch": "a: !!set {b}"}, "set is no type of JSON", id="type of YAML"),
        pytest.param({"patch": "? [a]\n: b"}, "is no YAML: line 1: found unhashable key", id="key"),
        pytest.param({"patch": "? !!binary YQ==\n: b"}, "b'a' is no key of JSON", id="binary key"),
        pytest.param({"patch": "a: &x [*x]"}, "more than 100 tables and lists are inside each other", id="circle"),
        pytest.param({"patch": "[]"}, "number 2 is not a table, as a strategic patch has to be", id="list"),
        pytest.param(
            {"patch": "{}", "patch_type": "json"},
            "number 2 is not a list of operations, as a json patch has to be",
            id="table",
        ),
        pytest.param(
            {"name": "x", "patch": "volumes: [{emptyDir: {}}]"}, "", id="strategic that is well where nothing is merged"
        ),
        pytest.param(
            {"name": "x", "patch": "containers: [{image: a}]"},
            '"x" has an element of "containers" without "name", by which it is found',
            id="strategic",
        ),
        pytest.param(
            {"name": "x", "patch": "[{op: test, path: /restartPolicy, value: Never}, {op: remove, path: /y}]"}
            | {"patch_type": "json"},
            "\"x\" does not apply: operation 2 (remove /y): can't remove a non-existent object 'y'",
            id="json",
        ),
        pytest.param(
            {"patch": "[{op: add, path: /a/b/c, value: 1}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (add /a/b/c): member 'a' not found in",
            id="json without a parent",
        ),
        pytest.param(
            {"patch": "[{op: add, path: /restartPolicy/x, value: 1}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (add /restartPolicy/x): ",
            id="json into a text",
        ),
        pytest.param(
            {"patch": "[5]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (no table): ",
            id="json number",
        ),
        pytest.param(
            {"patch": "[{op: remove, path: /tolerations/-2}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (remove /tolerations/-2): ",
            id="json before a list's beginning",
        ),
        pytest.param(
            {"patch": "[{op: replace, path: /nowhere/x, value: 1}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (replace /nowhere/x): ",
            id="json into what is not there",
        ),
        pytest.param(
            {"patch": "[{op: add, path: 5, value: 1}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (add 5): ",
            id="json path that is none",
        ),
        pytest.param(
            {"patch": "[{op: jump, path: /a}]", "patch_type": "json"},
            "number 2 does not apply: operation 1 (jump /a): ",
            id="json operation",
        ),
        pytest.param(
            {"name": "x", "patch": "containers: [{name: build}]", "patch_type": "merge"},
            '"x" takes the container "helper" away, without which no job runs: let it be there',
            id="helper gone",
        ),
        pytest.param(
            {"patch": "containers: null"},
            'number 2 takes the container "build" away, without which no job runs: let it be there',
            id="containers gone",
        ),
        pytest.param(
            {"patch": "[{op: replace, path: '', value: 1}]", "patch_type": "json"},
            "number 2 leaves no spec of a pod",
            id="spec gone",
        ),
    ],
)
def test_patch_fails_the_job_when(patch: dict[str, str], sentence: str) -> None:
    """The operator is told which patch, and what about it, before anything is created."""
    if not sentence:
        assert patched({}, patch)
        return

    with pytest.raises(JobConfigurationError) as caught:
        patched({"patch": "hostname: box"}, patch)

    assert "the pod_spec patch " in str(caught.value)
    assert sentence in str(caught.value)
    assert caught.value.reason is FailureReason.RUNNER_CONFIGURATION_ERROR


TABLES = ("containers", "tolerations", "nodeSelector", "env", "finalizers", "name", "x")
DIRECTIVES = ("$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/containers")
KEYS = st.sampled_from(TABLES + DIRECTIVES)
WORDS = st.sampled_from(["build", "helper", "delete", "replace", "merge", "a", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)
PATHS = st.lists(KEYS | st.sampled_from(["0", "1", "-1", "-", "-0", "01", "~", "~0"]), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": PATHS | VALUES},
    optional={"from": PATHS | VALUES, "value": VALUES},
)
PATCHES = st.tuples(st.sampled_from(["strategic", "merge"]), VALUES) | st.tuples(
    st.just("json"), st.lists(OPERATIONS | VALUES, max_size=3) | VALUES
)


@settings(deadline=None)
@given(st.lists(PATCHES, max_size=3))
def test_any_patch_is_applied_or_refused_by_its_name(patches: list[tuple[str, Any]]) -> None:
    """Whatever stands in patches, and whatever the one before left: a spec, or the sentence that names one of them."""
    entries = [PodPatch(name="p", patch=json.dumps(document), patch_type=kind) for kind, document in patches]
    before = deepcopy(SPEC)
    spec, refusal = SPEC, ""
    try:
        spec = apply_patches(SPEC, read_patches(entries, no_file))
    except JobConfigurationError as error:
        refusal = str(error)

    assert refusal.startswith('the pod_spec patch "p" ') or not refusal
    assert {"build", "helper"} <= {each["name"] for each in spec["containers"] if isinstance(each, dict)}
    assert before == SPEC
