"""Rules about how runners are known to GitLab."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.config.checks.rules import Surroundings
from tests.config.check_cases import Case, check, runner

IN_FEBRUARY = Surroundings(now=datetime(2026, 2, 1, tzinfo=UTC))

CASES = [
    Case(
        "no-runners",
        "concurrent = 1",
        ("warning runners: there is no runner here that this service could run",),
        runner(),
    ),
    Case(
        "runner-twice",
        runner() + runner().partition("\n")[2],
        (
            (
                'warning runners.1.token: URL and token are those of runner "blue": GitLab sees one runner,'
                " and which of the two entries a job gets is left to chance"
            ),
        ),
        runner() + runner('name = "green"\ntoken = "glrt-other"').partition("\n")[2],
    ),
    Case(
        "runner-twice",
        runner() + runner('token = "glrt-other"').partition("\n")[2],
        (('warning runners.1.name: another runner is called "blue" too: logs and metrics do not tell them apart'),),
        runner() + runner('name = ""\ntoken = "glrt-other"').partition("\n")[2],
    ),
    Case(
        "token-expired",
        runner("token_expires_at = 2026-01-31T00:00:00Z"),
        ("error token_expires_at: the token has expired on 2026-01-31: GitLab gives no jobs for it",),
        runner("token_expires_at = 2026-02-02T00:00:00Z"),
        surroundings=IN_FEBRUARY,
    ),
    Case(
        "token-placeholder",
        runner('token = "__REDACTED__"'),
        ("error token: this only stands for a token: GitLab answers every request with 403",),
        runner('token = "glrt-Xy"'),
    ),
    Case(
        "token-of-another-kind",
        runner('token = "GR1348941abc"'),
        (("error token: this is a registration token, which only registers runners: GitLab gives no jobs for it"),),
        runner('token = "t1_abc"'),
    ),
    Case(
        "token-of-another-kind",
        runner('token = " glrt-abc"'),
        ("error token: there are blanks around the token: GitLab knows none such",),
        runner('token = "glrt-abc"'),
    ),
    Case(
        "url-of-a-page",
        runner('url = "https://gitlab.example.com/api/v4"'),
        (
            (
                'error url: "https://gitlab.example.com/api/v4" goes on behind GitLab\'s root: no job '
                "request finds its way"
            ),
        ),
        runner('url = "https://gitlab.example.com/ci"'),
    ),
    Case(
        "url-with-path",
        runner('url = "https://example.com/gitlab/"'),
        ('note url: the URL has the path "/gitlab"',),
        runner('url = "https://gitlab.example.com/"'),
    ),
    Case(
        "url-not-encrypted",
        runner('url = "http://gitlab.example.com"'),
        ("warning url: the token and the jobs' secrets go over the network without encryption",),
        runner('url = "http://localhost:8080"'),
    ),
    Case(
        "url-with-credentials",
        runner('url = "https://me:s3cret@gitlab.example.com"'),
        (("warning url: there are credentials in the URL: they show up in logs, and are not how a runner is known"),),
        runner('clone_url = "ssh://gitlab.example.com"'),
    ),
    Case(
        "clone-url",
        runner('clone_url = "gitlab.internal"'),
        ('error clone_url: "gitlab.internal" is no URL that git could clone from',),
        runner('clone_url = "https://gitlab.internal"'),
    ),
    Case(
        "tls-pair",
        runner('tls-cert-file = "/a.pem"'),
        ("error tls-cert-file: there is no tls-key-file beside it",),
        runner('tls-cert-file = "/a.pem"\ntls-key-file = "/a.key"'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
