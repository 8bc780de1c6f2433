"""Rules about secrets in the file, and files that it names."""

from __future__ import annotations

from errno import ENOENT

import pytest

from runner.config.checks.rules import Surroundings
from tests.config.check_cases import Case, check, runner


def read(name: str) -> str:
    """The text of a file of a small world."""
    if name == "/missing.pem":
        raise FileNotFoundError(ENOENT, "No such file or directory")
    if name == "/binary.pem":
        raise ValueError(name)
    return ""


FILES = Surroundings(read_text=read)

CASES = [
    Case(
        "secret-in-environment",
        runner(
            'environment = ["DB_PASSWORD=s3cret", "A=b"]',
            """
            [[runners.kubernetes.services]]
            name = "postgres"
            environment = ["POSTGRES_PASSWORD=s3cret"]
        """,
        ),
        (
            ('warning environment.0: "DB_PASSWORD" looks like a secret, and every job of the runner can read it'),
            (
                'warning kubernetes.services.0.environment.0: "POSTGRES_PASSWORD" looks like a secret, and '
                "every job of the runner can read it"
            ),
        ),
        runner('environment = ["DB_PASSWORD=$OTHER", "TOKEN_FILE=/run/token", "USE_SECRETS=true", "PASSWORD="]'),
    ),
    Case(
        "readable-by-others",
        runner(),
        (
            (
                "warning token: this is a secret in plain text, and the file can be read by everybody on "
                "this machine (its mode is 0644)"
            ),
        ),
        runner(),
        surroundings=Surroundings(mode=0o644),
        quiet_surroundings=Surroundings(mode=0o600),
    ),
    Case(
        "readable-by-others",
        runner('token = "$RUNNER_TOKEN"', 'host = "https://10.0.0.1"\nbearer_token = "s3cret"'),
        (
            (
                "warning kubernetes.bearer_token: this is a secret in plain text, and the file can be read "
                "by its group on this machine (its mode is 0640)"
            ),
        ),
        runner('token = "$RUNNER_TOKEN"'),
        surroundings=Surroundings(mode=0o640),
    ),
    Case(
        "readable-by-others",
        runner("""
            token = "$T"
            [runners.cache]
            Type = "s3"
            [runners.cache.s3]
            BucketName = "b"
            AccessKey = "a"
            SecretKey = "s3cret"
        """),
        (
            (
                "warning cache.s3.SecretKey: this is a secret in plain text, and the file can be read by "
                "everybody on this machine (its mode is 0644)"
            ),
        ),
        runner('token = "REDACTED"'),
        surroundings=Surroundings(mode=0o644),
    ),
    Case(
        "file-unreadable",
        runner('tls-ca-file = "/missing.pem"', 'host = "https://10.0.0.1"\nca_file = "/binary.pem"'),
        (
            'warning tls-ca-file: "/missing.pem" cannot be read on this machine: No such file or directory',
            'warning kubernetes.ca_file: "/binary.pem" cannot be read on this machine: it is no text',
        ),
        runner('tls-ca-file = "/a.yaml"', 'ca_file = "/missing.pem"'),
        surroundings=FILES,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
