"""The check of a configuration as a whole: its rules, its order, its silence about secrets."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.config.base import Table
from runner.config.checks.check import (
    KUBERNETES_RULES,
    RUNNER_RULES,
    WHOLE_RULES,
    check_config,
    rule_sentences,
)
from runner.config.checks.loading import TOLD_BY_LOADER
from runner.config.checks.rules import Surroundings
from runner.config.doubts import doubts
from runner.config.keys import nested_table
from runner.config.model import Config
from runner.config.values import Doubt
from tests.config.check_cases import Case, kubernetes, line, runner, top
from tests.documents import ROOT


def cases() -> Iterator[Case]:
    """Every case of every subject."""
    for path in sorted(Path(__file__).parent.glob("test_checks_*.py")):
        module = importlib.import_module(f"tests.config.{path.stem}")
        yield from getattr(module, "CASES", ())


def test_every_rule_is_seen_to_speak_and_to_be_silent() -> None:
    """Each kind of finding has a case of its own."""
    assert {case.rule for case in cases()} == set(rule_sentences()) - {"environment-unset"}


def test_names_of_rules_are_lower_case_with_hyphens_and_unique() -> None:
    """Pipelines name rules, so two rules never share a name."""
    names = [
        *(rule.id for rule in WHOLE_RULES),
        *(rule.id for rule in RUNNER_RULES),
        *(rule.id for rule in KUBERNETES_RULES),
        *TOLD_BY_LOADER,
    ]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


@pytest.mark.parametrize(("rule", "sentence"), sorted(rule_sentences().items()))
def test_rule_says_in_a_sentence_what_it_is_about(rule: str, sentence: str) -> None:
    """Code scanners show the sentence beside the name."""
    assert re.fullmatch(r"[A-Z`][^\n]{10,110}\.", sentence), rule


def test_kinds_of_the_loader_are_known() -> None:
    """Whatever the loader marks or names has its entry, so that a check knows the way out."""
    named = set()
    tables: list[type[Table]] = [Config]
    for table in tables:
        for field in table.model_fields.values():
            named |= {mark.rule for mark in field.metadata if isinstance(mark, Doubt)}
            nested = nested_table(field)
            if nested is not None and nested not in tables:
                tables.append(nested)
    source = "".join(
        (ROOT / "runner/config" / name).read_text(encoding="utf-8") for name in ("load.py", "keys.py", "security.py")
    )
    named |= set(re.findall(r'(?:warning|error|_warn)\([^"]*?"([a-z]+(?:-[a-z0-9]+)+)"', source))
    assert named <= set(TOLD_BY_LOADER)
    assert len(named) > 15
    assert list(doubts(Config())) == []


def test_good_configuration_has_no_findings() -> None:
    """The text that the tables begin with is without fault in any surroundings."""
    here = Surroundings(mode=0o600, read_text=lambda _: "", now=datetime(2026, 1, 1, tzinfo=UTC))
    assert check_config(runner(), surroundings=here) == ()


def test_findings_come_in_the_order_of_the_text() -> None:
    """Those of the loader and those of the rules are told together, line by line and column by column."""
    text = top('log_level = "loud"') + 'poll_timeout = 1\ncpu_limt = "1"\nnode_selector = { "a b" = "c" }\n'
    places = [(found.rule, found.line, found.column) for found in check_config(text)]
    assert places == [
        ("log-level-unknown", 2, 1),
        ("poll-timeout-below-interval", 12, 1),
        ("unknown-key", 13, 1),
        ("node-selector-form", 14, 19),
    ]


def test_rules_wait_until_the_loader_has_no_errors() -> None:
    """With a wrong type nothing is said of what values do to each other."""
    text = kubernetes('poll_timeout = 1\nprivileged = "yes"')
    assert [found.rule for found in check_config(text)] == ["invalid-value"]


def test_text_that_is_no_toml_is_one_finding() -> None:
    """Its place is where the text stops being TOML."""
    found = check_config("concurrent = 1\n[[runners]\n", file="here.toml")
    assert [(each.rule, each.file, each.line) for each in found] == [("toml-syntax", "here.toml", 2)]


def test_variable_without_a_value_is_a_warning() -> None:
    """The runner's environment is its own: here the variable may be unset."""
    text = runner('url = "https://$GITLAB"\ntoken = "${RUNNER_TOKEN}"')
    assert [(found.rule, line(found)) for found in check_config(text, environ={"GITLAB": ""})] == [
        ("environment-unset", "warning url: GITLAB has no value in this environment"),
        ("environment-unset", "warning token: RUNNER_TOKEN has no value in this environment"),
    ]
    assert check_config(text, environ={"GITLAB": "gitlab.example.com", "RUNNER_TOKEN": "glrt-x1"}) == ()


def test_runner_that_is_left_out_does_not_shift_the_others() -> None:
    """Paths and lines are those of the file, where the runner of another executor counts too."""
    text = (
        '[[runners]]\nexecutor = "docker"\n[[runners]]\nurl = "https://gitlab.example.com"\ntoken = "glrt-x1"\n'
        'executor = "kubernetes"\nlimit = -1\n'
    )
    [found] = [found for found in check_config(text) if found.rule == "limit-negative"]
    assert (found.path, found.line) == ("runners.1.limit", 7)


def test_former_key_is_told_where_it_stands() -> None:
    """A rule about today's key points at the key of former times that has set it."""
    [found] = [found for found in check_config(kubernetes('cpus = "900"')) if found.rule == "cpu-too-large"]
    assert (found.path, found.line, found.column) == ("runners.0.kubernetes.cpus", 11, 1)


@pytest.mark.parametrize("case", tuple(cases()), ids=str)
def test_no_secret_is_told(case: Case) -> None:
    """The tables' texts hold secrets in every place that may have one; no finding repeats them."""
    found = check_config(case.fires, surroundings=case.surroundings)
    assert "s3cret" not in repr(found).lower()
