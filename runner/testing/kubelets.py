"""The kubelets of `KubernetesServer`, and what they are told.

Public: `ProcessKubelet` runs containers as real processes of this machine, `ScriptedKubelet` plays fates from a script.
This is the door; the rooms are in `runner.testing.cluster`.
"""

from __future__ import annotations

from runner.testing.cluster.fates import Fate, Mishap, Rule, Script, Waiting
from runner.testing.cluster.kubelet import Kubelet
from runner.testing.cluster.process_kubelet import ProcessKubelet
from runner.testing.cluster.scripted_kubelet import ScriptedKubelet, ScriptedPod

__all__ = ["Fate", "Kubelet", "Mishap", "ProcessKubelet", "Rule", "Script", "ScriptedKubelet", "ScriptedPod", "Waiting"]
