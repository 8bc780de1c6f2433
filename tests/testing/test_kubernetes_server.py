"""The embedded API server keeps the rules that a client of a real one relies on."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config

from runner.testing.cluster.resources import RESOURCES
from runner.testing.cluster.schema import decode
from runner.testing.faults import FaultRule, Reply
from runner.testing.kubelets import Fate, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
Pod = Callable[..., dict[str, Any]]


@pytest.fixture
async def core(cluster: KubernetesServer, tmp_path: Path) -> AsyncIterator[kubernetes.CoreV1Api]:
    """The client library, configured by a kubeconfig."""
    configuration = kubernetes.Configuration()
    written = cluster.kubeconfig(tmp_path / "kubeconfig")
    await config.load_kube_config(config_file=str(written), client_configuration=configuration)
    async with kubernetes.ApiClient(configuration) as client:
        yield kubernetes.CoreV1Api(client)


# Objects


async def test_pod_lives_through_the_client_library_when_created_read_listed_and_deleted(
    core: kubernetes.CoreV1Api, cluster: KubernetesServer, make_pod: Pod
) -> None:
    """A typed client creates a pod, sees it run, finds it by label, deletes it and meets a 404."""
    manifest = make_pod()
    manifest["metadata"]["labels"] = {"job": "7"}
    created = await core.create_namespaced_pod("default", manifest)  # type: ignore[arg-type]  # dicts pass through
    assert created.status.phase == "Pending"
    (scripted,) = await cluster.kubelet.wait_pods(1)  # type: ignore[attr-defined]  # a ScriptedKubelet
    await scripted.running.wait()
    listed = await core.list_namespaced_pod("default", label_selector="job=7")
    assert [(item.metadata.name, item.status.phase) for item in listed.items] == [("job-1", "Running")]
    await core.delete_namespaced_pod("job-1", "default")
    await cluster.wait_until_gone()
    with pytest.raises(kubernetes.ApiException) as caught:
        await core.read_namespaced_pod("job-1", "default")
    assert (caught.value.status, '"reason":"NotFound"' in str(caught.value.body)) == (404, True)


async def test_server_fills_in_what_the_client_left_out_when_a_pod_is_created(api: Any, make_pod: Pod) -> None:
    """Defaults are those of the real server."""
    created = await api.create(make_pod())
    spec = created["spec"]
    assert spec["terminationGracePeriodSeconds"] == 30
    assert (spec["serviceAccountName"], spec["dnsPolicy"]) == ("default", "ClusterFirst")
    assert [one["imagePullPolicy"] for one in spec["containers"]] == ["IfNotPresent", "IfNotPresent"]
    assert {"uid", "resourceVersion", "creationTimestamp", "namespace"} <= set(created["metadata"])


async def test_name_is_made_up_when_only_its_beginning_is_given(api: Any, make_pod: Pod) -> None:
    """`generateName` gets five characters behind it, different ones each time."""
    manifest = make_pod()
    manifest["metadata"] = {"generateName": "runner-"}
    names = {(await api.create(manifest))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert {(name[:7], len(name)) for name in names} == {("runner-", 12)}


async def test_nothing_is_stored_when_the_run_is_dry(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """`dryRun=All` validates and answers as a creation does, and leaves no object."""
    status, created = await api.ask("POST", PODS, make_pod(), dryRun="All")
    assert (status, created["metadata"]["name"], cluster.objects()) == (201, "job-1", ())


async def test_second_object_of_a_name_is_refused(api: Any, make_pod: Pod) -> None:
    """409 AlreadyExists names the object."""
    await api.create(make_pod())
    status, answer = await api.ask("POST", PODS, make_pod())
    assert (status, answer["reason"]) == (409, "AlreadyExists")
    assert answer["message"] == 'pods "job-1" already exists'


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("application/merge-patch+json", {"metadata": {"labels": {"a": None, "b": "2"}}}),
        ("application/strategic-merge-patch+json", {"metadata": {"labels": {"a": None, "b": "2"}}}),
        (
            "application/json-patch+json",
            [{"op": "remove", "path": "/metadata/labels/a"}, {"op": "add", "path": "/metadata/labels/b", "value": "2"}],
        ),
    ],
    ids=["merge", "strategic", "json"],
)
async def test_patch_changes_what_it_names_and_nothing_else(api: Any, make_pod: Pod, kind: str, patch: object) -> None:
    """Every kind of patch ends in the same object."""
    manifest = make_pod()
    manifest["metadata"]["labels"] = {"a": "1", "c": "3"}
    before = await api.create(manifest)
    status, after = await api.ask("PATCH", f"{PODS}/job-1", patch, kind=kind)
    assert (status, after["metadata"]["labels"]) == (200, {"b": "2", "c": "3"})
    assert after["spec"]["containers"] == before["spec"]["containers"]


async def test_server_side_apply_is_refused_with_its_own_status(api: Any, make_pod: Pod) -> None:
    """415 UnsupportedMediaType, so that a client falls back."""
    await api.create(make_pod())
    status, answer = await api.ask("PATCH", f"{PODS}/job-1", {}, kind="application/apply-patch+yaml")
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")


async def test_replace_conflicts_when_the_object_has_changed_since(api: Any) -> None:
    """A PUT with an old resourceVersion is 409 Conflict, with the present one it is stored under a new version."""
    created = await api.create({"metadata": {"name": "s"}, "stringData": {"k": "1"}}, "secrets")
    fresh = {**created, "data": {"k": base64.b64encode(b"2").decode()}}
    assert (await api.ask("PUT", f"{SECRETS}/s", fresh))[0] == 200
    status, answer = await api.ask("PUT", f"{SECRETS}/s", fresh)
    assert (status, answer["reason"]) == (409, "Conflict")


async def test_spec_of_a_pod_cannot_be_changed(api: Any, make_pod: Pod) -> None:
    """422 Invalid: only images and a few numbers of a pod's spec may change."""
    await api.create(make_pod())
    patch = {"spec": {"restartPolicy": "Always"}}
    status, answer = await api.ask("PATCH", f"{PODS}/job-1", patch, kind="application/merge-patch+json")
    assert (status, "pod updates may not change fields" in answer["message"]) == (422, True)


