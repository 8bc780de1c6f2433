"""`runner pod`: the manifests that a job and a config.toml give, without a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.local import assignments
from runner.cli.local_log import wants_colour
from runner.cli.pod_diff import differences
from runner.cli.pod_inputs import Trouble, config_path, payload_of_pipeline, read_config_file, read_payload
from runner.cli.pod_yaml import Layout, yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.cli.pod_explain import Inputs
    from runner.cli.pod_render import Rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to print, from the command line."""

    job: str | None
    file: str
    payload: str | None
    runner: str | None
    variables: Mapping[str, str]
    explain: bool
    form: str
    full: bool
    colour: bool


@click.command("pod")
@click.argument("job", required=False)
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Configuration file.  [env: CONFIG_FILE]")
@click.option("--runner", metavar="NAME", help="Which runner of the configuration, where it has several.")
@click.option("--payload", metavar="FILE", help="The job as GitLab hands it out, in JSON; - is stdin.")
@click.option("-f", "--file", default=".gitlab-ci.yml", show_default=True, help="The pipeline's file, with JOB.")
@click.option("-v", "--variable", "variables", multiple=True, metavar="KEY=VALUE", help="A variable of the job.")
@click.option("--explain", is_flag=True, help="Say of each field where its value comes from.")
@click.option("--diff", nargs=2, metavar="A B", type=click.Path(dir_okay=False), help="Compare two configurations.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--full", is_flag=True, help="Leave nothing out: the agents' scripts, flags at their defaults.")
@click.option("--no-color", is_flag=True, help="Plain output.  [env: NO_COLOR]")
def command(
    *,
    job: str | None,
    config: str | None,
    variables: tuple[str, ...],
    diff: tuple[str, str] | None,
    no_color: bool,
    **options: Any,
) -> int:
    """Print the pod of a JOB, and all that is created with it, as a config.toml makes them.

    \b
    Examples:  runner pod --config config.toml --payload job.json
               runner pod test --explain         the job `test` of .gitlab-ci.yml
               runner pod test -v KUBERNETES_CPU_LIMIT=2
               runner pod test --diff old.toml new.toml

    It asks no cluster and no GitLab. Secrets are shown by their names alone, random parts of names as x. What the
    job's log would say goes to stderr. Exit code 1 if the job would be refused or, with --diff, if there is a
    difference; 2 if it cannot be told.
    """
    wanted = Options(job=job, variables=assignments(variables), colour=wants_colour(no_color=no_color), **options)
    _check(wanted, config, diff)
    try:
        return _compare(wanted, *map(Path, diff)) if diff else _print(wanted, config_path(config))
    except (Trouble, click.UsageError):
        raise
    except click.ClickException as error:
        if isinstance(error, _Refusal) and not diff:
            raise
        raise Trouble(error.message) from None


class _Refusal(click.ClickException):
    """The job has no pod: it would fail before anything is created."""


def _check(options: Options, config: str | None, diff: tuple[str, str] | None) -> None:
    if bool(options.job) == bool(options.payload):
        raise click.UsageError("Name one job: JOB of the repository's pipeline, or a file with --payload.")
    if diff and config:
        raise click.UsageError("--diff A B names the configurations: leave out --config.")
    if diff and options.form == "json":
        raise click.UsageError("--diff compares YAML: leave out --format.")
    if options.explain and (diff or options.form == "json"):
        raise click.UsageError(f"--explain writes comments, and {'--diff' if diff else 'JSON'} has no place for them.")


def _print(options: Options, path: Path) -> int:
    inputs, rendering = _rendered(options, path)
    _mention(rendering)
    click.echo(_text(options, inputs, rendering), nl=False)
    return 0


def _compare(options: Options, old: Path, new: Path) -> int:
    """Print what differs between the manifests of two configurations; 1 if something does."""
    before, after = (_text(options, *_rendered(options, path)) for path in (old, new))
    lines = differences(before, after, names=(str(old), str(new)), colour=options.colour)
    for line in lines:
        click.echo(line, color=options.colour)
    return 1 if lines else 0


def _rendered(options: Options, path: Path) -> tuple[Inputs, Rendering]:
    """Build the manifests of one configuration. Raises Trouble, and _Refusal for a job that would fail at once."""
    file = read_config_file(path)
    index, runner = file.runner(options.runner)
    if options.payload:
        payload = _with_variables(read_payload(options.payload), options.variables)
    else:
        assert options.job  # one of the two, as _check has seen
        payload = payload_of_pipeline(
            options.job, file=options.file, server_url=runner.url, variables=options.variables
        )
    # What builds manifests costs a third of a second to import: a mistake in the input is told before.
    from runner.cli.pod_explain import Inputs
    from runner.cli.pod_render import render
    from runner.job.outcome import JobError
    from runner.job.payload import PayloadError
    from runner.manager.logging import setup_logging

    setup_logging(level="error", form="runner")
    try:
        rendering = render(payload, runner)
    except PayloadError as error:
        raise Trouble(f"{options.payload}: {error}") from None
    except JobError as error:
        raise _Refusal(f"With {path} the job would fail: {error.message} ({error.reason})") from None
    return Inputs(file=file, index=index, runner=runner, payload=payload), rendering


def _with_variables(payload: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    given = payload.get("variables") or ()
    if not isinstance(given, list | tuple):
        return payload  # and whoever reads it says so
    added = ({"key": key, "value": value, "public": True, "masked": False} for key, value in variables.items())
    return {**payload, "variables": [*given, *added]}


def _text(options: Options, inputs: Inputs, rendering: Rendering) -> str:
    from runner.cli.pod_explain import DEFAULT, explain
    from runner.cli.pod_render import default_flags, shown

    documents = shown(rendering, full=options.full)
    if options.form == "json":
        listed = {"apiVersion": "v1", "kind": "List", "items": documents}
        return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
    origins = explain(inputs, rendering) if options.explain else {}
    quiet = {} if options.full else default_flags(documents)
    return "---\n".join(
        yaml_text(
            document,
            Layout(
                beside={path[1:]: origin for path, origin in origins.items() if path[0] == number},
                above={path[1:]: _LEFT_OUT.format(len(some)) for path, some in quiet.items() if path[0] == number},
                otherwise=DEFAULT,
                left_out=frozenset(path[1:] for some in quiet.values() for path in some if path[0] == number),
                short=True,
                dim=options.colour,
            ),
        )
        for number, document in enumerate(documents)
    )


_LEFT_OUT = "{} feature flags at their defaults are left out here; --full shows them"


def _mention(rendering: Rendering) -> None:
    """Say what the job's log would say before the pod is made."""
    for kind, text in rendering.notes:
        click.echo(f"warning: {text}" if kind == "warning" else f"note: {text}", err=True)
