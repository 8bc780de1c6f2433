"""Cache and artifacts: keys, conditions, and how the helper is called."""

import os
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.archives import CacheKey, cache_key
from runner.shell.scripts import ScriptContext, script_for

SHA = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"


@dataclass
class Run:
    """How a stage ended, what it told, and how it called the helper."""

    code: int
    told: list[str]
    calls: list[list[str]]


def make_context(
    root: Path, *variables: Variable, config: dict[str, object] | None = None, helper: str = "helper", **job: object
) -> ScriptContext:
    """The context of a job with a helper of this name."""
    info = {"job_info": {"name": "test"}, "git_info": {"ref": "main"}}
    return ScriptContext(
        job=Job.parse({"id": 7, "token": "t0k", **info, **job}),
        variables=Variables(variables),
        config=RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-x", **(config or {})}),
        project_dir=f"{root}/builds/group/app",
        temp_dir=f"{root}/builds/group/app.tmp",
        builds_dir=f"{root}/builds",
        cache_dir=f"{root}/cache/group/app",
        helper_command=helper,
    )


def run(stage: str, context: ScriptContext, *, failing: Iterable[str] = ()) -> Run:
    """Run a stage with a helper that writes down token and arguments, and fails where one of these words is in them."""
    root = Path(context.builds_dir).parent
    Path(context.project_dir).mkdir(parents=True)
    cases = "".join(f"*{shlex.quote(word)}*) exit 5;;" for word in failing)
    (root / "helper").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\n'
        f'printf \'%s\\n\' "${{CI_JOB_TOKEN:-}}" "$@" . >> {root}/calls\necho output\n'
        f'case "$*" in {cases or "none) ;;"} esac\n'
    )
    (root / "helper").chmod(0o755)
    script = script_for(stage, context)
    assert script is not None
    (root / "stage").write_text(script.text)
    environment = {"PATH": f"{root}:{os.environ['PATH']}", "HOME": str(root)}
    done = subprocess.run(
        ["dash", f"{root}/stage"], env=environment, cwd=root, capture_output=True, check=False, timeout=60
    )
    calls = (root / "calls").read_text() if (root / "calls").exists() else ""
    told = [line.removesuffix("\x1b[0;m").partition("m")[2] or line for line in done.stdout.decode().splitlines()]
    return Run(done.returncode, told, [call.splitlines() for call in calls.split("\n.\n") if call])


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("default-protected", "default-protected"),
        ("a/b", "a/b"),
        ("a%2Fb%2f%2E%2e", "a"),
        ("..\\..\\x", "x"),
        ("../../etc/x", "etc/x"),
        ("/a//b/./c/", "a/b/c"),
        ("a/ \t/  ", "a"),
        ("key \n", "key"),
        (" key", " key"),
        (".", ""),
        ("%2e%2e", ""),
        (".. ", ""),
        ("a/.. /b/. ", "a/.. /b"),
        (" / ", ""),
        ("", ""),
    ],
)
def test_cache_key_stays_inside(raw: str, key: str) -> None:
    """What would leave the directory, or name it, is taken out."""
    assert cache_key(raw, hashed=False) == CacheKey(shown=key, path=key, raw=raw)


@given(st.text(st.sampled_from("ab./\\%2eEfF \t-")))
def test_cache_key_never_leaves_the_directory(raw: str) -> None:
    """Neither by dots nor by a slash at its beginning; and what is clean stays as it is."""
    key = cache_key(raw, hashed=False).path

    assert not key.startswith("/")
    assert not {".", "..", ""} & set(key.split("/")) or not key
    assert "%" in key or "\\" in key or cache_key(key, hashed=False).path == key


def test_hashed_cache_key_is_no_path_at_all() -> None:
    """With `FF_HASH_CACHE_KEYS` the log still shows the key itself."""
    key = cache_key("key", hashed=True)

    assert (key.shown, key.path, key.warning) == ("key", SHA, "")
    assert cache_key("", hashed=True).path == ""


@pytest.mark.parametrize(
    ("raw", "warning"),
    [
        ("fine", ""),
        ("a/../b", 'cache key "a/../b" sanitized to "b"'),
        ("..", 'cache key ".." could not be sanitized'),
        ("", ""),
    ],
)
def test_changed_cache_key_is_told(raw: str, warning: str) -> None:
    """A user who looks for the archive must know its name."""
    assert cache_key(raw, hashed=False).warning == warning


