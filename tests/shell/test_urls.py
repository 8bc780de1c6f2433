"""Where git fetches from, and which rules bring the token."""

import pytest

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.urls import (
    Rewrite,
    is_web,
    remote_url,
    rewrites,
    server_of,
    split_url,
    tokenless_rewrites,
    with_user,
)

REPOSITORY = "https://gitlab-ci-token:t0k@git.example:8443/group/app.git"


def job(url: str = REPOSITORY) -> Job:
    """A job with the token `t0k`."""
    return Job.parse({"id": 1, "token": "t0k", "git_info": {"repo_url": url}})


def config(url: str = "https://git.example:8443", clone_url: str = "") -> RunnerConfig:
    """A runner at that URL."""
    return RunnerConfig(url=url, token="glrt-x", clone_url=clone_url)


def variables(**values: str) -> Variables:
    """Plain variables."""
    return Variables(Variable(key, value) for key, value in values.items())


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (REPOSITORY, "https://git.example:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("ssh://git@git.example/x", "ssh://git.example"),
        ("git@git.example:x.git", ""),
        ("file:///srv/x.git", ""),
        ("/srv/x.git", ""),
        ("https://git.example:port/x", ""),
        ("https://[::1/x", ""),
        ("", ""),
    ],
)
def test_server_of_a_url(url: str, server: str) -> None:
    """Scheme, host and port, without credentials; nothing for what has no server or cannot be read."""
    assert server_of(url) == server


@pytest.mark.parametrize(
    ("url", "web"),
    [("http://h/x", True), ("https://h/x", True), ("ssh://h/x", False), ("https://h:x/", False), ("https:///x", False)],
)
def test_web_urls_have_a_server(url: str, web: bool) -> None:
    """Only HTTP with a host counts."""
    assert is_web(url) is web


@pytest.mark.parametrize(
    ("url", "user", "result"),
    [
        ("https://a:b@h:1/x?y", "u:p", "https://u:p@h:1/x?y"),
        ("https://h/x", "u", "https://u@h/x"),
        ("https://a:b@h/x", "", "https://h/x"),
        ("/srv/x", "u", "/srv/x"),
        ("git@h:x", "u", "git@h:x"),
    ],
)
def test_user_replaces_what_is_there(url: str, user: str, result: str) -> None:
    """A URL without a server stays as it is."""
    assert with_user(url, user) == result


def test_unreadable_url_has_no_parts() -> None:
    """Nothing is raised: the text of the error would hold the URL, and with it the token."""
    assert tuple(split_url("https://t0k@h:x/")) == ("", "", "", "", "")


@pytest.mark.parametrize(
    ("clone_url", "remote"),
    [
        ("", REPOSITORY),
        ("not-a-url", REPOSITORY),
        ("https://inner.example/gitlab/", "https://gitlab-ci-token:t0k@inner.example/gitlab/group/app.git"),
        ("ssh://inner.example:2222", "ssh://git@inner.example:2222/group/app.git"),
        ("ssh://me@inner.example", "ssh://me@inner.example/group/app.git"),
        ("file:///srv", "file:///srv/group/app.git"),
    ],
)
def test_clone_url_replaces_the_server(clone_url: str, remote: str) -> None:
    """Over HTTP with the job's token, over SSH with a user; a `clone_url` without a scheme is none."""
    assert remote_url(job(), variables(CI_PROJECT_PATH="group/app"), config(clone_url=clone_url)) == remote


def test_rules_name_the_token_s_user_for_the_project_and_its_server() -> None:
    """The project's own URL first, then everything on the server, once though runner and project agree on it."""
    assert rewrites(job(), variables(), config(), force_https=False) == (
        Rewrite("https://gitlab-ci-token@git.example:8443/group/app.git", "https://git.example:8443/group/app.git"),
        Rewrite("https://gitlab-ci-token@git.example:8443/", "https://git.example:8443/"),
    )


def test_rules_cover_both_names_of_a_server() -> None:
    """A runner that reaches GitLab by another name gets rules for both."""
    found = rewrites(
        job(), variables(CI_PROJECT_PATH="group/app"), config(clone_url="http://inner/"), force_https=False
    )

    assert found == (
        Rewrite("http://gitlab-ci-token@inner/group/app.git", "http://inner/group/app.git"),
        Rewrite("http://gitlab-ci-token@inner/", "http://inner/"),
        Rewrite("https://gitlab-ci-token@git.example:8443/", "https://git.example:8443/"),
    )


@pytest.mark.parametrize(
    ("known", "matches"),
    [
        ({"CI_SERVER_HOST": "h"}, ("git@h:", "ssh://git@h/")),
        ({"CI_SERVER_HOST": "h", "CI_SERVER_SHELL_SSH_HOST": "s"}, ("git@s:", "ssh://git@s/")),
        ({"CI_SERVER_HOST": "h", "CI_SERVER_SHELL_SSH_PORT": "22"}, ("git@h:", "ssh://git@h/")),
        ({"CI_SERVER_HOST": "h", "CI_SERVER_SHELL_SSH_PORT": "2222"}, ("ssh://git@h:2222/",)),
        ({}, ()),
    ],
    ids=["host", "ssh-host", "port-22", "other-port", "unknown"],
)
def test_force_https_turns_ssh_addresses_into_urls(known: dict[str, str], matches: tuple[str, ...]) -> None:
    """`git@host:` has no place for a port, so another port leaves only the URL form; the user comes as asked."""
    with_user_name = rewrites(job("/srv/app.git"), variables(**known), config(), force_https=True)[1:]
    without_user = tokenless_rewrites(variables(**known), config(), force_https=True)

    assert with_user_name == tuple(Rewrite("https://gitlab-ci-token@git.example:8443/", match) for match in matches)
    assert without_user == tuple(Rewrite("https://git.example:8443/", match) for match in matches)


def test_no_rule_without_a_need() -> None:
    """A project that needs no credentials, on a runner whose server is no web server, gets none."""
    ssh = config(clone_url="ssh://h")

    assert rewrites(job("/srv/app.git"), variables(CI_PROJECT_PATH="a/b"), ssh, force_https=True) == ()
    assert tokenless_rewrites(variables(CI_SERVER_HOST="h"), ssh, force_https=True) == ()
    assert tokenless_rewrites(variables(CI_SERVER_HOST="h"), config(), force_https=False) == ()


def test_rules_do_not_match_a_longer_host_name() -> None:
    """git matches beginnings, so each rule for a server ends where its name ends."""
    rules = rewrites(job(), variables(CI_SERVER_HOST="git.example"), config(), force_https=True)

    assert {rule.match[-1] for rule in rules if not rule.match.endswith(".git")} == {"/", ":"}
