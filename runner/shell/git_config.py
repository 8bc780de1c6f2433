"""git's settings for one job: what stands in which file, as text.

The law: the token is in one file of the job's temporary directory and nowhere else: not in `.git/config`, which
only includes that file, not in the remote's URL, and in no process's arguments: the shell itself writes the file, and
git asks a helper for the password (docs/decisions/009).
"""

from collections.abc import Iterator

from runner.shell.bash import ShellWriter, quote
from runner.shell.context import ScriptContext
from runner.shell.prologue import GIT_CONFIG
from runner.shell.urls import USERNAME, Rewrite, is_web, remote_url, rewrites, server_of, tokenless_rewrites, with_user

EXTERNAL_CONFIG = ".gitlab-runner.ext.conf"
TEMPLATE_DIRECTORY = "git-template"

_TLS_SETTINGS = (
    ("CI_SERVER_TLS_CA_FILE", "sslCAInfo"),
    ("CI_SERVER_TLS_CERT_FILE", "sslCert"),
    ("CI_SERVER_TLS_KEY_FILE", "sslKey"),
)
_TOKEN_SECTION, _TOKEN_KEY = "gitlab-runner", "jobToken"


def _helper(password: str) -> str:
    """A credential helper that gives `password`, a word of the shell, and keeps nothing."""
    return f"""!f() {{ if [ "$1" = get ]; then printf 'password=%s\\n' "{password}"; fi; }}; f"""


_FROM_ENVIRONMENT = _helper("$CI_JOB_TOKEN")
_FROM_CONFIG = _helper(f"$(git config {_TOKEN_SECTION}.{_TOKEN_KEY})")
"""Whoever reads the setting that names this helper reads the token's setting too: they stand in one file."""

_FOR_NOBODY = (
    '!f() { [ "$1" = get ] || return 0; while IFS= read -r line; do case $line in username=*) return 0 ;; esac; done; '
    f"printf 'username=%s\\npassword=%s\\n' {USERNAME} \"$(git config {_TOKEN_SECTION}.{_TOKEN_KEY})\"; }}; f"
)
"""Answers who names no user: Git LFS asks for the remote's URL as it stands, without what `insteadOf` makes of it."""


def section(name: str, subsection: str, *settings: tuple[str, str]) -> str:
    """Write one section of a git configuration file."""
    head = f'[{name} "{_escaped(subsection)}"]' if subsection else f"[{name}]"
    lines = (f'\t{key} = "{_escaped(value)}"' for key, value in settings)
    return "".join(f"{line}\n" for line in (head, *lines))


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\n", "\\n")


def template_config(context: ScriptContext) -> str:
    """The configuration that `git init` puts into `.git/config`; free of secrets.

    `fetch.recurseSubmodules` and `gc.autoDetach` keep git from work nobody asked for, `credential.interactive` from
    asking.
    """
    return (
        section("init", "", ("defaultBranch", "none"))
        + section("fetch", "", ("recurseSubmodules", "false"))
        + section("credential", "", ("interactive", "never"))
        + section("gc", "", ("autoDetach", "false"))
        + section("include", "", ("path", context.temporary(EXTERNAL_CONFIG)))
    )


def external_config(context: ScriptContext) -> str:
    """The configuration that the project's and its submodules' `.git/config` include: credentials, TLS, headers.

    It lies on the shared volume, so git in the user's own commands has the same access; it goes with the job's end.
    """
    parts = []
    if correlation_id(context):
        parts.append(section("http", "", ("extraHeader", f"X-Gitaly-Correlation-ID: {context.correlation_id}")))
    if context.flag("FF_USE_GIT_BUNDLE_URIS"):
        parts.append(section("transfer", "", ("bundleURI", "true")))
    tls = tuple(tls_settings(context))
    if tls:
        parts.append(section("http", _remote_server(context), *tls))
    parts.append(credentials_config(context))
    return "".join(parts)