def test_cache_is_restored_from_the_first_key_that_works(tmp_path: Path) -> None:
    """The entry's own, its fallbacks, then the job's; a miss is a warning and no failure."""
    context = make_context(
        tmp_path,
        Variable("NAME", "pip"),
        Variable("CACHE_FALLBACK_KEY", "last-resort"),
        Variable("CACHE_REQUEST_TIMEOUT", "3"),
        Variable("CI_JOB_TOKEN", "of the job"),
        cache=[{"key": "$NAME", "paths": ["x"], "fallback_keys": ["$NAME-main", ".."]}],
    )
    done = run("restore_cache", context, failing=["/pip/", "/pip-main/"])

    def call(key: str) -> list[str]:
        file = f"../../../cache/group/app/{key}/cache.zip"
        return ["of the job", "cache-extractor", "--file", file, "--timeout", "3"]

    assert done.code == 0
    assert done.told == [
        'cache key ".." could not be sanitized',
        "Checking cache for pip...",
        "output",
        "Failed to extract cache",
        "Checking cache for pip-main...",
        "output",
        "Failed to extract cache",
        "Checking cache for last-resort...",
        "output",
        "Successfully extracted cache",
    ]
    assert done.calls == [call("pip"), call("pip-main"), call("last-resort")]


def test_cache_that_is_found_nowhere_is_no_failure(tmp_path: Path) -> None:
    """With the flag, what a failed extraction left is removed."""
    context = make_context(
        tmp_path,
        Variable("FF_CLEAN_UP_FAILED_CACHE_EXTRACT", "true"),
        cache=[{"key": "k", "paths": ["half/done", "x"]}],
    )
    left = tmp_path / "builds/group/app/half/done"
    script = script_for("restore_cache", context)
    assert script is not None
    done = run("restore_cache", context, failing=["/k/"])

    assert (done.code, left.exists()) == (0, False)
    assert done.told[-3:] == ["Failed to extract cache", "Removing half/done", "Removing x"]


def test_protected_fallback_key_is_refused(tmp_path: Path) -> None:
    """A job could otherwise read what only protected branches may write; dots and blanks do not hide the name."""
    context = make_context(
        tmp_path, Variable("CACHE_FALLBACK_KEY", "main-protected. ."), cache=[{"key": "k", "paths": ["x"]}]
    )
    done = run("restore_cache", context)

    assert done.told[0] == 'CACHE_FALLBACK_KEY "main-protected. ." not allowed to end in "-protected"'
    assert len(done.calls) == 1


def test_cache_without_a_key_is_named_after_job_and_branch(tmp_path: Path) -> None:
    """GitLab's default."""
    done = run("restore_cache", make_context(tmp_path, cache=[{"untracked": True}]))

    assert done.told[0] == "Checking cache for test/main..."


@pytest.mark.parametrize(
    ("stage", "doing"), [("restore_cache", "extraction"), ("archive_cache", "archiving")], ids=["restore", "archive"]
)
def test_cache_with_an_impossible_key_is_skipped(tmp_path: Path, stage: str, doing: str) -> None:
    """The next entry still has its turn."""
    done = run(stage, make_context(tmp_path, cache=[{"key": "..", "paths": ["x"]}, {"key": "k", "paths": ["x"]}]))

    assert done.told[:2] == ['cache key ".." could not be sanitized', f"Skipping cache {doing} due to empty cache key"]
    assert len(done.calls) == 1


@pytest.mark.parametrize(
    ("stage", "policy", "notice"),
    [
        ("restore_cache", "push", "Not downloading cache k due to policy"),
        ("archive_cache", "pull", "Not uploading cache k due to policy"),
    ],
)
def test_policy_leaves_one_way_out(tmp_path: Path, stage: str, policy: str, notice: str) -> None:
    """Variables may stand in it."""
    done = run(
        stage, make_context(tmp_path, Variable("P", policy), cache=[{"key": "k", "paths": ["x"], "policy": "$P"}])
    )

    assert (done.code, done.told, done.calls) == (0, [notice], [])


@pytest.mark.parametrize("stage", ["restore_cache", "archive_cache"])
def test_unknown_policy_fails_the_job(tmp_path: Path, stage: str) -> None:
    """The sentence names it and the ones there are."""
    with pytest.raises(JobConfigurationError) as caught:
        script_for(stage, make_context(tmp_path, cache=[{"key": "k", "paths": ["x"], "policy": "pul"}]))

    assert str(caught.value) == "unknown cache policy pul, use one of pull-push, pull, push"


def test_unset_cache_directory_is_told(tmp_path: Path) -> None:
    """There is nowhere to put an archive."""
    context = make_context(tmp_path, cache=[{"key": "k", "paths": ["x"]}])
    without = ScriptContext(
        **{name: getattr(context, name) for name in context.__slots__ if name != "cache_dir"}, cache_dir=""
    )

    assert run("archive_cache", without).told == ["unset cache directory"]


def test_cache_is_archived_by_entries_that_apply(tmp_path: Path) -> None:
    """Paths go to the helper unexpanded; a failure is a warning, and the next entry has its turn."""
    context = make_context(
        tmp_path,
        config={"cache": {"MaxUploadedArchiveSize": 1000}},
        cache=[
            {"key": "never", "paths": ["x"], "when": "on_success"},
            {"key": "one", "paths": ["$HOME/*", "it's"], "untracked": True, "when": "on_failure"},
            {"key": "two", "paths": ["x"], "when": "always"},
        ],
    )
    done = run("archive_cache_on_failure", context, failing=["/one/"])

    files = [f"../../../cache/group/app/{key}/cache.zip" for key in ("one", "two")]
    limits = ["--timeout", "10", "--max-uploaded-archive-size", "1000"]
    assert done.code == 0
    assert done.told == [
        "Creating cache one...",
        "output",
        "Failed to create cache",
        "Creating cache two...",
        "output",
        "Created cache",
    ]
    assert done.calls == [
        ["", "cache-archiver", "--file", files[0], *limits, "--path", "$HOME/*", "--path", "it's", "--untracked"],
        ["", "cache-archiver", "--file", files[1], *limits, "--path", "x"],
    ]


