"""`runner local`: run the jobs of a .gitlab-ci.yml here, through the real manager."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from runner.cli.local_log import wants_colour
from runner.cli.local_repository import LocalRepository
from runner.pipeline.build import build_pipeline
from runner.pipeline.findings import PipelineError, PipelineWarning
from runner.pipeline.model import LocalJob, Pipeline
from runner.pipeline.needs import nearest
from runner.pipeline.predefined import Occasion, predefined

_PIPELINE_ID = 1


@click.command("local")
@click.argument("jobs", nargs=-1)
@click.option("-f", "--file", default=".gitlab-ci.yml", show_default=True, help="The pipeline's file.")
@click.option("--list", "only_list", is_flag=True, help="Show the jobs and leave.")
@click.option("-v", "--variable", "variables", multiple=True, metavar="KEY=VALUE", help="A variable for all jobs.")
@click.option("-j", "--concurrent", type=click.IntRange(min=1), default=4, show_default=True, help="Jobs at once.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="Run in pods of this cluster.")
@click.option("--namespace", default="default", show_default=True, help="Namespace of the pods, with --kubeconfig.")
@click.option("--image", default="busybox:latest", show_default=True, help="Image of jobs that name none.")
@click.option("--helper-image", help="Helper image, with --kubeconfig.")
@click.option("--host", help="Address of this machine that pods reach, with --kubeconfig; found by itself if left out.")
@click.option("--verbose", is_flag=True, help="The whole log, with what the runner does before and after the script.")
@click.option("--no-color", is_flag=True, help="Plain output.  [env: NO_COLOR]")
def command(
    jobs: tuple[str, ...], file: str, only_list: bool, variables: tuple[str, ...], no_color: bool, **options: Any
) -> int:
    """Run the jobs of a .gitlab-ci.yml: all of them in the order of their stages, or the JOBS named.

    \b
    Examples:  runner local                     all jobs, as processes of this machine
               runner local test --list
               runner local build -v RELEASE=1
               runner local --kubeconfig ~/.kube/config

    It needs no GitLab, no cluster and no Docker: scripts run as processes of this machine, `image` is not used. With
    --kubeconfig every job runs in a pod. The jobs see the last commit; what is not committed is left out, with a word.
    Exit code 1 if a job failed.
    """
    extra = assignments(variables)
    repository = LocalRepository()
    checkout = repository.checkout()
    path = repository.path_of(file)
    occasion = Occasion(
        server_url="http://gitlab.local",
        pipeline_id=_PIPELINE_ID,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        user=repository.user(),
        config_path=path,
    )
    try:
        pipeline = build_pipeline(path, repository.files(), predefined=predefined(checkout, occasion), extra=extra)
        wanted = wanted_jobs(pipeline, jobs)
    except PipelineError as error:
        for message in error.messages:
            click.echo(f"error: {message}", err=True)
        return 1
    mention_warnings(pipeline.warnings)
    if only_list:
        return _show(pipeline, wanted, colour=wants_colour(no_color=no_color))
    if not wanted:
        click.echo(f"error: {_why_empty(pipeline)}", err=True)
        return 1
    if sys.platform != "linux" and not options["kubeconfig"]:
        raise click.ClickException("Jobs run as processes on Linux only: name a cluster with --kubeconfig.")
    _mention_checkout(repository)
    # The manager and the servers cost half a second to import: a mistake in the file is told before.
    from runner.cli.local_run import LocalRun, Options

    run = LocalRun(
        repository,
        pipeline,
        wanted,
        checkout=checkout,
        occasion=occasion,
        extra=extra,
        options=Options(named=bool(jobs), colour=wants_colour(no_color=no_color), **options),
    )
    return run.run()


def assignments(variables: tuple[str, ...]) -> dict[str, str]:
    """Read the values of `-v KEY=VALUE`. Raises UsageError."""
    pairs = {}
    for text in variables:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"-v takes KEY=VALUE, not {text!r}.")
        pairs[key] = value
    return pairs


def wanted_jobs(pipeline: Pipeline, names: tuple[str, ...]) -> tuple[LocalJob, ...]:
    """The jobs that the command line names, in the pipeline's order; all of them when it names none.

    Raises PipelineError for a name that none of them has.
    """
    if not names:
        return pipeline.jobs
    wanted: set[str] = set()
    for name in names:
        found = pipeline.named(name)
        if not found and name in pipeline.left_out:
            raise PipelineError([f"`{name}` is not in this pipeline: its rules leave it out. Try -v KEY=VALUE."])
        if not found:
            known = dict.fromkeys(job.base for job in pipeline.jobs)
            near = nearest(name, {*known, *(job.name for job in pipeline.jobs), *pipeline.left_out}, most=3)
            raise PipelineError([f"there is no job `{name}`{near or _known(known)}."])
        wanted |= {job.name for job in found}
    return tuple(job for job in pipeline.jobs if job.name in wanted)


def _known(names: dict[str, None]) -> str:
    return f"; the jobs are {', '.join(f'`{name}`' for name in names)}" if names else ""


def _why_empty(pipeline: Pipeline) -> str:
    if pipeline.workflow_refused:
        return "no rule of `workflow` holds, so there is no pipeline. Try -v KEY=VALUE."
    return "the rules leave out every job. Try -v KEY=VALUE."


def mention_warnings(warnings: tuple[PipelineWarning, ...]) -> None:
    """Print the warnings; what is said of several places is said once."""
    places: dict[str, list[PipelineWarning]] = {}
    for warning in warnings:
        places.setdefault(warning.message, []).append(warning)
    for same in places.values():
        more = f" (and {len(same) - 1} more such places)" if len(same) > 1 else ""
        click.echo(f"warning: {same[0]}{more}", err=True)


def _mention_checkout(repository: LocalRepository) -> None:
    changes = repository.changes()
    if changes:
        files = "1 changed or new file is" if changes == 1 else f"{changes} changed or new files are"
        click.echo(f"warning: {files} not committed: jobs see the last commit.", err=True)
    if repository.detached:
        click.echo("warning: HEAD is detached: jobs see the branch name `detached`.", err=True)


def _show(pipeline: Pipeline, wanted: tuple[LocalJob, ...], *, colour: bool) -> int:
    from runner.cli.local_table import show_jobs

    show_jobs(wanted, colour=colour)
    if pipeline.left_out:
        click.echo(f"Left out: {', '.join(pipeline.left_out)}", err=True)
    return 0
