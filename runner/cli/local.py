"""`runner local`: run the jobs of a .gitlab-ci.yml here, through the real manager."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import click

from runner.pipeline.build import build_pipeline
from runner.pipeline.findings import PipelineError
from runner.pipeline.model import LocalJob, Pipeline
from runner.pipeline.payload import Checkout, Occasion, predefined
from runner.pipeline.resolve import ReadFile


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
@click.option("--no-color", is_flag=True, help="Plain output.  [env: NO_COLOR]")
def command(jobs: tuple[str, ...], file: str, only_list: bool, variables: tuple[str, ...], **options: Any) -> int:
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
    root = _repository()
    checkout = _checkout(root)
    extra = _assignments(variables)
    occasion = Occasion(server_url="http://gitlab.local", pipeline_id=1)
    given = {**predefined(checkout, occasion), **extra}
    try:
        pipeline = build_pipeline(file, _reader(root), given)
        wanted = _wanted(pipeline, jobs)
    except PipelineError as error:
        for message in error.messages:
            click.echo(f"error: {message}", err=True)
        return 1
    for warning in pipeline.warnings:
        click.echo(f"warning: {warning}", err=True)
    if only_list:
        return _show(pipeline, wanted)
    if not wanted:
        click.echo("error: the rules leave no job in this pipeline: try -v KEY=VALUE, or name a job.", err=True)
        return 1
    _mention_changes(root)
    from runner.cli.local_run import LocalRun, Options

    run = LocalRun(
        root,
        pipeline,
        wanted,
        checkout=checkout,
        extra=extra,
        options=Options.of(named=bool(jobs), **options),
    )
    return anyio.run(run.run)


def _repository() -> Path:
    """The repository's root. The jobs' sources come from git, so there has to be one with a commit."""
    found = _git("rev-parse", "--show-toplevel")
    if found is None:
        raise click.ClickException("This is no git repository: jobs get their sources from git. Make one: git init.")
    if _git("rev-parse", "--verify", "HEAD") is None:
        raise click.ClickException("The repository has no commit, and jobs see the last commit. Make one: git commit.")
    return Path(found)


def _checkout(root: Path) -> Checkout:
    sha = _git("rev-parse", "HEAD", folder=root) or ""
    ref = _git("symbolic-ref", "--short", "-q", "HEAD", folder=root) or "main"
    title = _git("log", "-1", "--format=%s", folder=root) or ""
    return Checkout(path=f"local/{root.name or 'project'}", repo_url="", ref=ref, sha=sha, title=title)


def _reader(root: Path) -> ReadFile:
    def read(path: str) -> str | None:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()):
            raise PipelineError([f"{path}: the file lies outside of the repository."])
        try:
            return file.read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise PipelineError([f"{path}:1: the file cannot be read: {error}."]) from None

    return read


def _assignments(variables: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in variables:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"-v takes KEY=VALUE, not {text!r}.")
        pairs[key] = value
    return pairs


def _wanted(pipeline: Pipeline, names: tuple[str, ...]) -> tuple[LocalJob, ...]:
    if not names:
        return pipeline.jobs
    wanted: list[LocalJob] = []
    for name in names:
        found = pipeline.named(name)
        if not found:
            known = ", ".join(f"`{job.name}`" for job in pipeline.jobs) or "none"
            why = "the rules leave it out" if name in pipeline.left_out else f"the jobs are: {known}"
            raise PipelineError([f"there is no job `{name}` in this pipeline: {why}."])
        wanted.extend(job for job in found if job not in wanted)
    return tuple(wanted)


def _show(pipeline: Pipeline, wanted: tuple[LocalJob, ...]) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table("Job", "Stage", "When", "Needs", box=None, header_style="bold")
    for job in wanted:
        needs = "" if job.needs is None else ", ".join(need.job for need in job.needs) or "nothing"
        table.add_row(job.name, job.stage, job.when, needs)
    Console(highlight=False).print(table)
    if pipeline.left_out:
        click.echo(f"Left out by rules: {', '.join(pipeline.left_out)}", err=True)
    return 0


def _mention_changes(root: Path) -> None:
    changed = _git("status", "--porcelain", folder=root)
    if changed:
        count = len(changed.splitlines())
        click.echo(f"warning: {count} changed or new files are not committed: jobs do not see them.", err=True)


def _git(*arguments: str, folder: Path | None = None) -> str | None:
    """Ask git; None when it says no."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        click.echo("error: git is not installed: jobs get their sources from it.", err=True)
        sys.exit(1)
    return done.stdout.strip() if done.returncode == 0 else None
