"""Strategic merge: each result here is what `kubectl patch --type strategic` made of the same documents."""

from copy import deepcopy
from typing import Any

import pytest

from runner.podspec.strategic_merge import MERGE_KEYS, StrategicMergeError, strategic_merge

BUILD = {
    "name": "build",
    "image": "b",
    "args": ["a", "b"],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "resources": {"limits": {"cpu": "1"}},
}
HELPER = {"name": "helper", "image": "h"}
SIDE = {"name": "side", "image": "s"}
REPO, LOGS = {"name": "repo", "emptyDir": {}}, {"name": "logs", "emptyDir": {}}
SPEC: dict[str, Any] = {
    "containers": [BUILD, HELPER],
    "volumes": [REPO, LOGS],
    "nodeSelector": {"a": "1", "b": "2"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
GONE = object()


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        pytest.param({"hostname": "box"}, {"hostname": "box"}, id="a field"),
        pytest.param(
            {"nodeSelector": {"a": None}, "tolerations": None, "x": None},
            {"nodeSelector": {"b": "2"}, "tolerations": GONE},
            id="null deletes",
        ),
        pytest.param(
            {"containers": [{"name": "build", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}]},
            {
                "containers": [
                    {
                        **BUILD,
                        "env": [
                            {"name": "A", "value": "1"},
                            {"name": "B", "value": "3"},
                            {"name": "C", "value": "4"},
                        ],
                    },
                    HELPER,
                ]
            },
            id="containers and env by name",
        ),
        pytest.param({"containers": [SIDE]}, {"containers": [SIDE, BUILD, HELPER]}, id="a new element comes first"),
        pytest.param(
            {"containers": [{"name": "build", "image": "c"}, SIDE]},
            {"containers": [{**BUILD, "image": "c"}, SIDE, HELPER]},
            id="a new element after a known one stays behind it",
        ),
        pytest.param(
            {"containers": [{"name": "helper", "env": [{"name": "Z", "value": None, "valueFrom": {}}]}]},
            {"containers": [BUILD, {**HELPER, "env": [{"name": "Z", "valueFrom": {}}]}]},
            id="nulls of what is new are dropped",
        ),
        pytest.param(
            {
                "containers": [
                    {
                        "name": "helper",
                        "volumeMounts": [{"mountPath": "/x", "name": "logs"}],
                        "ports": [{"containerPort": 80}],
                    }
                ],
                "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
                "imagePullSecrets": [{"name": "s"}],
            },
            {
                "containers": [
                    BUILD,
                    {
                        **HELPER,
                        "volumeMounts": [{"mountPath": "/x", "name": "logs"}],
                        "ports": [{"containerPort": 80}],
                    },
                ],
                "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
                "imagePullSecrets": [{"name": "s"}],
            },
            id="lists that were not there",
        ),
        pytest.param(
            {"tolerations": [{"key": "z", "operator": "Exists"}]},
            {"tolerations": [{"key": "z", "operator": "Exists"}]},
            id="tolerations are replaced",
        ),
        pytest.param(
            {"containers": [{"name": "build", "args": ["z"]}]},
            {"containers": [{**BUILD, "args": ["z"]}, HELPER]},
            id="arguments are replaced",
        ),
        pytest.param({"volumes": [{"name": "repo", "$patch": "delete"}]}, {"volumes": [LOGS]}, id="$patch delete"),
        pytest.param(
            {"volumes": [{"$patch": "replace"}, {"name": "x", "emptyDir": {}}]},
            {"volumes": [{"name": "x", "emptyDir": {}}]},
            id="$patch replace for a list",
        ),
        pytest.param(
            {"volumes": [{"name": "repo", "$patch": "replace", "hostPath": {"path": "/x"}}]},
            {"volumes": []},
            id="$patch replace in an element empties the list",
        ),
        pytest.param(
            {"nodeSelector": {"$patch": "replace", "c": "3"}},
            {"nodeSelector": {"c": "3"}},
            id="$patch replace for a table",
        ),
        pytest.param({"nodeSelector": {"$patch": "delete"}}, {"nodeSelector": {}}, id="$patch delete for a table"),
        pytest.param(
            {"securityContext": {"$patch": "replace", "runAsUser": 3}}, {}, id="$patch where there is nothing to patch"
        ),
        pytest.param(
            {"volumes": [{"name": "repo", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]},
            {"volumes": [{"name": "repo", "hostPath": {"path": "/x"}}, LOGS]},
            id="$retainKeys",
        ),
        pytest.param(
            {"containers": [{"name": "build", "$deleteFromPrimitiveList/args": ["a"]}]},
            {"containers": [{**BUILD, "args": ["b"]}, HELPER]},
            id="$deleteFromPrimitiveList",
        ),
        pytest.param(
            {
                "$setElementOrder/volumes": [{"name": "logs"}, {"name": "repo"}],
                "volumes": [{"name": "logs", "emptyDir": {"medium": "Memory"}}],
            },
            {"volumes": [{"name": "logs", "emptyDir": {"medium": "Memory"}}, REPO]},
            id="$setElementOrder",
        ),
        pytest.param(
            {"$setElementOrder/volumes": [{"name": "logs"}, {"name": "repo"}]},
            {"volumes": [LOGS, REPO]},
            id="$setElementOrder alone",
        ),
    ],
)
def test_strategic_merge_is_kubectls_when(patch: dict[str, Any], changed: dict[str, Any]) -> None:
    """The spec differs in these fields, and neither document was touched."""
    spec, given = deepcopy(SPEC), deepcopy(patch)

    merged = strategic_merge(spec, given)

    assert merged == {key: value for key, value in {**SPEC, **changed}.items() if value is not GONE}
    assert (spec, given) == (SPEC, patch)


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        pytest.param(
            {"nodeSelector": {"$patch": "merge", "c": "3"}},
            {"nodeSelector": {"a": "1", "b": "2", "c": "3"}},
            id="table",
        ),
        pytest.param(
            {"volumes": [{"$patch": "merge"}, {"name": "repo", "$patch": "merge", "hostPath": {"path": "/x"}}]},
            {"volumes": [{**REPO, "hostPath": {"path": "/x"}}, LOGS]},
            id="element",
        ),
        pytest.param(
            {"securityContext": {"$patch": "merge", "runAsUser": 3}},
            {"securityContext": {"runAsUser": 3}},
            id="new table",
        ),
        pytest.param(
            {"tolerations": [{"$patch": "replace"}, {"key": "z"}]},
            {"tolerations": [{"key": "z"}]},
            id="replace what is replaced anyway",
        ),
        pytest.param(
            {
                "containers": [
                    {
                        **SIDE,
                        "env": [{"name": "A", "$patch": "delete"}],
                        "securityContext": {"$patch": "replace", "runAsUser": 1},
                    }
                ]
            },
            {"containers": [{**SIDE, "env": [], "securityContext": {"runAsUser": 1}}, BUILD, HELPER]},
            id="directives in a new element",
        ),
    ],
)
def test_strategic_merge_understands_more_when(patch: dict[str, Any], changed: dict[str, Any]) -> None:
    """kubectl refuses these or leaves a directive in its answer; what they mean is plain."""
    assert strategic_merge(SPEC, patch) == {**SPEC, **changed}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("containers", "name"),
        ("initContainers", "name"),
        ("ephemeralContainers", "name"),
        ("volumes", "name"),
        ("imagePullSecrets", "name"),
        ("schedulingGates", "name"),
        ("resourceClaims", "name"),
        ("hostAliases", "ip"),
        ("topologySpreadConstraints", "topologyKey"),
        ("env", "name"),
        ("ports", "containerPort"),
        ("volumeMounts", "mountPath"),
        ("volumeDevices", "devicePath"),
        ("ownerReferences", "uid"),
    ],
)
def test_strategic_merge_finds_elements_by_their_key_when_the_list_has_one(name: str, key: str) -> None:
    """These are all the lists of a pod's spec with a `patchMergeKey`, and no other list is merged."""
    first, second = {key: "a", "x": 1}, {key: "b", "x": 1}

    assert strategic_merge({name: [first, second]}, {name: [{key: "b", "x": 2}]}) == {name: [first, {key: "b", "x": 2}]}
    assert strategic_merge({"other": [first, second]}, {"other": [{key: "b"}]}) == {"other": [{key: "b"}]}
    assert len(MERGE_KEYS) == 14


