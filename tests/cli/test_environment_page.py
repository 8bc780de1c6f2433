"""The page of the environment, and what goes before what: a flag, a variable, a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.cli.environment_page import page, variables
from runner.cli.runner_flags import entry_of, template_entry
from runner.config.inputs import Input, inputs

ROOT = Path(__file__).parents[2]

OF_ALL_ERAS = re.findall(
    r"\w+",
    """
METRICS_SERVER LISTEN_ADDRESS
CI_SERVER_URL REGISTRATION_TOKEN CI_SERVER_TOKEN RUNNER_EXECUTOR RUNNER_NAME RUNNER_TAG_LIST RUNNER_LIMIT RUNNER_ENV
RUNNER_SHELL RUNNER_BUILDS_DIR RUNNER_CACHE_DIR RUNNER_REQUEST_CONCURRENCY REGISTER_NON_INTERACTIVE REGISTER_LOCKED
REGISTER_RUN_UNTAGGED REGISTER_LEAVE_RUNNER REGISTER_PAUSED REGISTER_ACCESS_LEVEL REGISTER_MAXIMUM_TIMEOUT
REGISTER_MAINTENANCE_NOTE TEMPLATE_CONFIG_FILE CONFIG_FILE LOG_LEVEL LOG_FORMAT RUNNER_DEBUG CPU_PROFILE CLONE_URL
FEATURE_FLAGS CACHE_TYPE CACHE_S3_SERVER_ADDRESS CACHE_S3_BUCKET_NAME GOOGLE_APPLICATION_CREDENTIALS
CI_SERVER_TLS_CA_FILE CI_SERVER_TLS_CERT_FILE CI_SERVER_TLS_KEY_FILE KUBECTL_CONTEXT KUBERNETES_HOST
KUBERNETES_NAMESPACE KUBERNETES_PRIVILEGED KUBERNETES_ALLOW_PRIVILEGED KUBERNETES_CPUS KUBERNETES_MEMORY
KUBERNETES_SERVICE_CPUS KUBERNETES_SERVICE_MEMORY KUBERNETES_CPU_LIMIT KUBERNETES_HELPER_MEMORY_REQUEST
KUBERNETES_PULL_POLICY KUBERNETES_TERMINATIONGRACEPERIODSECONDS KUBERNETES_POLL_INTERVAL KUBERNETES_POLL_TIMEOUT
KUBERNETES_BEARER_TOKEN KUBERNETES_REQUEST_RETRY_LIMIT S3_SERVER_ADDRESS S3_ACCESS_KEY S3_SECRET_KEY S3_BUCKET_NAME
S3_BUCKET_LOCATION S3_CACHE_INSECURE S3_CACHE_PATH
""",
)
"""Names that documents and images of 2016 to today set."""


def test_page_is_in_step_with_the_program() -> None:
    """`python -m runner.cli.environment_page > docs/environment.md` writes it anew."""
    assert (ROOT / "docs" / "environment.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", OF_ALL_ERAS)
def test_name_of_any_era_is_read(name: str) -> None:
    """It is on the page."""
    assert name in variables()


def test_what_the_source_reads_is_on_the_page() -> None:
    """But for what the helper reads in a job's pod, the test kit, and what terminals and systems set."""
    own = {"PATH", "USER", "TERM", "LC_ALL", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}
    read = set()
    for file in (ROOT / "runner").rglob("*.py"):
        if file.relative_to(ROOT / "runner").parts[0] not in {"helper", "testing", "pipeline"}:
            text = file.read_text(encoding="utf-8")
            read |= set(re.findall(r'environ(?:\.get\(|\[)\s*"([A-Z][A-Z0-9_]+)"', text))
            read |= set(re.findall(r'(?:envvar=|AliasChoices\("\w+", )"([A-Z][A-Z0-9_]+)"', text))
    assert read - own - variables() == set()
    assert {"CONFIG_FILE", "KUBECONFIG", "RUNNER_DEBUG"} <= read


def _number(flag: str) -> tuple[int, Input]:
    return next((number, key) for number, key in enumerate(inputs()) if key.flag == flag)


@dataclass(frozen=True)
class Given:
    """One key, and what three places say of it."""

    flag: str
    text: Any
    """What click gives for the flag."""
    variable: str
    template: Any


TABLE = [
    # With all three, without the flag, and with the template alone.
    pytest.param(Given("limit", "1", "2", 3), [1, 2, 3], id="number"),
    pytest.param(Given("name", "a", "b", "c"), ["a", "b", "c"], id="text"),
    pytest.param(Given("kubernetes-namespace", "a", "b", "c"), ["a", "b", "c"], id="of-kubernetes"),
    pytest.param(Given("kubernetes-privileged", True, "true", True), [True, True, True], id="true"),
    pytest.param(Given("env", ("A=1", "B=2"), "C=3", ["D=4"]), [["A=1", "B=2"], ["C=3"], ["D=4"]], id="list"),
    pytest.param(Given("cache-s3-bucket-name", "a", "b", "c"), ["a", "b", "c"], id="of-a-store"),
    # What is nothing is filled by the template, as in the original: zero, false and empty are nothing.
    pytest.param(Given("limit", "0", "0", 3), [3, 3, 3], id="zero"),
    pytest.param(Given("kubernetes-privileged", False, "false", True), [True, True, True], id="false"),
    pytest.param(Given("limit", "", "2", 3), [3, 2, 3], id="empty-flag-is-given-and-nothing"),
    pytest.param(Given("limit", "1", "", 3), [1, 3, 3], id="empty-variable-is-none"),
]


@pytest.mark.parametrize(("given", "expected"), TABLE)
def test_flag_wins_over_variable_over_template(
    given: Given, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone, and each under those that go before it."""
    number, key = _number(given.flag)
    for name in {known.env for known in inputs()}:
        if name:
            monkeypatch.delenv(name, raising=False)
    text = _template(key, given.template)

    def found(values: dict[str, Any]) -> Any:
        value: Any = template_entry(entry_of(values), text, "template.toml")
        for part in key.path:
            value = value[part]
        return value

    monkeypatch.setenv(key.env, given.variable)
    assert found({f"key_{number}": given.text}) == expected[0]
    assert found({}) == expected[1]
    monkeypatch.delenv(key.env)
    assert found({}) == expected[2]


def _template(key: Input, value: Any) -> str:
    *tables, name = key.path
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    header = f"[runners.{'.'.join(tables)}]\n" if tables else ""
    return f"[[runners]]\n{header}{name} = {shown}\n"


@pytest.mark.parametrize("key", [key for key in inputs() if key.former_env], ids=lambda key: str(key.former_env))
def test_variable_before_version_12_is_taken_last(
    key: Input, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sets the key of today, with a warning, unless today's variable does."""
    former, today = ("true", "false") if key.path[-1] == "Insecure" else ("former", "today")

    def found() -> Any:
        value: Any = entry_of({})
        for part in key.path:
            value = value[part]
        return str(value).lower()

    monkeypatch.setenv(key.former_env, former)
    assert found() == former
    assert f"{key.former_env} is a former name of {key.env}" in capsys.readouterr().err
    monkeypatch.setenv(key.env, today)
    assert found() == today
    assert capsys.readouterr().err == ""
