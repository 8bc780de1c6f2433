"""Findings about a configuration as text, JSON, SARIF and JUnit."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from runner import __version__
from runner.cli.config_report import as_json, as_junit, as_sarif, as_text, report
from runner.config.findings import Finding

TEXT = 'concurrent = 1\nlog_level = "loud"\n'
FINDINGS = (
    Finding("note", "a b.toml", 1, "concurrent", 'it is "small"', column=1, rule="small", remedy="raise <it>"),
    Finding("error", "a b.toml", 2, "log_level", "it is wrong", column=1, rule="log-level-unknown"),
    Finding("warning", "a b.toml", 2, "log_level", "it is doubtful\nlog_level", column=1, rule="log-level-unknown"),
)


def test_json_has_every_field() -> None:
    """One object: how many there are, and each with its place, sentence and remedy."""
    document = json.loads(as_json(FINDINGS, file="a b.toml"))
    assert {key: document[key] for key in ("schema", "file", "errors", "warnings", "notes")} == {
        "schema": 1,
        "file": "a b.toml",
        "errors": 1,
        "warnings": 1,
        "notes": 1,
    }
    assert document["findings"][0] == {
        "severity": "note",
        "rule": "small",
        "file": "a b.toml",
        "line": 1,
        "column": 1,
        "path": "concurrent",
        "message": 'it is "small"',
        "remedy": "raise <it>",
    }
    assert [each["message"] for each in document["findings"][1:]] == ["it is wrong", "it is doubtful"]


def test_sarif_has_rules_and_locations() -> None:
    """SARIF 2.1.0: each kind of finding once, each result with its rule's index and a region."""
    document = json.loads(as_sarif(FINDINGS))
    assert (document["version"], document["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    [run] = document["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("runner config check", __version__)
    assert driver["rules"] == [
        {"id": "small", "shortDescription": {"text": "small"}},
        {"id": "log-level-unknown", "shortDescription": {"text": "A level of the log is none."}},
    ]
    assert run["results"][0] == {
        "ruleId": "small",
        "ruleIndex": 0,
        "level": "note",
        "message": {"text": 'concurrent: it is "small"; raise <it>'},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a%20b.toml"},
                    "region": {"startLine": 1, "startColumn": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": "concurrent", "kind": "property"}],
            }
        ],
    }
    assert [(result["ruleIndex"], result["level"]) for result in run["results"][1:]] == [(1, "error"), (1, "warning")]


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("/etc/gitlab-runner/config.toml", "file:///etc/gitlab-runner/config.toml"),
        ("ü.toml", "%C3%BC.toml"),
        ("<stdin>", "%3Cstdin%3E"),
    ],
    ids=["absolute", "not ASCII", "standard input"],
)
def test_sarif_names_files_as_uris(file: str, uri: str) -> None:
    """A path is a URI reference; the finding for a whole file has no column."""
    [result] = json.loads(as_sarif([Finding("error", file, 1, "", "wrong", rule="toml-syntax")]))["runs"][0]["results"]
    assert result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}]


def test_junit_has_a_case_for_each_finding() -> None:
    """Errors and warnings fail, notes are skipped, names differ, and the file has a case that passes."""
    root = ElementTree.fromstring(as_junit(FINDINGS, file="a b.toml"))
    [suite] = root
    counts = {"tests": "4", "failures": "2", "skipped": "1", "errors": "0"}
    assert root.attrib == counts
    assert suite.attrib == {"name": "runner config check", **counts}
    assert [case.attrib["name"] for case in suite] == [
        "the file can be checked",
        "small: concurrent",
        "log-level-unknown: log_level",
        "log-level-unknown: log_level (2)",
    ]
    assert [[child.tag for child in case] for case in suite] == [[], ["skipped"], ["failure"], ["failure"]]
    failure = suite[2][0]
    assert (failure.attrib, failure.text) == (
        {"type": "error", "message": "it is wrong"},
        "a b.toml:2:1: error: it is wrong",
    )
    assert suite[1][0].attrib["message"] == 'it is "small"'
    assert suite[1].attrib["line"] == "1"


def test_junit_of_a_good_file_passes() -> None:
    """A report without a case would be taken for a broken one."""
    [suite] = ElementTree.fromstring(as_junit((), file="config.toml"))
    assert [len(case) for case in suite] == [0]


def test_text_steers_no_terminal() -> None:
    """A name in the file may hold anything; what is printed is printable."""
    finding = Finding("warning", "c.toml", 1, "a\x1b[2J", "x\x9by", column=1, rule="r")
    shown = as_text([finding], text='"a\\u001b[2J" = 1\n', file="c.toml", colour=False)
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_text_quotes_of_broken_toml_what_the_loader_lets_see() -> None:
    """The line of a syntax error comes with the loader's own mark."""
    finding = Finding("error", "c.toml", 2, "", "Invalid value\nb = \n    ^", column=5, rule="toml-syntax")
    assert as_text([finding], text="a = 1\nb = \n", file="c.toml", colour=False) == (
        "c.toml:2:5: error: Invalid value [toml-syntax]\n  b = \n      ^\n\n"
        "c.toml: 1 error.\nThe runner does not start with this file; more is looked for once its errors are gone.\n"
    )


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit"])
def test_every_form_takes_no_findings(form: str) -> None:
    """A good file is told in each form, with a line end."""
    assert report(form, (), text="", file="c.toml").endswith("\n")
