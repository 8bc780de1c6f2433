"""The page of the commands that administrators script, made from the commands themselves.

`docs/commands.md` is this module's output and a test holds the two together; write it anew with
`python -m runner.cli.commands_page > docs/commands.md`.
"""

from __future__ import annotations

import click

from runner.cli.main import GONE, root
from runner.cli.register_flags import FLAGS
from runner.cli.runner_flags import ALSO
from runner.config.inputs import inputs

_INTRODUCTION = """\
# Commands

The commands of GitLab Runner that scripts call, under its names, with its flags, variables, lines and exit codes. In
the image they answer to `gitlab-runner` and `gitlab-ci-multi-runner` in `/usr/bin` too. All variables of all years are
in [environment.md](environment.md).

```sh
runner register --non-interactive --url https://gitlab.example.com --token glrt-... --executor kubernetes --name ci
runner list
runner verify --delete
runner reset-token --name ci
runner unregister --name ci
```

- Flags are `--flag value` or `--flag=value`; one of true or false is `--flag` or `--flag=false`. A flag that takes
  several values is repeated. Tables take `key:value`, lists of tables and tables of tables take JSON.
- A flag wins over its environment variable, a variable over a template. A variable that is empty is none.
- config.toml is the one of `--config`, of `CONFIG_FILE`, or `/etc/gitlab-runner/config.toml` for root and
  `~/.gitlab-runner/config.toml` for others.
- Every edit of config.toml keeps comments, order, blanks, mode and owner, is there whole or not at all, and waits for
  another command's edit. A command that fails has changed nothing.
- Lines go to stderr in the original's form, escapes included, so that columns stay where scripts look for them.
  `list` shows whole tokens, as the original does; all other lines show the short form.
- Exit code 0: done. 1: not done, or the command line was wrong.
"""

_ACTS = (
    (
        "`register`",
        "checks a `glrt-` token, or makes a runner with a registration token; appends it to config.toml",
        "one sentence, 1, nothing written",
    ),
    (
        "`unregister`",
        "by `--name`, `--token`, `--url` (all that is given must match, the first that does) or `--all-runners`",
        "the runner stays in the file, 1; with `--all-runners` 0",
    ),
    (
        "`verify`",
        "asks GitLab for each token, or for those of `--name`, `--token`, `--url`; `--delete` removes refused ones",
        "refused: 1 without `--delete`; away: a line, and the runner stays",
    ),
    (
        "`list`",
        "prints every runner with its token",
        "asks nobody",
    ),
    (
        "`reset-token`",
        "exchanges tokens: by `--name`, by `--url` and `--id`, or all; `--pat` with a person's rights",
        "the old token stays, 1",
    ),
    (
        "`run-single`",
        "takes jobs for one runner that flags describe; `--max-builds`, `--wait-timeout` end it",
        "goes on asking",
    ),
    (
        "`health-check`",
        "waits until the service of `--port` or the environment takes connections",
        "asks nobody",
    ),
    (
        "`lint`",
        "checks config.toml, as `runner config check` does; 1 for warnings too",
        "asks nobody",
    ),
    (
        "`status`",
        "prints whether a `runner run` is at work in this container or on this host; 1 when none is",
        "asks nobody",
    ),
    (
        "`version`",
        "prints version, revision and platform",
        "asks nobody",
    ),
)
"""Command, what it does, and what comes of it when GitLab is away or refuses."""

_AFTERWARDS = """\
`artifacts-downloader`, `artifacts-uploader`, `cache-archiver`, `cache-extractor`, `cache-init` and `read-logs` are the
helper's, as `gitlab-runner-helper` and `runner helper` too. `install`, `uninstall`, `start`, `stop` and `restart` end
with 1 and a sentence: this program manages no service of a host, the chart or a unit of systemd does
([running.md](running.md)). Of the original's other commands these are not here:

{gone}

With a token that begins with `glrt-` the settings of the runner are GitLab's: tags, lock, access level and the like are
refused beside `--token`, and left out with a warning beside `--registration-token`, where scripts of former times give
it.

A template is a file with one `[[runners]]`; it fills what flags and variables leave open, zero and empty included.

This page is made from the source.
"""


def page() -> str:
    """The whole page, in Markdown."""
    sections = [_command(name) for name in ("run", "unregister", "verify", "reset-token", "run-single", "list")]
    gone = "\n".join(f"- `{name}`: {instead}." for name, instead in GONE.items())
    return "\n".join([_INTRODUCTION, _acts(), _AFTERWARDS.replace("{gone}", gone), _register(), _keys(), *sections])


def _acts() -> str:
    rows = [f"| {' | '.join(row)} |" for row in _ACTS]
    return "\n".join(["| | What it does | When GitLab is away or refuses |", "|---|---|---|", *rows, ""])


def _register() -> str:
    rows = [
        f"| {' '.join(f'`{spelling}`' for spelling in flag.spellings)} | `{flag.env}` | {flag.about} |"
        for flag in FLAGS
    ]
    return "\n".join(["## register", "", "| Flag | Environment | |", "|---|---|---|", *rows, ""])


def _keys() -> str:
    lines = [
        "## register and run-single: keys of the runner",
        "",
        "Types and meanings are in [configuration.md](configuration.md). A former name writes the key of today.",
        "",
        "| Key | Flag | Environment |",
        "|---|---|---|",
    ]
    for key in inputs():
        name = ".".join(key.path)
        flags = [f"--{key.flag}", *ALSO.get(name, [])] if key.flag else []
        told = f"{name}` (former name of `{'` and `'.join(key.today)}" if key.today else name
        end = ")" if key.today else ""
        lines.append(
            f"| `{told}`{end} | {' '.join(f'`{flag}`' for flag in flags)} | {f'`{key.env}`' if key.env else ''} |"
        )
    return "\n".join([*lines, ""])


def _command(name: str) -> str:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    rows = []
    for parameter in command.params:
        is_shown = isinstance(parameter, click.Option) and not parameter.hidden
        if is_shown and not (parameter.name or "").startswith("key_"):
            about = (parameter.help or "").partition("  [env: ")
            env = str(parameter.envvar or about[2].removesuffix("]"))
            spellings = " ".join(f"`{spelling}`" for spelling in parameter.opts)
            rows.append(f"| {spellings} | {f'`{env}`' if env else ''} | {about[0]} |")
    return "\n".join([f"## {name}", "", "| Flag | Environment | |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    print(page(), end="")
