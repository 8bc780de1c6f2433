"""How runners are known to GitLab: URLs, tokens, names, labels."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from runner.config.checks.rules import Problem, Rule, Whole, quoted
from runner.config.model import RunnerConfig

_PLACEHOLDER = re.compile(
    r"(glrt)?(x*|(my|your|the)?(gitlab)?(ci)?(runner)?(auth|authentication|registration)?token(here)?"
    r"|redacted|masked|secret|changeme|replaceme|insert|todo|placeholder|example)"
)
_OTHER_TOKENS = {
    "GR1348941": "a registration token, which only registers runners",
    "glpat-": "a personal access token",
    "gldt-": "a deploy token",
    "glcbt-": "a job's token",
    "glptt-": "a trigger token",
    "glagent-": "an agent's token",
}
_PAGE = re.compile(r"/api/v[0-9]|/-/|/admin(/|$)|\.git$|/users/sign_in")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_placeholder(token: str) -> bool:
    """Whether a text stands for a token and is none."""
    return _PLACEHOLDER.fullmatch(re.sub(r"[\W_]", "", token.lower())) is not None


def _token_placeholder(runner: RunnerConfig) -> Iterator[Problem]:
    """A token is only a word that stands for one."""
    if is_placeholder(runner.token):
        yield Problem(
            ("token",),
            "this only stands for a token: GitLab answers every request with 403",
            "write the runner's authentication token (glrt-...), or $NAME to take it from the environment",
        )


def _token_of_another_kind(runner: RunnerConfig) -> Iterator[Problem]:
    """A token is of a kind that gets no jobs."""
    for beginning, kind in _OTHER_TOKENS.items():
        if runner.token.startswith(beginning):
            yield Problem(
                ("token",),
                f"this is {kind}: GitLab gives no jobs for it",
                "create a runner in GitLab and write its authentication token (glrt-...)",
            )
    if runner.token != runner.token.strip():
        yield Problem(("token",), "there are blanks around the token: GitLab knows none such", "take them away")


def _token_expired(whole: Whole) -> Iterator[Problem]:
    """A token has expired."""
    now = whole.surroundings.now
    for index, runner in enumerate(whole.config.runners):
        end = runner.token_expires_at
        if now is None or end is None:
            continue
        end = end if end.tzinfo else end.replace(tzinfo=now.tzinfo)
        if end <= now:
            yield Problem(
                ("runners", index, "token_expires_at"),
                f"the token has expired on {end.date()}: GitLab gives no jobs for it",
                "reset the runner's token in GitLab and write the new one",
            )


def _url_of_a_page(runner: RunnerConfig) -> Iterator[Problem]:
    """A URL is that of a page or of the API, not GitLab's own."""
    path = urlsplit(runner.url).path
    if path and _PAGE.search(path):
        root = runner.url[: runner.url.index(path)]
        yield Problem(
            ("url",),
            f"{quoted(runner.url)} goes on behind GitLab's root: no job request finds its way",
            f"write {quoted(root)}",
        )


def _url_with_path(runner: RunnerConfig) -> Iterator[Problem]:
    """A URL has a path, which only a GitLab under a relative URL has."""
    path = urlsplit(runner.url).path
    if path and not _PAGE.search(path):
        yield Problem(
            ("url",), f"the URL has the path {quoted(path)}", "keep it only if GitLab itself lies under that path"
        )


def _url_not_encrypted(runner: RunnerConfig) -> Iterator[Problem]:
    """GitLab is spoken to in the clear."""
    parts = urlsplit(runner.url)
    if parts.scheme == "http" and parts.hostname not in _LOCAL and "." in (parts.hostname or ""):
        yield Problem(("url",), "the token and the jobs' secrets go over the network without encryption", "use https")


def _url_with_credentials(runner: RunnerConfig) -> Iterator[Problem]:
    """A URL has a user's name or password in it."""
    for key in ("url", "clone_url"):
        if "@" in urlsplit(getattr(runner, key)).netloc:
            yield Problem(
                (key,),
                "there are credentials in the URL: they show up in logs, and are not how a runner is known",
                "take them out",
            )


def _clone_url(runner: RunnerConfig) -> Iterator[Problem]:
    """The URL to clone from has no scheme."""
    if runner.clone_url and not re.match(r"(https?|ssh)://[^/]", runner.clone_url):
        yield Problem(
            ("clone_url",),
            f"{quoted(runner.clone_url)} is no URL that git could clone from",
            f"write {quoted('https://' + runner.clone_url.rpartition('://')[2])}",
        )


def _tls_pair(runner: RunnerConfig) -> Iterator[Problem]:
    """A client certificate lacks its key, or a key its certificate."""
    for key, other in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
        if getattr(runner, key) and not getattr(runner, other):
            yield Problem((key,), f"there is no {other.replace('_', '-')} beside it", "set both of them, or neither")


def _no_runners(whole: Whole) -> Iterator[Problem]:
    """There is no runner to take jobs."""
    if not whole.config.runners:
        yield Problem(
            ("runners",),
            "there is no runner here that this service could run",
            'add a [[runners]] entry with url, token and executor = "kubernetes"',
        )


def _runner_twice(whole: Whole) -> Iterator[Problem]:
    """Two entries are one runner to GitLab, or have one name."""
    known: dict[tuple[str, str], int] = {}
    names: dict[str, int] = {}
    for index, runner in enumerate(whole.config.runners):
        first = known.setdefault((runner.url, runner.token), index)
        if first != index:
            yield Problem(
                ("runners", index, "token"),
                f"URL and token are those of {_title(whole, first)}: GitLab sees one runner, "
                "and which of the two entries a job gets is left to chance",
                "create a second runner in GitLab, or make one entry of the two",
            )
        namesake = names.setdefault(runner.name, index) if runner.name else index
        if namesake != index and first == index:
            yield Problem(
                ("runners", index, "name"),
                f"another runner is called {quoted(runner.name)} too: logs and metrics do not tell them apart",
                "give it a name of its own",
            )


def _title(whole: Whole, index: int) -> str:
    name = whole.config.runners[index].name
    return f"runner {quoted(name)}" if name else f"runner number {index + 1}"


RULES: Final[tuple[Rule[Whole], ...]] = (
    Rule("no-runners", "warning", _no_runners),
    Rule("runner-twice", "warning", _runner_twice),
    Rule("token-expired", "error", _token_expired),
)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("token-placeholder", "error", _token_placeholder),
    Rule("token-of-another-kind", "error", _token_of_another_kind),
    Rule("url-of-a-page", "error", _url_of_a_page),
    Rule("url-with-path", "note", _url_with_path),
    Rule("url-not-encrypted", "warning", _url_not_encrypted),
    Rule("url-with-credentials", "warning", _url_with_credentials),
    Rule("clone-url", "error", _clone_url),
    Rule("tls-pair", "error", _tls_pair),
)
"""Those that look at `[[runners]]`."""