def correlation_id(context: ScriptContext) -> str:
    """The id that Gitaly is to log for this job's git traffic; empty if it is not wanted or not known."""
    return context.correlation_id if context.flag("FF_USE_GITALY_CORRELATION_ID") else ""


def credentials_config(context: ScriptContext) -> str:
    """How git gets the job's token: from this file, or from the environment (`FF_GIT_URLS_WITHOUT_TOKENS`).

    From this file it is for one user alone, so that credentials of the job's own for other users of the server work.
    """
    force_https = context.settings().git_submodule_force_https
    if context.flag("FF_GIT_URLS_WITHOUT_TOKENS"):
        rules = tokenless_rewrites(context.variables, context.config, force_https=force_https)
        return _environment_helpers(context) + _rewrite_sections(rules)
    rules = rewrites(context.job, context.variables, context.config, force_https=force_https)
    return _token_and_helpers(context, rules) + _rewrite_sections(rules)


def tls_settings(context: ScriptContext) -> Iterator[tuple[str, str]]:
    """git's settings for the CA and the client certificate of the project's server, as far as there are any."""
    if not _remote_server(context).startswith("https://"):
        return
    for key, setting in _TLS_SETTINGS:
        path = context.variables.get(key)
        if path:
            yield setting, path


def write_global_tls(writer: ShellWriter, context: ScriptContext) -> None:
    """Tell git about the server's CA for commands outside of the repository too: hooks run before there is one."""
    for setting, path in tls_settings(context):
        writer.run("git", "config", "--global", f"http.{_remote_server(context)}.{setting}", path)


def write_global_config(writer: ShellWriter, context: ScriptContext) -> None:
    """Make the file that stands in for git's global configuration where URLs carry no token.

    It includes what the user of the container has, as far as it can be read, then the job's external configuration.
    """
    target = quote(context.temporary(GIT_CONFIG))
    include = "printf '[include]\\n\\tpath = \"%s\"\\n'"
    writer.line(f": > {target}")
    for path in ('"$HOME/.gitconfig"', '"$HOME/.config/git/config"'):
        with writer.when(f"[ -r {path} ]"):
            writer.line(f"{include} {path} >> {target}")
    writer.line(f"{include} {quote(context.temporary(EXTERNAL_CONFIG))} >> {target}")


def _token_and_helpers(context: ScriptContext, rules: tuple[Rewrite, ...]) -> str:
    # An empty helper drops those that were set up elsewhere: none may answer for this user, or store the token.
    helper = (("helper", ""), ("helper", _FROM_CONFIG))
    parts = [section(_TOKEN_SECTION, "", (_TOKEN_KEY, context.job.token))] if rules else []
    for bare in dict.fromkeys(server_of(rule.replacement) for rule in rules):
        server = with_user(bare, USERNAME)
        # Before the next, which drops it for our user: there only the one that cannot store the token is asked.
        parts.append(section("credential", bare, ("helper", _FOR_NOBODY)))
        parts.append(section("credential", server, *helper))
        # Makes git ask for the password before curl has tried the user without one, which GitLab counts as a failure.
        parts.append(section("http", server, ("emptyAuth", "true")))
    return "".join(parts)


def _environment_helpers(context: ScriptContext) -> str:
    base = context.config.clone_url or context.config.url
    urls = (remote_url(context.job, context.variables, context.config), base, context.job.git_info.repo_url)
    servers = dict.fromkeys(server_of(url) for url in urls if is_web(url))
    # An empty helper drops those that were set up elsewhere: none may store or answer for this server.
    settings = (("helper", ""), ("helper", _FROM_ENVIRONMENT), ("username", USERNAME))
    return "".join(section("credential", server, *settings) for server in servers)


def _rewrite_sections(rules: tuple[Rewrite, ...]) -> str:
    return "".join(section("url", rule.replacement, ("insteadOf", rule.match)) for rule in rules)


def _remote_server(context: ScriptContext) -> str:
    return server_of(remote_url(context.job, context.variables, context.config))
