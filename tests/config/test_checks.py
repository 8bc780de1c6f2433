"""The check of a configuration as a whole: its rules, its order, its silence about secrets."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.cli.config_report import report
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
from runner.config.keys import is_array, nested_table, toml_key
from runner.config.kubernetes import KubernetesConfig
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


NASTY = st.one_of(
    st.sampled_from(["", "/", "..", "-1", "1e30", "1e31", "a=b", "[", "(?P<", "$", "${", "//@", "\x1b[2J", "{a: ["]),
    st.text(max_size=12),
)
VALUES = st.recursive(
    st.one_of(NASTY, st.integers(-(2**40), 2**40), st.booleans(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NASTY, inner, max_size=2)),
    max_leaves=4,
)


def some_table(model: type[Table], depth: int = 4) -> st.SearchStrategy[dict[str, object]]:
    """Tables with a model's keys and with values of the right kind and of wrong kinds."""
    columns: dict[str, st.SearchStrategy[object]] = {}
    for name, field in model.model_fields.items():
        nested = nested_table(field)
        if nested is None:
            fitting = {"str": NASTY, "int": st.integers(-(2**33), 2**33), "bool": st.booleans()}
            kind = getattr(field.annotation, "__name__", "")
            columns[toml_key(name, field)] = fitting.get(kind, st.one_of(st.lists(NASTY, max_size=2), VALUES))
        elif depth:
            table = some_table(nested, depth - 1)
            columns[toml_key(name, field)] = st.lists(table, max_size=2) if is_array(field) else table
    return st.fixed_dictionaries({}, optional={key: columns[key] for key in columns})


KEYS = st.sets(st.sampled_from(sorted(KubernetesConfig.model_fields)), max_size=6)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(tables=some_table(KubernetesConfig), kept=KEYS)
def test_no_configuration_makes_the_check_fail(tables: dict[str, object], kept: set[str]) -> None:
    """Whatever stands in `[runners.kubernetes]`, there are findings and no traceback, in every form."""
    document = tomlkit.parse(runner())
    document["runners"][0]["kubernetes"].update({key: value for key, value in tables.items() if key in kept})
    text = tomlkit.dumps(document)
    here = Surroundings(mode=0o644, read_text=lambda name: name, now=datetime(2026, 1, 1, tzinfo=UTC))
    findings = check_config(text, surroundings=here)
    for form in ("text", "json", "sarif", "junit"):
        assert report(form, findings, text=text, file="config.toml")
