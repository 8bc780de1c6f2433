"""Findings about a config.toml as text, JSON, SARIF and JUnit. Pure: findings in, text out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from runner import __version__
from runner.config.checks.excerpts import excerpt
from runner.config.findings import Finding
from runner.config.positions import Path, Place, positions

_COLOURS: Mapping[str, str] = MappingProxyType({"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"})
_BOLD, _FAINT, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report(form: str, findings: Sequence[Finding], *, text: str, file: str, colour: bool = False) -> str:
    """Write the findings about a configuration in one of the forms `text`, `json`, `sarif` and `junit`."""
    if form == "json":
        return as_json(findings, file=file)
    if form == "sarif":
        return as_sarif(findings)
    if form == "junit":
        return as_junit(findings, file=file)
    return as_text(findings, text=text, file=file, colour=colour)


def as_text(findings: Sequence[Finding], *, text: str, file: str, colour: bool) -> str:
    """Write each finding with its line and a mark under the key, then how many there are."""
    write = _TextReport(text, colour=colour)
    blocks = [write.finding(each) for each in findings]
    return "\n".join([*blocks, write.summary(findings, file)])


def as_json(findings: Sequence[Finding], *, file: str) -> str:
    """Write one object with all findings and their numbers."""
    counted = Counter(each.severity for each in findings)
    return _json(
        {
            "schema": 1,
            "file": file,
            "errors": counted["error"],
            "warnings": counted["warning"],
            "notes": counted["note"],
            "findings": [
                {
                    "severity": each.severity,
                    "rule": each.rule,
                    "file": each.file,
                    "line": each.line,
                    "column": each.column,
                    "path": each.path,
                    "message": _sentence(each),
                    "remedy": each.remedy,
                }
                for each in findings
            ],
        }
    )


def as_sarif(findings: Sequence[Finding]) -> str:
    """Write SARIF 2.1.0, which code scanning of GitHub, GitLab and editors reads."""
    from runner.config.checks.check import rule_sentences

    sentences = rule_sentences()
    used = list(dict.fromkeys(each.rule for each in findings))
    rules = [{"id": rule, "shortDescription": {"text": sentences.get(rule, rule)}} for rule in used]
    driver = {"name": "runner config check", "semanticVersion": __version__, "version": __version__, "rules": rules}
    results = [
        {
            "ruleId": each.rule,
            "ruleIndex": used.index(each.rule),
            "level": each.severity,
            "message": {"text": f"{each.path}: {_advice(each)}" if each.path else _advice(each)},
            "locations": [_sarif_location(each)],
        }
        for each in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return _json({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def as_junit(findings: Sequence[Finding], *, file: str) -> str:
    """Write JUnit's XML: a failed test for each error and warning, a skipped one for each note, and one for the file.

    GitLab tells tests apart by their names, so no two are called the same.
    """
    counted = Counter(each.severity for each in findings)
    failures, notes = counted["error"] + counted["warning"], counted["note"]
    attributes = f'tests="{len(findings) + 1}" failures="{failures}" skipped="{notes}" errors="0"'
    name = _attribute(file)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {attributes}>"]
    lines.append(f'  <testsuite name="runner config check" {attributes}>')
    lines.append(f'    <testcase classname={name} name="the file can be checked" file={name} time="0"/>')
    titles: Counter[str] = Counter()
    for each in findings:
        title = f"{each.rule}: {each.path}" if each.path else each.rule
        titles[title] += 1
        if titles[title] > 1:
            title += f" ({titles[title]})"
        case = f'classname={name} name={_attribute(title)} file={name} line="{each.line}" time="0"'
        kind = "skipped" if each.severity == "note" else "failure"
        what = f"{kind} type={_attribute(each.severity)} message={_attribute(_sentence(each))}"
        body = _xml(f"{_place(each)}: {each.severity}: {_advice(each)}")
        lines.append(f"    <testcase {case}>")
        lines.append(f"      <{what}>{body}</{kind}>" if kind == "failure" else f"      <{what}/>")
        lines.append("    </testcase>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


class _TextReport:
    """Findings for people."""

    def __init__(self, text: str, *, colour: bool) -> None:
        self._text = text.removeprefix("\ufeff")
        self._colour = colour
        self._places: Mapping[Path, Place] | None = None

    def finding(self, finding: Finding) -> str:
        """One finding: place, severity, sentence and rule; then its line, and the way out."""
        severity = self._painted(_COLOURS[finding.severity], finding.severity)
        rule = self._painted(_FAINT, f"[{finding.rule}]")
        place = self._painted(_BOLD, _place(finding))
        path = f"{finding.path}: " if finding.path else ""
        lines = [f"{place}: {severity}: {_printable(path + _sentence(finding))} {rule}"]
        lines += self._source(finding)
        if finding.remedy:
            lines.append(f"  {self._painted(_BOLD, 'help')}: {_printable(finding.remedy)}")
        return "\n".join(lines) + "\n"

    def summary(self, findings: Sequence[Finding], file: str) -> str:
        """Say how many findings of each severity there are, and whether that is all."""
        counted = Counter(each.severity for each in findings)
        parts = [_counted(number, severity) for severity, number in sorted(counted.items(), key=_by_weight)]
        if not parts:
            return f"{_printable(file)}: nothing found.\n"
        said = f"{_printable(file)}: {', '.join(parts)}.\n"
        if _is_unusable(findings):
            said += "The runner does not start with this file; more is looked for once its errors are gone.\n"
        return said

    def _source(self, finding: Finding) -> list[str]:
        """The line with a mark under what is meant, unless it might show a secret."""
        if finding.rule == "toml-syntax":
            # The text is no TOML, so nobody knows what is a value in it; the loader has chosen what may be seen.
            return [f"  {_printable(line)}" for line in finding.message.split("\n")[1:]]
        if self._places is None:
            self._places = positions(self._text)
        found = excerpt(self._text, self._places, Place(finding.line, finding.column))
        if found is None:
            return []
        number = str(finding.line)
        mark = self._painted(_COLOURS[finding.severity], "^" * found.length)
        bar = self._painted(_FAINT, "|")
        return [
            f"  {self._painted(_FAINT, number)} {bar} {_printable(found.text)}",
            f"  {' ' * len(number)} {bar} {' ' * found.start}{mark}",
        ]

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text


_OF_THE_LOADER = frozenset({"toml-syntax", "invalid-value", "too-many-labels"})


def _is_unusable(findings: Sequence[Finding]) -> bool:
    """Whether an error of the loader's kept the rules from looking."""
    return any(each.severity == "error" and each.rule in _OF_THE_LOADER for each in findings)


def _by_weight(counted: tuple[str, int]) -> int:
    return list(_COLOURS).index(counted[0])


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _place(finding: Finding) -> str:
    column = f":{finding.column}" if finding.column else ""
    return f"{_printable(finding.file)}:{finding.line}{column}"


def _sentence(finding: Finding) -> str:
    """What is wrong, without the lines that the loader quotes."""
    return finding.message.partition("\n")[0]


def _advice(finding: Finding) -> str:
    return f"{_sentence(finding)}; {finding.remedy}" if finding.remedy else _sentence(finding)


def _sarif_location(finding: Finding) -> dict[str, object]:
    from urllib.parse import quote

    uri = quote(finding.file)
    region = {"startLine": max(1, finding.line), **({"startColumn": finding.column} if finding.column else {})}
    artifact = {"uri": f"file://{uri}" if uri.startswith("/") else uri}
    location: dict[str, object] = {"physicalLocation": {"artifactLocation": artifact, "region": region}}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path, "kind": "property"}]
    return location


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _printable(text: str) -> str:
    """A text without anything that steers a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _xml(text: str) -> str:
    return _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return '"' + _xml(text).replace('"', "&quot;") + '"'