# Refusals


def _without(field: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["spec"]["containers"][0].pop(field)


def _container(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["spec"]["containers"][0].update(fields)


def _spec(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["spec"].update(fields)


def _metadata(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["metadata"].update(fields)


@pytest.mark.parametrize(
    ("spoil", "field", "sentence"),
    [
        (_metadata(name="Job_1"), "metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
        (_metadata(labels={"a": "x" * 64}), "metadata.labels", "must be no more than 63 characters"),
        (_metadata(labels={"a": "-x"}), "metadata.labels", "a valid label must be an empty string or consist of"),
        (_metadata(labels={"a b": "x"}), "metadata.labels", "name part must consist of alphanumeric characters"),
        (_metadata(annotations={"x" * 64: ""}), "metadata.annotations", "name part must be no more than 63"),
        (_metadata(annotations={"a": "x" * 300_000}), "metadata.annotations", "Too long"),
        (_spec(containers=[]), "spec.containers", "Required value"),
        (_without("name"), "spec.containers[0].name", "Required value"),
        (_without("image"), "spec.containers[0].image", "Required value"),
        (_container(name="Build"), "spec.containers[0].name", "a lowercase RFC 1123 label must consist of"),
        (_container(name="helper"), "spec.containers[1].name", 'Duplicate value: "helper"'),
        (_container(imagePullPolicy="Sometimes"), "spec.containers[0].imagePullPolicy", "Unsupported value"),
        (_container(env=[{"name": "A=B", "value": "1"}]), "spec.containers[0].env[0].name", "printable ASCII"),
        (
            _container(volumeMounts=[{"name": "gone", "mountPath": "/x"}]),
            "spec.containers[0].volumeMounts[0].name",
            'Not found: "gone"',
        ),
        (
            _container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}),
            "spec.containers[0].resources.requests",
            "must be less than or equal to cpu limit of 1",
        ),
        (_spec(restartPolicy="Once"), "spec.restartPolicy", "Unsupported value"),
        (_spec(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds", "must be between 1 and"),
        (_spec(volumes=[{"name": "V", "emptyDir": {}}]), "spec.volumes[0].name", "RFC 1123 label"),
        (_spec(hostAliases=[{"ip": "localhost"}]), "spec.hostAliases[0].ip", "must be a valid IP address"),
        (_spec(tolerations=[{"value": "x"}]), "spec.tolerations[0].operator", "operator must be Exists"),
        (_spec(nodeSelector={"a": "b c"}), "spec.nodeSelector", "a valid label must be"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
async def test_pod_is_refused_when_a_field_is_wrong(
    api: Any, make_pod: Pod, spoil: Callable[[dict[str, Any]], None], field: str, sentence: str
) -> None:
    """422 Invalid names the field and the rule."""
    manifest = make_pod()
    spoil(manifest)
    status, answer = await api.ask("POST", PODS, manifest)
    assert (status, answer["reason"]) == (422, "Invalid"), answer
    assert [cause["field"] for cause in answer["details"]["causes"]] == [field]
    assert sentence in answer["details"]["causes"][0]["message"]


async def test_value_of_a_wrong_type_is_refused_with_its_place(api: Any, make_pod: Pod) -> None:
    """400 BadRequest in the words of Go's decoder."""
    manifest = make_pod()
    manifest["spec"]["containers"][0]["env"] = [{"name": "A", "value": 1}]
    status, answer = await api.ask("POST", PODS, manifest)
    assert (status, answer["message"]) == (
        400,
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field '
        "EnvVar.spec.containers.env.value of type string",
    )


async def test_quantity_that_is_none_is_refused_while_the_pod_is_read(api: Any, make_pod: Pod) -> None:
    """400 BadRequest, as for a wrong type, not 422."""
    manifest = make_pod()
    manifest["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "one"}}
    status, answer = await api.ask("POST", PODS, manifest)
    assert (status, "quantities must match the regular expression" in answer["message"]) == (400, True)


async def test_unknown_field_is_dropped_with_a_warning_or_refused_when_strict(api: Any, make_pod: Pod) -> None:
    """`fieldValidation` decides; a warning is a header."""
    manifest = make_pod(colour="red")
    status, answer = await api.ask("POST", PODS, manifest, fieldValidation="Strict")
    assert (status, answer["message"].endswith('strict decoding error: unknown field "spec.colour"')) == (400, True)
    async with api.session.post(PODS, json=manifest) as warned:
        assert warned.headers["Warning"] == '299 - "unknown field \\"spec.colour\\""'
        assert "colour" not in (await warned.json())["spec"]


def test_decode_keeps_every_field_of_a_whole_pod() -> None:
    """What the schema knows passes through unchanged, quantities that are numbers become text."""
    manifest = {
        "spec": {
            "containers": [{"name": "a", "resources": {"limits": {"cpu": 2}}, "ports": [{"containerPort": 80}]}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        }
    }
    decoded, unknown = decode(RESOURCES["pods"], manifest)
    manifest["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}  # type: ignore[index]
    assert (decoded, unknown) == (manifest, ())


@pytest.mark.parametrize(
    ("namespace", "account", "expected"),
    [
        ("nowhere", "default", (404, 'namespaces "nowhere" not found')),
        (
            "default",
            "ghost",
            (
                403,
                'pods "job-1" is forbidden: error looking up service account default/ghost: serviceaccount "ghost" '
                "not found",
            ),
        ),
    ],
    ids=["namespace", "service account"],
)
async def test_pod_is_refused_when_what_it_needs_is_not_there(
    api: Any, make_pod: Pod, namespace: str, account: str, expected: tuple[int, str]
) -> None:
    """A namespace must exist, and so must the pod's service account."""
    status, answer = await api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", make_pod(serviceAccountName=account))
    assert (status, answer["message"]) == expected


async def test_secret_is_refused_when_its_type_demands_a_key(api: Any) -> None:
    """A registry secret without its one key is 422 Invalid."""
    manifest = {"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": {}}
    status, answer = await api.ask("POST", SECRETS, manifest)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "data[.dockerconfigjson]")


# Lists and watches


async def _secrets(api: Any, count: int) -> None:
    for index in range(count):
        manifest = {"metadata": {"name": f"s-{index}", "labels": {"parity": "even" if index % 2 == 0 else "odd"}}}
        await api.create(manifest, "secrets")


async def test_pages_of_a_list_are_one_snapshot(api: Any) -> None:
    """What changes between two pages is seen in neither, and both carry the version of the first."""
    await _secrets(api, 5)
    _, first = await api.ask("GET", SECRETS, limit="2")
    await api.ask("DELETE", f"{SECRETS}/s-3")
    _, second = await api.ask("GET", SECRETS, limit="5", **{"continue": first["metadata"]["continue"]})
    names = [item["metadata"]["name"] for item in first["items"] + second["items"]]
    assert names == [f"s-{index}" for index in range(5)]
    assert first["metadata"]["remainingItemCount"] == 3
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert "continue" not in second["metadata"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"labelSelector": "parity=even"}, ["s-0", "s-2"]),
        ({"labelSelector": "parity!=even"}, ["s-1", "s-3"]),
        ({"labelSelector": "parity in (odd, none)"}, ["s-1", "s-3"]),
        ({"labelSelector": "parity notin (odd),parity"}, ["s-0", "s-2"]),
        ({"labelSelector": "!parity"}, []),
        ({"fieldSelector": "metadata.name=s-3"}, ["s-3"]),
        ({"fieldSelector": "metadata.name!=s-3,type=Opaque"}, ["s-0", "s-1", "s-2"]),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
async def test_selector_chooses_what_it_says(api: Any, query: dict[str, str], expected: list[str]) -> None:
    """Label and field selectors in all their forms."""
    await _secrets(api, 4)
    _, listed = await api.ask("GET", SECRETS, **query)
    assert [item["metadata"]["name"] for item in listed["items"]] == expected


async def test_selector_that_cannot_be_read_is_refused(api: Any) -> None:
    """400 BadRequest, never a list of everything."""
    status, answer = await api.ask("GET", SECRETS, fieldSelector="spec.colour=red")
    assert (status, answer["message"]) == (400, "field label not supported: spec.colour")


async def test_watch_tells_what_happened_since_its_version(api: Any) -> None:
    """Changes come once and in order; leaving the selection is DELETED, entering it is ADDED."""
    await _secrets(api, 1)
    _, listed = await api.ask("GET", SECRETS)
    version = listed["metadata"]["resourceVersion"]
    merge = "application/merge-patch+json"
    await api.ask("PATCH", f"{SECRETS}/s-0", {"metadata": {"annotations": {"a": "1"}}}, kind=merge)
    await api.ask("PATCH", f"{SECRETS}/s-0", {"metadata": {"labels": {"parity": "odd"}}}, kind=merge)
    await api.ask("PATCH", f"{SECRETS}/s-0", {"metadata": {"labels": {"parity": "even"}}}, kind=merge)
    await api.ask("DELETE", f"{SECRETS}/s-0")
    seen = []
    async for event in api.watch(SECRETS, resourceVersion=version, labelSelector="parity=even"):
        seen.append((event["type"], int(event["object"]["metadata"]["resourceVersion"])))
        if len(seen) == 4:
            break
    assert [kind for kind, _ in seen] == ["MODIFIED", "DELETED", "ADDED", "DELETED"]
    assert [number for _, number in seen] == sorted(number for _, number in seen)


async def test_watch_without_a_version_begins_with_what_is_there(api: Any) -> None:
    """Objects come as ADDED first, then changes."""
    await _secrets(api, 2)
    events = api.watch(SECRETS)
    first = [(await anext(events))["object"]["metadata"]["name"] for _ in range(2)]
    await api.ask("DELETE", f"{SECRETS}/s-1")
    assert (first, (await anext(events))["type"]) == (["s-0", "s-1"], "DELETED")
    await events.aclose()


@pytest.mark.slow
async def test_watch_ends_at_its_timeout_with_a_bookmark(api: Any) -> None:
    """`timeoutSeconds` ends it cleanly, and a bookmark names the last version before that."""
    await _secrets(api, 1)
    _, listed = await api.ask("GET", SECRETS)
    version = listed["metadata"]["resourceVersion"]
    events = [
        (event["type"], event["object"]["metadata"]["resourceVersion"])
        async for event in api.watch(SECRETS, resourceVersion=version, timeoutSeconds="1", allowWatchBookmarks="true")
    ]
    assert events == [("BOOKMARK", version)]


async def test_expired_history_ends_open_watches_and_refuses_old_versions(api: Any, cluster: KubernetesServer) -> None:
    """410 comes in-band to a watch, as an HTTP status to a page token, and a fresh list goes on."""
    await _secrets(api, 3)
    _, listed = await api.ask("GET", SECRETS, limit="1")
    version, token = listed["metadata"]["resourceVersion"], listed["metadata"]["continue"]
    events = api.watch(SECRETS, resourceVersion=version)
    await api.ask("DELETE", f"{SECRETS}/s-0")
    assert (await anext(events))["type"] == "DELETED"
    cluster.expire_history()
    ended = [(event["type"], event["object"].get("code")) async for event in events]
    again = [
        (event["type"], event["object"].get("code")) async for event in api.watch(SECRETS, resourceVersion=version)
    ]
    status, answer = await api.ask("GET", SECRETS, **{"continue": token})
    assert (ended, again, status, answer["reason"]) == ([("ERROR", 410)], [("ERROR", 410)], 410, "Expired")
    _, fresh = await api.ask("GET", SECRETS)
    assert len(fresh["items"]) == 2


async def test_streaming_list_is_refused_so_that_clients_fall_back(api: Any) -> None:
    """`sendInitialEvents` is answered as by a server without that feature."""
    status, answer = await api.ask("GET", SECRETS, watch="true", sendInitialEvents="true")
    assert (status, answer["reason"]) == (422, "Invalid")


# Ends


async def test_deletion_conflicts_when_the_uid_is_another(api: Any, make_pod: Pod) -> None:
    """A precondition protects the pod of the same name that somebody made since."""
    await api.create(make_pod())
    options = {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}}
    status, answer = await api.ask("DELETE", f"{PODS}/job-1", options)
    assert (status, answer["reason"], "does not match the UID in record" in answer["message"]) == (
        409,
        "Conflict",
        True,
    )


@pytest.mark.parametrize("kubelet", [ScriptedKubelet(Fate.never_runs())], ids=["never runs"])
async def test_pod_on_a_node_is_terminating_until_its_kubelet_is_done(api: Any, make_pod: Pod) -> None:
    """The deletion time is the end of the grace, and watchers see MODIFIED, then DELETED."""
    await api.create(make_pod(terminationGracePeriodSeconds=7))
    await api.pod_until("job-1", lambda manifest: "nodeName" in manifest["spec"])
    events = api.watch(PODS, fieldSelector="metadata.name=job-1")
    assert (await anext(events))["type"] == "ADDED"
    status, answer = await api.ask("DELETE", f"{PODS}/job-1")
    assert (status, answer["metadata"]["deletionGracePeriodSeconds"]) == (200, 7)
    kinds = []
    async for event in events:
        kinds.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert kinds[0] == "MODIFIED"


@pytest.mark.parametrize("kubelet", [ScriptedKubelet(Fate.unschedulable())], ids=["unschedulable"])
async def test_pod_without_a_node_goes_at_once(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """No kubelet has to be asked."""
    await api.create(make_pod())
    await api.pod_until("job-1", lambda manifest: bool(manifest["status"].get("conditions")))
    await api.ask("DELETE", f"{PODS}/job-1")
    assert cluster.objects() == ()


async def test_owned_objects_go_with_their_owner(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """Deleting a pod collects its secret, and an object made for an owner that is gone goes at once."""
    owner = await api.create(make_pod())
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "job-1", "uid": owner["metadata"]["uid"]}
    owned = {"metadata": {"name": "credentials", "ownerReferences": [reference]}}
    await api.create(owned, "secrets")
    await api.create({"metadata": {"name": "free"}}, "secrets")
    await api.ask("DELETE", f"{PODS}/job-1", {"gracePeriodSeconds": 0})
    assert cluster.objects() == ("secrets/default/free",)
    await api.create(owned, "secrets")
    assert cluster.objects() == ("secrets/default/free",)


async def test_finalized_object_stays_until_its_finalizer_goes(api: Any, cluster: KubernetesServer) -> None:
    """It carries a deletion time meanwhile."""
    await api.create({"metadata": {"name": "s", "finalizers": ["example.com/hold"]}}, "secrets")
    await api.ask("DELETE", f"{SECRETS}/s")
    _, held = await api.ask("GET", f"{SECRETS}/s")
    assert held["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    await api.ask("PATCH", f"{SECRETS}/s", patch, kind="application/merge-patch+json")
    assert cluster.objects() == ()


async def test_namespace_takes_its_content_with_it(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """Nothing new is let in while it goes, and it goes when it is empty."""
    await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "ci-job-1"}})
    await api.create(make_pod(), namespace="ci-job-1")
    assert cluster.objects() == ("namespaces/ci-job-1", "pods/ci-job-1/job-1")
    await api.ask("DELETE", "/api/v1/namespaces/ci-job-1")
    await cluster.wait_until_gone()


async def test_eviction_is_refused_while_a_disruption_budget_selects_the_pod(api: Any, make_pod: Pod) -> None:
    """429 TooManyRequests; without the budget the pod is marked and deleted."""
    manifest = make_pod()
    manifest["metadata"]["labels"] = {"job": "7"}
    await api.create(manifest)
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"job": "7"}}}
    await api.ask("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    status, answer = await api.ask("POST", f"{PODS}/job-1/eviction", {})
    assert (status, answer["reason"]) == (429, "TooManyRequests")
    await api.ask("DELETE", f"{budgets}/b")
    assert (await api.ask("POST", f"{PODS}/job-1/eviction", {}))[0] == 201


async def test_collection_is_deleted_by_selector(api: Any, cluster: KubernetesServer) -> None:
    """Only what matches goes."""
    await _secrets(api, 3)
    await api.ask("DELETE", SECRETS, labelSelector="parity=even")
    assert cluster.objects() == ("secrets/default/s-1",)


# Access


async def test_token_is_asked_for_and_tls_is_trusted_by_its_own_authority(
    client: Callable[[KubernetesServer], AbstractAsyncContextManager[Any]],
) -> None:
    """Without the token 401, with it and the authority's certificate an answer."""
    async with KubernetesServer(tls=True, token="secret-token") as server:
        async with client(server) as api:
            assert (await api.ask("GET", PODS))[0] == 200
            async with api.session.get(PODS, headers={"Authorization": "Bearer other"}) as refused:
                assert refused.status == 401
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(f"{server.url}/version")


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_attach_needs_both_verbs(api: Any, cluster: KubernetesServer, make_pod: Pod, verb: str) -> None:
    """A WebSocket is a GET, and `create` is asked for as well."""
    await api.create(make_pod())
    await api.phase("job-1", "Running")
    cluster.forbid(verb, "pods/attach")
    status, answer = await api.ask("GET", f"{PODS}/job-1/attach", container="build")
    assert status == 403
    assert f'cannot {verb} resource "pods/attach" in API group "" in the namespace "default"' in answer["message"]


async def test_review_tells_what_is_allowed(api: Any, cluster: KubernetesServer) -> None:
    """SelfSubjectAccessReview knows the rights that were taken away."""
    cluster.forbid("list", "pods", namespace="default")
    answers = []
    for verb in ("list", "watch"):
        attributes = {"verb": verb, "resource": "pods", "namespace": "default"}
        _, review = await api.ask(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {"spec": {"resourceAttributes": attributes}},
        )
        answers.append(review["status"]["allowed"])
    assert answers == [False, True]
    assert (await api.ask("GET", PODS))[0] == 403
    cluster.allow_all()
    assert (await api.ask("GET", PODS))[0] == 200


# Trouble on demand


async def test_outage_refuses_and_cuts_and_the_pods_live_on(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """Open watches break, new connections are refused, and after `restore` everything is as it was."""
    await api.create(make_pod())
    await api.phase("job-1", "Running")
    events = api.watch(PODS)
    await anext(events)
    await cluster.outage()
    with pytest.raises(aiohttp.ClientError):
        await anext(events)
    with pytest.raises(aiohttp.ClientConnectorError):
        await api.ask("GET", PODS)
    await cluster.restore()
    _, found = await api.ask("GET", f"{PODS}/job-1")
    assert found["status"]["phase"] == "Running"


async def test_cut_streams_breaks_every_stream_and_nothing_else(
    api: Any, cluster: KubernetesServer, make_pod: Pod
) -> None:
    """A watch and an attach are aborted at once; plain requests go on."""
    await api.create(make_pod())
    await api.phase("job-1", "Running")
    events = api.watch(PODS)
    await anext(events)
    async with api.stream("job-1", "attach", container="helper") as stream:
        await stream.step()
        assert cluster.cut_streams() == 2
        with pytest.raises(aiohttp.ClientError):
            await anext(events)
        assert await stream.step() is False
        assert stream.socket.close_code != 1000
    assert (await api.ask("GET", PODS))[0] == 200


async def test_fault_rule_stands_before_the_server(api: Any, cluster: KubernetesServer) -> None:
    """A rule answers for it, once."""
    cluster.faults.add(FaultRule("GET", "/pods$", Reply(503, body=b"{}")))
    assert [(await api.ask("GET", PODS))[0] for _ in range(2)] == [503, 200]


async def test_requests_are_recorded_as_roles_see_them(api: Any, cluster: KubernetesServer, make_pod: Pod) -> None:
    """Verbs of Kubernetes, not of HTTP."""
    await api.create(make_pod())
    await api.ask("GET", PODS)
    await api.ask("DELETE", f"{PODS}/job-1")
    assert cluster.requests == (("create", PODS), ("list", PODS), ("delete", f"{PODS}/job-1"))


async def test_wait_until_gone_names_what_is_left(api: Any, cluster: KubernetesServer) -> None:
    """A TimeoutError says which objects stayed."""
    await _secrets(api, 1)
    with pytest.raises(TimeoutError, match="secrets/default/s-0"):
        await cluster.wait_until_gone(timeout=0.01)


async def test_test_creates_and_deletes_without_a_request(cluster: KubernetesServer, make_pod: Pod) -> None:
    """The stranger's hand: no request is recorded."""
    cluster.create("secrets", {"metadata": {"name": "s"}})
    cluster.create("pods", make_pod())
    assert [manifest["metadata"]["name"] for manifest in cluster.manifests("secrets")] == ["s"]
    cluster.delete("pods", "job-1", grace_seconds=0)
    cluster.delete("secrets", "s")
    assert (cluster.objects(), cluster.requests) == ((), ())


async def test_server_is_started_and_closed_from_different_tasks(make_pod: Pod) -> None:
    """As pytest fixtures do it: no cancel scope is left in another task than it was entered in."""
    server = KubernetesServer()
    async with anyio.create_task_group() as group:
        group.start_soon(server.start)
    server.create("pods", make_pod())
    async with anyio.create_task_group() as group:
        group.start_soon(server.aclose)
    assert server.objects() == ("pods/default/job-1",)
