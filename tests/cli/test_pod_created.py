"""What `runner pod` prints is what the executor creates: the bodies of its requests, object by object."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from runner.cli.pod_render import render
from runner.testing.harness import SYSTEM_ID, harness
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.payloads import image, variable

pytestmark = pytest.mark.slow

CONFIGURATION: dict[str, Any] = {
    "namespace_per_job": True,
    "pod_disruption_budget": True,
    "pull_policy": ["if-not-present", "always"],
    "cpu_limit_overwrite_max_allowed": "4",
    "pod_labels": {"team": "$TEAM"},
    "node_selector": {"kubernetes.io/os": "linux"},
    "services": [{"name": "redis:7", "alias": "cache", "environment": ["PASSWORD=swordfish"]}],
    "pod_spec": [{"patch": "hostname: ci"}],
}
JOB: dict[str, Any] = {
    "image": image("python:3.12", ports=[{"number": 80}]),
    "services": [image("postgres:16", alias="db", variables=[variable("POSTGRES_PASSWORD", "$SECRET")])],
    "credentials": [{"type": "registry", "url": "r.example.com", "username": "u", "password": "letmein"}],
    "variables": [
        variable("GIT_STRATEGY", "none"),
        variable("TEAM", "checkout"),
        variable("SECRET", "hunter2hunter2", masked=True),
        variable("KUBERNETES_CPU_LIMIT", "2", public=True),
    ],
}


def steady(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give an object the fixed form of what is another one each time."""
    text = json.dumps(manifest)
    text = re.sub(r"(concurrent-\d+|[\"]build)-[a-z0-9]{8}\b", r"\1-xxxxxxxx", text)
    text = text.replace(SYSTEM_ID, "s_xxxxxxxxxxxx")
    text = re.sub(r'("uid": )"[^"]+"', r'\1"<uid of the pod>"', text)
    made: dict[str, Any] = json.loads(text)
    annotations = made["metadata"]["annotations"]
    annotations["job.runner.gitlab.com/expires-at"] = "<2h0m0s after it is made>"
    if "job.runner.gitlab.com/sha256" in annotations:
        annotations["job.runner.gitlab.com/sha256"] = "<checksum>"
        made["data"] = dict.fromkeys(made["data"], "<hidden>")
    return made


def by_name(manifests: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind and name; those that the pod owns are made at once, in no order."""
    return {f"{each['kind']} {each['metadata']['name']}": each for each in manifests}


async def test_printed_objects_are_the_created_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespace, Secrets, pod, budget and Service of one job, field by field."""
    monkeypatch.delenv("RUNNER_HELPER_IMAGE", raising=False)
    async with harness(
        kubelet=ScriptedKubelet(),
        kubernetes=CONFIGURATION,
        runner={
            "environment": ["STAGE=prod"],
            "feature_flags": {"FF_USE_ADVANCED_POD_SPEC_CONFIGURATION": True},
        },
    ) as h:
        job = await h.run(**JOB)
        assert job.state == "success", job.text
        assert h.cluster is not None
        bodies = [json.loads(each.body) for each in h.cluster.faults.requests if each.method == "POST" and each.body]
        rendered = render(job.payload, h.config.runners[0])
    created = by_name(steady(body) for body in bodies)
    printed = by_name(rendered.manifests)
    assert len(printed) == 7
    assert created == printed
    assert list(created)[:4] == list(printed)[:4]
