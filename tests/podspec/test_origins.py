"""Where a field's value comes from, by experiment: what moves when an input goes."""

from __future__ import annotations

from typing import Any

import pytest

from runner.podspec.origins import Difference, alternatives, changed, leaves, origins, with_value, without


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    """A pod with a spec."""
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def secret(name: str, **data: str) -> dict[str, Any]:
    """A Secret."""
    return {"kind": "Secret", "metadata": {"name": name}, "data": data}


def test_leaves_are_what_holds_nothing_else() -> None:
    """Scalars, nulls, and empty tables and lists, in the document's order."""
    document = {"a": {"b": [1, {"c": None}]}, "d": {}, "e": [], "f": False}
    assert list(leaves(document)) == [
        (("a", "b", 0), 1),
        (("a", "b", 1, "c"), None),
        (("d",), {}),
        (("e",), []),
        (("f",), False),
    ]


ITEMS: dict[str, tuple[list[Any], list[Any], set[int]]] = {
    "the same": ([{"name": "a", "x": 1}], [{"name": "a", "x": 1}], set()),
    "one went, by name": ([{"name": "a", "x": 1}, {"name": "b", "x": 2}], [{"name": "b", "x": 2}], {0}),
    "order changed, by name": ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}], set()),
    "one came, by name": ([{"name": "b"}], [{"name": "a"}, {"name": "b"}], set()),
    "names twice, told by mount path": (
        [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}],
        [{"name": "v", "mountPath": "/b"}],
        {0},
    ),
    "one went, scalars": (["a", "b", "c"], ["b", "c"], {0}),
    "the same scalar twice": (["a", "a"], ["a"], {1}),
    "one changed, scalars": (["a", "b"], ["a", "x"], {1}),
    "one went, tables without names": ([{"k": 1}, {"k": 2}], [{"k": 2}], {0}),
    "one changed, tables without names": ([{"k": 1}, {"k": 2}], [{"k": 1}, {"k": 3}], {1}),
    "all went": ([1, 2], [], {0, 1}),
    "another address": ([{"ip": "10.0.0.1"}], [{"ip": "10.0.0.2"}], {0}),
}


@pytest.mark.parametrize(("base", "other", "moved"), ITEMS.values(), ids=ITEMS)
def test_items_of_lists_are_known_again(base: list[Any], other: list[Any], moved: set[int]) -> None:
    """An item that came, went or moved makes no others of its neighbours."""
    assert {path[1] for path in changed({"list": base}, {"list": other}).leaves} == moved


def test_an_item_with_a_new_name_is_the_same_otherwise() -> None:
    """Of a container that is called otherwise only the name has moved."""
    base = [{"name": "svc-0", "image": "redis"}, {"name": "build", "image": "a"}]
    other = [{"name": "db", "image": "redis"}, {"name": "build", "image": "a"}]
    assert changed(base, other) == Difference(frozenset({(0, "name")}))


def test_another_type_is_another_value() -> None:
    """A table in place of a scalar, an empty one in place of a full one: all that was there has moved."""
    assert changed({"a": {"b": 1, "c": 2}}, {"a": 1}).leaves == {("a", "b"), ("a", "c")}
    assert changed({"a": {}}, {"a": {"b": 1}}).leaves == {("a",)}
    assert changed({"a": 1}, {"a": "1"}).leaves == {("a",)}
    assert changed({"a": None}, {}).leaves == {("a",)}


def test_objects_are_told_apart_without_their_pods_name() -> None:
    """A pod of another name moves the names, and no Secret becomes another one's."""
    base = [secret("p-environment", a="1"), pod("p", x=1), secret("p-job-0", b="2")]
    other = [pod("q", x=1), secret("q-job-0", b="2")]
    difference = changed(base, other)
    assert difference.leaves == {(0, "kind"), (1, "metadata", "name"), (2, "metadata", "name")}
    assert difference.wholes


def test_each_leaf_has_the_causes_that_move_it() -> None:
    """In the order of the experiments; a leaf that nothing moves has none."""
    base = [pod(cpu="1", image="a", fixed=True)]
    found = origins(
        base,
        [
            ("variable CPU", [[pod(cpu="2", image="a", fixed=True)]]),
            ("config.toml:3 cpu", [[pod(image="a", fixed=True)]]),
            ("config.toml:4 idle", [base]),
            ("job image", [[pod(cpu="1", image="b", fixed=True)]]),
        ],
    )
    assert found == {
        (0, "spec", "cpu"): ("variable CPU", "config.toml:3 cpu"),
        (0, "spec", "image"): ("job image",),
    }


def test_the_first_outcome_that_differs_counts() -> None:
    """What comes behind it in an experiment is not built."""
    base = [pod(a=1)]

    def outcomes() -> Any:
        yield base
        yield [pod(a=2)]
        raise AssertionError("the answer was known")

    assert origins(base, [("key", outcomes())]) == {(0, "spec", "a"): ("key",)}


def test_a_whole_that_goes_is_explained_on_its_first_leaf() -> None:
    """Why a container is there says nothing of its parts; the next outcome tells which of them the cause decides."""
    build = {"name": "build", "image": "a"}
    service = {"name": "svc-0", "image": "redis", "stdin": True}
    base = [pod(containers=[build, service])]
    found = origins(
        base,
        [("job", [[pod(containers=[build])], [pod(containers=[build, {**service, "image": "redisx"}])]])],
    )
    assert found == {(0, "spec", "containers", 1, "name"): ("job",), (0, "spec", "containers", 1, "image"): ("job",)}


def test_a_document_without_a_value_is_a_copy() -> None:
    """Tables lose the key, lists the element; the document itself stays as it was."""
    document = {"a": [{"b": 1, "c": 2}, 3]}
    assert without(document, ("a", 0, "b")) == {"a": [{"c": 2}, 3]}
    assert without(document, ("a", 1)) == {"a": [{"b": 1, "c": 2}]}
    assert with_value(document, ("a", 0, "b"), 9) == {"a": [{"b": 9, "c": 2}, 3]}
    assert document == {"a": [{"b": 1, "c": 2}, 3]}


@pytest.mark.parametrize(
    ("value", "others"),
    [(True, (False,)), (3, (4,)), (1.5, (2.5,)), ("ab", ("abx", "xab")), (None, ()), ([], ())],
    ids=repr,
)
def test_alternatives_are_of_the_same_kind(value: object, others: tuple[object, ...]) -> None:
    """Something else of the same type, where there is something."""
    assert alternatives(value) == others
