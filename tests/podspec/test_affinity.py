"""Affinity: what is not there, and what is there and empty. The whole of each rule stands in the table of keys."""

from typing import Any

import pytest

from runner.config.affinity import AffinityConfig
from runner.podspec.affinity import build_affinity

REQUIRED = "required_during_scheduling_ignored_during_execution"
PREFERRED = "preferred_during_scheduling_ignored_during_execution"
SENT_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SENT_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("config", "affinity"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"node_affinity": {}, "pod_affinity": {}, "pod_anti_affinity": {}}, {}, id="empty tables"),
        pytest.param({"node_affinity": {REQUIRED: {}}}, {}, id="no terms"),
        pytest.param(
            {"node_affinity": {REQUIRED: {"node_selector_terms": [{}, {"match_fields": []}]}}},
            {"nodeAffinity": {SENT_REQUIRED: {"nodeSelectorTerms": [{}, {}]}}},
            id="an empty term matches nothing, and is sent",
        ),
        pytest.param(
            {
                "node_affinity": {
                    REQUIRED: {"node_selector_terms": [{"match_expressions": [{"key": "gpu", "operator": "Exists"}]}]}
                }
            },
            {
                "nodeAffinity": {
                    SENT_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]}
                }
            },
            id="an operator without values",
        ),
        pytest.param(
            {"node_affinity": {PREFERRED: [{"weight": 1}]}},
            {"nodeAffinity": {SENT_PREFERRED: [{"weight": 1, "preference": {}}]}},
            id="a wish for nothing",
        ),
        pytest.param(
            {"pod_affinity": {REQUIRED: [{"topology_key": "zone"}]}},
            {"podAffinity": {SENT_REQUIRED: [{"topologyKey": "zone"}]}},
            id="no selector is no pod and the own namespace",
        ),
        pytest.param(
            {"pod_affinity": {REQUIRED: [{"topology_key": "zone", "label_selector": {}, "namespace_selector": {}}]}},
            {"podAffinity": {SENT_REQUIRED: [{"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {}}]}},
            id="an empty selector is every pod and every namespace",
        ),
    ],
)
def test_build_affinity_when(config: dict[str, Any], affinity: dict[str, Any]) -> None:
    """An empty table is sent where Kubernetes takes it for something."""
    assert build_affinity(AffinityConfig.model_validate(config)) == affinity
