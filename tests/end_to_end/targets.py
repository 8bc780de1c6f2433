"""Where an end-to-end test runs."""

from __future__ import annotations

import json
import subprocess
import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from runner.testing.harness import Harness, harness


@dataclass(frozen=True)
class Cluster:
    """Where an end-to-end test runs."""

    kind: str
    """`embedded` or `real`."""
    kubeconfig: str | None = None
    host: str = "127.0.0.1"
    namespace: str = "default"
    helper_image: str = "helper"
    busybox_image: str = "busybox:latest"
    debian_image: str = "debian"

    @property
    def is_real(self) -> bool:
        """Whether kubelets run the pods."""
        return self.kubeconfig is not None

    def harness(self, **over: Any) -> AbstractAsyncContextManager[Harness]:
        """Open a harness on this cluster; keywords as for `runner.testing.harness.harness`."""
        kubernetes = {"namespace": self.namespace, **over.pop("kubernetes", {})}
        if self.is_real:
            kubernetes = {"helper_image": self.helper_image, "pull_policy": "if-not-present", **kubernetes}
        over.setdefault("build_image", self.busybox_image)
        return harness(kubeconfig=self.kubeconfig, host=self.host, kubernetes=kubernetes, **over)

    def cache_volume(self) -> dict[str, Any]:
        """Keywords for a harness whose jobs share a folder for their caches; embedded pods always do."""
        if not self.is_real:
            return {}
        folder = {"name": "cache", "mount_path": "/cache", "host_path": self.kept_folder()}
        return {"kubernetes": {"volumes": {"host_path": [folder]}}}

    def kept_folder(self) -> str:
        """A new folder of the node that outlives jobs; `forget_kept_folders` removes it when the run ends."""
        return f"/tmp/{self._kept}/{uuid.uuid4()}"

    def forget_kept_folders(self) -> None:
        """Remove the folders that this run kept on the node; only a pod reaches them there."""
        node = {"name": "node", "hostPath": {"path": "/tmp"}}
        container = {
            "name": "forget",
            "image": self.busybox_image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["rm", "-rf", f"/node/{self._kept}"],
            "volumeMounts": [{"name": "node", "mountPath": "/node"}],
        }
        spec = {"restartPolicy": "Never", "containers": [container], "volumes": [node]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forget"}, "spec": spec}
        self.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        self.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/forget", "--timeout=60s", timeout=70)

    @property
    def _kept(self) -> str:
        return f"{self.namespace}-kept"

    def pod_of(self, job_id: int) -> str:
        """The name of a job's pod; pods of earlier tests with the same job id may still be going away."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"job.runner.gitlab.com/id={job_id}", "-o", "json"))
        (pod,) = (item["metadata"]["name"] for item in found["items"] if "deletionTimestamp" not in item["metadata"])
        return str(pod)

    def kubectl(self, *arguments: str, timeout: float = 30, stdin: str | None = None) -> str:
        """Run kubectl in the tests' namespace of the real cluster."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout, input=stdin)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout
