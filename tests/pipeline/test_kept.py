"""`artifacts` and `cache` of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from runner.pipeline.findings import PipelineError
from runner.pipeline.model import LocalArtifact, LocalCache, LocalJob, Pipeline

Build = Callable[..., Pipeline]


def only_job(built: Pipeline, name: str = "a") -> LocalJob:
    """The job of that name."""
    job = built.job(name)
    assert job is not None
    return job


def test_an_archive_and_reports_are_read(pipeline: Build) -> None:
    """Reports are sent whatever becomes of the job, with GitLab's names."""
    built = pipeline(
        "a:\n  script: x\n  artifacts:\n    name: $CI_JOB_NAME\n    paths: [dist, x.txt]\n    exclude: ['**/*.map']\n"
        "    expire_in: 1 week\n    when: always\n    reports:\n      junit: report.xml\n      dotenv: build.env\n"
        "      coverage_report: {coverage_format: cobertura, path: cov.xml}\n"
    )
    assert only_job(built).artifacts == (
        LocalArtifact(
            name="$CI_JOB_NAME",
            paths=("dist", "x.txt"),
            exclude=("**/*.map",),
            when="always",
            expire_in="1 week",
        ),
        LocalArtifact(
            name="junit.xml", paths=("report.xml",), when="always", expire_in="1 week", type="junit", format="gzip"
        ),
        LocalArtifact(
            name=".env", paths=("build.env",), when="always", expire_in="1 week", type="dotenv", format="gzip"
        ),
        LocalArtifact(
            name="cobertura-coverage.xml",
            paths=("cov.xml",),
            when="always",
            expire_in="1 week",
            type="cobertura",
            format="gzip",
        ),
    )
    assert built.warnings == ()


def test_a_report_that_is_not_known_is_left_out_with_a_word(pipeline: Build) -> None:
    """With the nearest name."""
    built = pipeline("a:\n  script: x\n  artifacts:\n    reports:\n      junitt: report.xml\n")
    assert only_job(built).artifacts == ()
    (warning,) = built.warnings
    assert str(warning).startswith(
        ".gitlab-ci.yml:5: `artifacts:reports:junitt` of `a` is no report that is known here"
    )
    assert "nearest: `junit`" in str(warning)


def test_caches_are_read_one_or_many(pipeline: Build) -> None:
    """With GitLab's defaults."""
    built = pipeline(
        "a: {script: x, cache: {paths: [vendor]}}\n"
        "b:\n  script: x\n  cache:\n    - {key: one, paths: [x], policy: pull, fallback_keys: [two]}\n"
        "    - {key: $CI_COMMIT_REF_SLUG, untracked: true, when: always, policy: $POLICY}\n"
    )
    assert only_job(built).caches == (LocalCache(key="default", paths=("vendor",)),)
    assert only_job(built, "b").caches == (
        LocalCache(key="one", paths=("x",), policy="pull", fallback_keys=("two",)),
        LocalCache(key="$CI_COMMIT_REF_SLUG", untracked=True, when="always", policy="$POLICY"),
    )


def test_a_key_of_files_changes_with_them(pipeline: Build) -> None:
    """And is `default` when none is there."""
    text = "a: {script: x, cache: {key: {files: [lock, missing], prefix: p}, paths: [x]}}\n"
    first = pipeline(text, files={"lock": "1"})
    expected = hashlib.sha1(b"1", usedforsecurity=False).hexdigest()
    assert only_job(first).caches[0].key == f"p-{expected}"
    assert only_job(pipeline(text, files={"lock": "2"})).caches[0].key != f"p-{expected}"
    without = pipeline(text)
    assert only_job(without).caches[0].key == "p-default"
    assert "names no file that is there" in str(without.warnings[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a:\n  script: x\n  artifacts:\n    when: allways\n",
            "4: `artifacts:when` of `a` is one of on_success, on_failure, always, not `allways`; nearest: `always`.",
        ),
        (
            "a:\n  script: x\n  cache:\n    policy: push-pull\n",
            "4: `cache:policy` of `a` is one of pull-push, pull, push, not `push-pull`; nearest: `push`.",
        ),
        (
            "a:\n  script: x\n  cache:\n    key:\n      files: [a, b, c]\n",
            "5: `cache:key:files` of `a` may name 2 files, not 3.",
        ),
    ],
)
def test_wrong_values_are_named(pipeline: Build, text: str, message: str) -> None:
    """With file and line."""
    with pytest.raises(PipelineError) as raised:
        pipeline(text)
    assert str(raised.value) == f".gitlab-ci.yml:{message}"


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ("", None),
        ("dependencies: []", ()),
        ("dependencies: [a]", ("a",)),
        ("needs: [a, b]", ("a", "b")),
        ("needs: [{job: a, artifacts: false}, b]", ("b",)),
        ("{needs: [a, b], dependencies: [a]}", ("a",)),
    ],
)
def test_whose_artifacts_a_job_gets(pipeline: Build, keywords: str, expected: tuple[str, ...] | None) -> None:
    """Those it names, those it needs, or those of all earlier stages."""
    more = keywords.strip("{}") if keywords.startswith("{") else keywords
    built = pipeline(
        "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: one, script: x}\n"
        f"c: {{stage: two, script: x{', ' if more else ''}{more}}}\n"
    )
    assert only_job(built, "c").dependencies == expected
