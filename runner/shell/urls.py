"""Where the sources come from, and by which URLs git reaches them.

The law: text in, text out; a URL that cannot be read is left as it is. Nothing here prints or raises with a URL
that may carry a token. What becomes git's configuration names the user alone: git hands URLs on to its transport as
arguments, which everyone in the container sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variables

USERNAME = "gitlab-ci-token"
"""The user that GitLab knows a job's token by."""

_WEB = frozenset({"http", "https"})
_SSH_PORT = "22"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One `url.<replacement>.insteadOf <match>` rule of git."""

    replacement: str
    match: str


def split_url(url: str) -> SplitResult:
    """Split a URL; one that cannot be read has no scheme and no server."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def server_of(url: str) -> str:
    """The part of a URL that names the server, `scheme://host[:port]`; empty if there is none."""
    parts = split_url(url)
    return f"{parts.scheme}://{_host(parts)}" if parts.scheme and _host(parts) else ""


def is_web(url: str) -> bool:
    """Say whether git talks HTTP to this URL."""
    return split_url(url).scheme in _WEB and bool(server_of(url))


def with_user(url: str, user: str) -> str:
    """Put `user`, or `user:password`, into a URL in place of what is there; empty takes it out."""
    parts = split_url(url)
    if not parts.netloc:
        return url
    return parts._replace(netloc=f"{user}@{_host(parts)}" if user else _host(parts)).geturl()


def remote_url(job: Job, variables: Variables, config: RunnerConfig) -> str:
    """The URL of the project, with the credentials that git needs.

    The runner's `clone_url` replaces scheme and host of what GitLab sends: for runners that reach GitLab by another
    name.
    """
    base = split_url(config.clone_url)
    if not base.scheme:
        return job.git_info.repo_url
    url = f"{config.clone_url.rstrip('/')}/{variables.get('CI_PROJECT_PATH')}.git"
    if base.scheme in _WEB:
        return with_user(url, f"{USERNAME}:{job.token}")
    return with_user(url, base.username or "git") if base.scheme == "ssh" else url


def rewrites(job: Job, variables: Variables, config: RunnerConfig, *, force_https: bool) -> tuple[Rewrite, ...]:
    """The rules that send GitLab's URLs to the user that the job's token belongs to, in order, each once.

    So the remote's URL stays as it is, submodules of the same server are fetched as that user too, and whoever names
    another user in a URL stays with that one. `force_https` (`GIT_SUBMODULE_FORCE_HTTPS`) sends SSH addresses of the
    server to it over HTTPS.
    """
    remote = remote_url(job, variables, config)
    bare = with_user(remote, "") if is_web(remote) else remote
    found = [Rewrite(with_user(bare, USERNAME), bare)] if remote != bare else []
    base = _base_url(config)
    if base:
        authenticated = with_user(base, USERNAME)
        found.append(Rewrite(authenticated, base))
        if force_https:
            found.extend(_from_ssh(variables, authenticated))
        if is_web(job.git_info.repo_url):
            server = f"{server_of(job.git_info.repo_url)}/"
            found.append(Rewrite(with_user(server, USERNAME), server))
    return tuple(dict.fromkeys(found))


def tokenless_rewrites(variables: Variables, config: RunnerConfig, *, force_https: bool) -> tuple[Rewrite, ...]:
    """The rules of `FF_GIT_URLS_WITHOUT_TOKENS`: only from SSH to HTTPS, a credential helper does the rest."""
    base = _base_url(config)
    return tuple(_from_ssh(variables, base)) if base and force_https else ()


def _base_url(config: RunnerConfig) -> str:
    """The server as the runner reaches it; empty if not by HTTP.

    It ends in `/`, because git matches beginnings: a rule for `https://gitlab.example` would give the token to
    `https://gitlab.example.evil.org` too.
    """
    url = config.clone_url if split_url(config.clone_url).scheme else config.url
    return with_user(f"{url.rstrip('/')}/", "") if is_web(url) else ""


def _from_ssh(variables: Variables, replacement: str) -> Iterator[Rewrite]:
    host = variables.get("CI_SERVER_SHELL_SSH_HOST") or variables.get("CI_SERVER_HOST")
    if not host:
        return
    port = variables.get("CI_SERVER_SHELL_SSH_PORT")
    if port in {"", _SSH_PORT}:
        yield Rewrite(replacement, f"git@{host}:")
        yield Rewrite(replacement, f"ssh://git@{host}/")
    else:
        yield Rewrite(replacement, f"ssh://git@{host}:{port}/")


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