def test_strategic_merge_unites_sets_when_a_claim_is_made_for_the_pod() -> None:
    """The finalizers of a claim's template are the only set in a pod's spec."""

    def volume(*finalizers: str) -> dict[str, Any]:
        template = {"metadata": {"finalizers": list(finalizers)}}
        return {"volumes": [{"name": "x", "ephemeral": {"volumeClaimTemplate": template}}]}

    assert strategic_merge(volume("a", "b"), volume("c", "b", "c")) == volume("c", "a", "b")


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"volumes": [{"emptyDir": {}}]}, 'has an element of "volumes" without "name", by which it is found'),
        ({"volumes": [{"$patch": "delete"}]}, 'has an element of "volumes" without "name", by which it is found'),
        ({"volumes": ["repo"]}, 'has an element of "volumes" that is no table'),
        ({"nodeSelector": {"$patch": "erase"}}, 'has "$patch: erase", which is none of delete, replace, merge'),
        ({"nodeSelector": {"$retainKeys": "a"}}, "has a $retainKeys that is no list"),
        ({"nodeSelector": {"$retainKeys": ["a"], "b": "1"}}, 'sets "b", which its $retainKeys does not name'),
        ({"$deleteFromPrimitiveList/x": "a"}, "has a $deleteFromPrimitiveList/x that is no list"),
        ({"$setElementOrder/volumes": "a"}, "has a $setElementOrder/volumes that is no list"),
        ({"$setElementOrder/volumes": ["a"]}, 'has or finds an element for $setElementOrder/volumes without "name"'),
        (
            {"$setElementOrder/tolerations": []},
            "has or finds an element for $setElementOrder/tolerations that is no plain value",
        ),
        ({"initContainers": [{"name": "i"}]}, 'finds an element in "initContainers" without "name"'),
        ({"finalizers": [{}]}, 'has or finds something in "finalizers" that is no text'),
    ],
    ids=[
        "no merge key",
        "nothing to delete",
        "no table",
        "directive",
        "retain keys",
        "not retained",
        "deletions",
        "order",
        "order without names",
        "order of tables",
        "a broken spec",
        "a set of tables",
    ],
)
def test_strategic_merge_refuses_when(patch: dict[str, Any], sentence: str) -> None:
    """What breaks the rules is told, with the place."""
    broken = {**SPEC, "initContainers": [{"image": "i"}], "finalizers": []}

    with pytest.raises(StrategicMergeError) as caught:
        strategic_merge(broken, patch)

    assert str(caught.value) == sentence
