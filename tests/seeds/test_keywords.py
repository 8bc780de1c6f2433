"""Each keyword of the published documents works; none of their lists has a keyword without its test."""

from __future__ import annotations

import re

import pytest

from runner.config.findings import ConfigError
from tests.collected import missing
from tests.manifests import KUBERNETES, Made, made
from tests.seeds.keywords import (
    ENVIRONMENT,
    OF_2016,
    OF_2018,
    OF_2020,
    OF_REGISTRATION,
    SECURITY_OPTIONS,
    VARIABLES,
    VOLUME_OPTIONS,
    Shown,
)
from tests.seeds.published import block

KEYWORDS: dict[str, Shown | str] = {
    **{f"000-{name}": way for name, way in OF_2016.items()},
    **{f"001-{name}": way for name, way in OF_2020.items()},
    **{f"001-{kind}-{name}": way for kind, options in VOLUME_OPTIONS.items() for name, way in options.items()},
    **{f"001-pod_security_context-{name}": way for name, way in SECURITY_OPTIONS.items()},
    **{f"001-{name}": way for name, way in VARIABLES.items()},
    **{f"004-{name}": way for name, way in OF_2018.items()},
}
SHOWN = {name: way for name, way in KEYWORDS.items() if isinstance(way, Shown)}
ELSEWHERE = {name: way for name, way in KEYWORDS.items() if isinstance(way, str)}


def pod_with(lines: str, way: Shown) -> Made:
    """The pod of a file with these lines."""
    return made(KUBERNETES + lines, variables=way.variables, services=way.services)


@pytest.mark.parametrize("name", SHOWN)
def test_keyword_shows_in_the_pod(name: str) -> None:
    """The file with the keyword gives its value in the pod, the same file without it does not."""
    way = SHOWN[name]
    assert pod_with(f"{way.base}\n{way.toml}\n", way).at(way.at) == way.value
    if way.required:
        with pytest.raises(ConfigError, match="The key is missing"):
            pod_with(f"{way.base}\n", way)
    else:
        assert pod_with(f"{way.base}\n", way).at(way.at) != way.value


@pytest.mark.slow
def test_keyword_that_shows_elsewhere_has_its_test() -> None:
    """Every test that the table names is there."""
    assert missing(sorted(set(ELSEWHERE.values()))) == []


def bullets(name: str) -> set[str]:
    """The keywords of a list."""
    return set(re.findall(r"^- `(\w+)`", block(name), re.MULTILINE))


def options(text: str) -> set[str]:
    """The options of a table."""
    return set(re.findall(r"^\| (\w+) +\|", text, re.MULTILINE)) - {"Option"}


def test_every_keyword_of_the_manual_of_2016_has_its_test() -> None:
    """The table is as long as the manual's lists."""
    assert set(OF_2016) == bullets("000-connection.md") | bullets("000-keywords.md")


def test_every_keyword_of_the_manual_of_2020_has_its_test() -> None:
    """The table is as long as the manual's lists."""
    assert set(OF_2020) == bullets("001-connection.md") | bullets("001-keywords.md")


def test_every_option_of_the_manuals_tables_has_its_test() -> None:
    """Each table of volumes and of the security context is here with all of its rows."""
    _, *sections = re.split(r"^### (.*) volumes$", block("001-volumes.md"), flags=re.MULTILINE)
    tables = {sections[i]: options(sections[i + 1]) for i in range(0, len(sections), 2)}
    assert {kind: set(ways) for kind, ways in VOLUME_OPTIONS.items()} == tables
    assert set(SECURITY_OPTIONS) == options(block("001-security-context.md"))


def test_every_keyword_of_the_manual_of_2018_has_its_test() -> None:
    """Its lists are lost with its markup: what is left stands in its example and its text."""
    keys = set(re.findall(r"^ {4}(\w+) =", block("004-example.toml"), re.MULTILINE))
    in_text = set(re.findall(r"\b\w+_overwrite_allowed\b", block("004-overwrites.txt")))
    assert set(OF_2018) == keys | in_text | {"node_selector"}


@pytest.mark.parametrize("name", ["001-overwrites.md", "004-overwrites.txt"])
def test_every_variable_of_the_manuals_has_its_test(name: str) -> None:
    """A variable is a job's or one for `register`; both have their table."""
    named = set(re.findall(r"KUBERNETES_[A-Z_]*[A-Z]_?", block(name)))
    assert named - set(VARIABLES) - set(ENVIRONMENT) == set()


def test_every_variable_of_the_post_has_its_test() -> None:
    """The post of 2017 configures by environment alone."""
    named = set(re.findall(r"^  ([A-Z_]+): \"", block("002-environment.yaml"), re.MULTILINE))
    named |= set(re.findall(r"\[\$(\w+)\]", block("002-help.txt")))
    named |= {name for name in re.findall(r"\$\{(\w+)\}", block("002-scripts.yaml")) if name.isupper()}
    assert named - set(ENVIRONMENT) - OF_REGISTRATION == set()
    assert len(named) == 26