def test_artifacts_of_dependencies_are_downloaded_with_their_tokens(tmp_path: Path) -> None:
    """Each job's artifacts are opened by that job's token; a job without any is passed over."""
    context = make_context(
        tmp_path,
        Variable("CI_JOB_TOKEN", "t0k"),
        dependencies=[
            {"id": 1, "name": "it's", "token": "o'ne", "artifacts_file": {"filename": "a.zip"}},
            {"id": 2, "name": "none", "token": "two"},
            {"id": 3, "name": "three", "token": "three", "artifacts_file": {"filename": "a.zip"}},
        ],
    )
    done = run("download_artifacts", context)

    assert done.code == 0
    assert done.told == [
        "Downloading artifacts for it's (1)...",
        "output",
        "Downloading artifacts for three (3)...",
        "output",
    ]
    assert done.calls == [
        ["o'ne", "artifacts-downloader", "--url", "https://git.example", "--id", "1"],
        ["three", "artifacts-downloader", "--url", "https://git.example", "--id", "3"],
    ]


def test_artifacts_that_cannot_be_downloaded_fail_the_stage(tmp_path: Path) -> None:
    """With the helper's code, and nothing follows."""
    files = {"filename": "a.zip"}
    context = make_context(
        tmp_path, dependencies=[{"id": id, "name": "d", "token": "t", "artifacts_file": files} for id in (1, 2)]
    )
    done = run("download_artifacts", context, failing=["--id 1"])

    assert (done.code, len(done.calls)) == (5, 1)


def test_artifacts_are_uploaded_as_asked(tmp_path: Path) -> None:
    """Every option of an entry; the token comes by the environment, so no argument holds it."""
    context = make_context(
        tmp_path,
        Variable("CI_JOB_TOKEN", "overridden"),
        config={"artifact": {"upload_timeout": "2h", "response_header_timeout": "90s"}},
        artifacts=[
            {
                "name": "$CI_JOB_NAME",
                "paths": ["a b", "$x"],
                "exclude": ["*.o"],
                "untracked": True,
                "expire_in": "1 week",
                "artifact_type": "junit",
                "artifact_format": "gzip",
                "when": "always",
            },
            {"paths": ["skipped"], "when": "on_failure"},
            {"paths": ["plain"]},
        ],
    )
    done = run("upload_artifacts_on_success", context)

    begin = ["t0k", "artifacts-uploader", "--url", "https://git.example", "--id", "7"]
    limits = ["--timeout", "2h0m0s", "--response-header-timeout", "1m30s"]
    assert (done.code, done.told) == (0, ["Uploading artifacts...", "output"] * 2)
    assert done.calls == [
        [
            *begin,
            *limits,
            *("--path", "a b", "--path", "$x", "--exclude", "*.o", "--untracked", "--name", "$CI_JOB_NAME"),
            *("--expire-in", "1 week", "--artifact-format", "gzip", "--artifact-type", "junit"),
        ],
        [*begin, *limits, "--path", "plain", "--artifact-format", "zip", "--artifact-type", "archive"],
    ]


def test_artifacts_that_cannot_be_uploaded_fail_the_stage(tmp_path: Path) -> None:
    """With the helper's code, and later entries are not tried."""
    done = run(
        "upload_artifacts_on_failure",
        make_context(tmp_path, artifacts=[{"paths": ["a"], "when": "always"}, {"paths": ["b"], "when": "always"}]),
        failing=["--path a"],
    )

    assert (done.code, len(done.calls)) == (5, 1)


@pytest.mark.parametrize(
    ("stage", "job", "warning"),
    [
        ("restore_cache", {"cache": [{"key": "k", "paths": ["x"]}]}, "Extracting cache"),
        ("archive_cache", {"cache": [{"key": "k", "paths": ["x"]}]}, "Creating cache"),
        (
            "download_artifacts",
            {"dependencies": [{"id": 1, "artifacts_file": {"filename": "x"}}]},
            "Artifacts downloading",
        ),
        ("upload_artifacts_on_success", {"artifacts": [{"paths": ["x"]}]}, "Uploading artifacts"),
    ],
)
def test_missing_helper_is_told(tmp_path: Path, stage: str, job: dict[str, object], warning: str) -> None:
    """A helper image without the helper cannot move anything; the job goes on."""
    done = run(stage, make_context(tmp_path, helper="no-such-helper", config=None, **job))

    assert (done.code, done.told) == (0, [f"Missing no-such-helper. {warning} is disabled."])
