"""What the documents say of metrics: each name is one that a manager shows, and each expression is one of PromQL."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from runner.status.board import StatusBoard
from runner.status.families import FAMILIES
from runner.status.metrics import Metrics
from runner.status.reference import metrics_page
from runner.testing.harness import harness
from tests.documents import ROOT

DASHBOARDS = sorted((ROOT / "docs/dashboards").glob("*.json"))
ALERTS = ROOT / "docs/alerts.yaml"
# Words of PromQL, the rest being names of metrics and labels.
FUNCTIONS = {
    "absent",
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "max",
    "min_over_time",
    "on",
    "or",
    "rate",
    "sum",
    "unless",
    "vector",
}
# Labels that Prometheus adds to what it reads.
SCRAPED = {"instance", "job"}
INTERVALS = {"$__rate_interval": "5m", "$instance": ".*", "$job": ".*"}


def rules() -> list[dict[str, Any]]:
    """Every rule of the alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels(path: Path) -> Iterator[dict[str, Any]]:
    """Every panel of a dashboard."""
    for panel in json.loads(path.read_text())["panels"]:
        yield from (panel, *panel.get("panels", ()))


def expressions() -> dict[str, str]:
    """Every expression of the documents, by what it is for."""
    found = {f"alert {rule['alert']}": str(rule["expr"]) for rule in rules()}
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel.get("targets", ()):
                found[f"{path.name} {panel['title']} {panel['id']}{target['refId']}"] = target["expr"]
    return found


def words(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that an expression names."""
    bare = re.sub(r"\[[^\]]*\]", "", expression)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", bare))
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", bare):
        labels |= {label.strip() for label in group.split(",")}
    bare = re.sub(r"\b(?:by|on)\s*\([^)]*\)", " ", re.sub(r"\{[^}]*\}", "", bare))
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - FUNCTIONS, labels


@pytest.fixture
async def shown() -> dict[str, set[str]]:
    """The samples that a manager shows after a job, as Prometheus' own parser reads them, with their labels."""
    metrics = Metrics()
    board = StatusBoard(system_id="s_0123456789ab", meter=metrics)
    metrics.watch(board)
    metrics.lagged(0)
    async with harness(board=board) as h:
        await h.run(script=["exit 1"], variables={"GIT_STRATEGY": "none"})
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(metrics.page()[0].decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        await h.wait_until_empty()
    # These have labels and no series before their first event.
    for each in FAMILIES:
        found.setdefault(each.name, set(each.labels))
    return found


async def test_documents_name_metrics_that_there_are(shown: dict[str, set[str]]) -> None:
    """A dashboard or an alert on a name or a label that nobody shows would be silent for ever."""
    wrong = {}
    for where, expression in expressions().items():
        names, labels = words(expression)
        known = set().union(SCRAPED, *(shown.get(name, set()) for name in names))
        unknown = {name for name in names if name not in shown} | (labels - known)
        if unknown or not names:
            wrong[where] = unknown
    assert wrong == {}


def test_dashboards_are_whole() -> None:
    """Each panel has an id of its own and lies on no other; each has a title and, but for rows, something to show."""
    assert DASHBOARDS
    for path in DASHBOARDS:
        found = list(panels(path))
        assert len({panel["id"] for panel in found}) == len(found)
        taken: set[tuple[int, int]] = set()
        for panel in found:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells
            assert panel["title"]
            assert panel["type"] == "row" or panel["targets"]


def test_alerts_say_what_to_do() -> None:
    """Each has a name of its own, a weight, a sentence and advice."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' own tool is not installed")
def test_expressions_are_taken_by_prometheus(tmp_path: Path) -> None:
    """Prometheus' own parser takes every alert, and every expression of the dashboards as if it were one."""
    taken = []
    for number, expression in enumerate(expressions().values()):
        for name, filled in INTERVALS.items():
            expression = expression.replace(name, filled)
        taken.append({"record": f"checked:{number}", "expr": expression})
    made = tmp_path / "dashboards.yaml"
    made.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": taken}]}))
    for path in (ALERTS, made):
        done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_table_of_metrics_is_the_registry() -> None:
    """docs/monitoring.md has what `python -m runner.status.reference` writes."""
    assert metrics_page() in (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    registered = {
        family.name if family.type != "counter" else f"{family.name}_total" for family in Metrics().registry.collect()
    }
    ours = {name for name in registered if name.startswith(("gitlab_runner_", "runner_"))}
    assert ours <= {family.name for family in FAMILIES}
    named = set(re.findall(r"^\| `((?:gitlab_)?runner_\w+)` \|", metrics_page(), re.MULTILINE))
    assert {family.name for family in FAMILIES} <= named
