"""`runner local`: real jobs as processes of this machine, and the sentences when there is nothing to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from runner.cli.local_cluster import own_address
from runner.cli.main import main
from runner.testing.kubernetes import KubernetesServer

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

Repository = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

PIPELINE = """\
stages: [build, test, deploy]
variables: {GREETING: hello}
compile:
  stage: build
  services: ["redis:7", {name: busybox, alias: speaker, command: [sh, -c, "echo service; sleep 60"]}]
  script:
    - echo "$GREETING $CI_PROJECT_PATH, on $CI_COMMIT_BRANCH"
    - cat file.txt
  after_script: [echo "after $CI_JOB_STATUS"]
flaky:
  stage: test
  retry: 1
  script: [exit 3]
soft:
  stage: test
  allow_failure: true
  script: [exit 4]
unit:
  stage: test
  parallel: {matrix: [{PART: [a, b]}]}
  script: [echo "part $PART"]
rescue:
  stage: deploy
  when: on_failure
  script: [echo rescued]
ship: {stage: deploy, script: [echo shipped]}
hand: {stage: deploy, when: manual, script: [echo by hand]}
tagged: {script: [x], rules: [{if: $CI_COMMIT_TAG}]}
"""


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder."""
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give the command a folder for temporary files, which is empty again at the end, and git no configuration."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("NO_COLOR", "FORCE_COLOR", "RUNNER_HELPER_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")
    yield folder
    structlog.reset_defaults()
    assert list(folder.iterdir()) == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Make a repository with a pipeline and go there."""

    def make(text: str | None = PIPELINE, *, commit: bool = True) -> Path:
        folder = tmp_path / "demo"
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        (folder / "file.txt").write_text("from the commit\n")
        if text is not None:
            (folder / ".gitlab-ci.yml").write_text(text)
        if commit:
            git(folder, "add", ".")
            git(folder, "commit", "-q", "-m", "Begin")
        monkeypatch.chdir(folder)
        return folder

    return make


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: its exit code, what it printed, and its complaints."""

    def local(*arguments: str) -> tuple[int, str, str]:
        code = main(["local", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return local


def columns(out: str) -> list[tuple[str, ...]]:
    """The rows of the table at the end: job, stage, result, reason."""
    lines = out.split("\nJob ", 1)[1].splitlines()
    heads = [0, *(lines[0].index(word) + 4 for word in ("Stage", "Result", "Duration", "Reason")), None]
    rows = [[line[start:end].strip() for start, end in pairwise(heads)] for line in lines[1 : lines.index("")]]
    return [(row[0], row[1], row[2], row[4]) for row in rows]


# Runs ------------------------------------------------------------------------------------------------------------


def test_a_pipeline_runs_to_its_end_and_tells_how_every_job_ended(repository: Repository, run: Run) -> None:
    """In the order of the stages; the exit code is 1 because a job failed that was not allowed to."""
    repository()
    code, out, err = run()
    assert code == 1
    assert columns(out) == [
        ("compile", "build", "success", ""),
        ("flaky", "test", "failed", "command terminated with exit code 3 (after 2 tries)"),
        ("soft", "test", "failed (allowed)", "command terminated with exit code 4"),
        ("unit: [a]", "test", "success", ""),
        ("unit: [b]", "test", "success", ""),
        ("rescue", "deploy", "success", ""),
        ("ship", "deploy", "skipped", "flaky failed"),
        ("hand", "deploy", "skipped", "flaky failed"),
    ]
    assert out.splitlines()[-1].startswith("Pipeline failed in ")
    compiled = [line.partition("│ ")[2] for line in out.splitlines() if line.startswith("compile   │")]
    assert compiled == [
        "Getting source from Git repository",
        '$ echo "$GREETING $CI_PROJECT_PATH, on $CI_COMMIT_BRANCH"',
        "hello local/demo, on main",
        "$ cat file.txt",
        "from the commit",
        "Running after_script",
        "Running after script...",
        '$ echo "after $CI_JOB_STATUS"',
        "after success",
        "Job succeeded",
    ]
    assert "flaky     │ Failed, and tried again: 2 of 2.\n" in out
    assert err == ""


def test_a_named_job_runs_alone_with_the_command_line_s_variables(repository: Repository, run: Run) -> None:
    """Even one that waits for a hand; what is not committed is not seen, and a name in front is not needed."""
    folder = repository("hand: {when: manual, script: ['echo $WHO', cat file.txt]}\nother: {script: [exit 1]}\n")
    (folder / "file.txt").write_text("changed\n")
    git(folder, "remote", "add", "origin", "git@gitlab.example.com:acme/tools/demo.git")
    git(folder, "checkout", "-q", "--detach")
    code, out, err = run("hand", "-v", "WHO=$nobody")
    assert code == 0
    assert out.splitlines()[:-5] == [
        "Getting source from Git repository",
        "$ echo $WHO",
        "$nobody",
        "$ cat file.txt",
        "from the commit",
        "Job succeeded",
    ]
    assert err.splitlines() == [
        "warning: 1 changed or new file is not committed: jobs see the last commit.",
        "warning: HEAD is detached: jobs see the branch name `detached`.",
    ]


def test_a_job_that_never_begins_shows_the_whole_of_its_log(
    repository: Repository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `--verbose` shows it of any job; colours come when they are asked for."""
    repository("a: {image: images/missing, script: [x]}\nb: {script: ['true']}\n")
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, out, _ = run("a")
    assert code == 1
    assert "Using Kubernetes executor with image images/missing" in out
    assert '\x1b[31;1mERROR: Job failed: pulling image "images/missing" for container build: image pull failed' in out
    code, out, _ = run("b", "--verbose", "--no-color")
    assert code == 0
    assert "Preparing environment\n" in out
    assert "\x1b" not in out


# Nothing to run --------------------------------------------------------------------------------------------------


def test_jobs_are_listed_without_being_run(repository: Repository, run: Run) -> None:
    """With when they run and what they need."""
    repository("a: {script: [x], stage: build}\nb: {script: [x], needs: [a], allow_failure: true}\nc: {trigger: x}\n")
    code, out, err = run("--list")
    assert code == 0
    assert out.splitlines() == [
        "Job  Stage  When                  Needs",
        "a    build  on_success",
        "b    test   on_success, may fail  a",
    ]
    assert err.splitlines() == [
        "warning: .gitlab-ci.yml:3: `c` triggers another pipeline, which needs GitLab: it is left out",
        "Left out: c",
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, [], "error: there is no .gitlab-ci.yml here: write one, or name another with --file.\n"),
        ("a: {script: x}\n", ["-f", "ci.yml"], "error: there is no ci.yml here: write one, or name another with"),
        ("a: {script: x}\n", ["-f", "../ci.yml"], "error: ../ci.yml: the file lies outside of the repository.\n"),
        ("a: {script: [x\n", [], "error: .gitlab-ci.yml:1: this is no YAML: the `[` that opens here"),
        ("a: {}\nb: {}\n", [], "error: .gitlab-ci.yml:1: `a` has no `script`.\nerror: .gitlab-ci.yml:2: `b` has no"),
        (PIPELINE, ["tagged"], "error: `tagged` is not in this pipeline: its rules leave it out. Try -v KEY=VALUE."),
        (PIPELINE, ["complie"], "error: there is no job `complie`; nearest: `compile`.\n"),
        ("a: {script: x}\n", ["zzz"], "error: there is no job `zzz`; the jobs are `a`.\n"),
        ("a: {script: x, only: [tags]}\n", [], "error: the rules leave out every job. Try -v KEY=VALUE.\n"),
        (
            "workflow: {rules: [{if: $NEVER}]}\na: {script: x}\n",
            [],
            "error: no rule of `workflow` holds, so there is no pipeline. Try -v KEY=VALUE.\n",
        ),
        (PIPELINE, ["-v", "NAME"], "Usage: runner local"),
    ],
    ids=[
        "no-file", "other-file", "outside", "broken", "two-errors", "left-out", "typo", "unknown", "no-job", "workflow",
        "variable",
    ],
)  # fmt: skip
def test_what_cannot_be_run_gives_a_sentence(
    repository: Repository, run: Run, text: str | None, arguments: list[str], message: str
) -> None:
    """And never a traceback."""
    repository(text)
    code, out, err = run(*arguments)
    assert (code, out) == (2 if message.startswith("Usage") else 1, "")
    assert err.startswith(message)


def test_without_a_repository_there_is_a_sentence(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs get their sources from git."""
    monkeypatch.chdir(tmp_path)
    assert run() == (
        1,
        "",
        "Error: This is no git repository, and jobs get their sources from git. Make one with `git init`.\n",
    )


def test_a_file_that_is_no_text_gives_its_line(repository: Repository, run: Run) -> None:
    """Not UTF-8, a folder, or a link into nowhere."""
    folder = repository("a: {script: x}\n")
    (folder / "bytes.yml").write_bytes(b"a:\n  script: \xff\n")
    (folder / "folder.yml").mkdir()
    (folder / "loop.yml").symlink_to("loop.yml")
    assert run("-f", "bytes.yml") == (1, "", "error: bytes.yml:2: the file is not UTF-8 here.\n")
    assert run("-f", "folder.yml")[2].startswith("error: there is no folder.yml here")
    assert run("-f", "loop.yml")[2].startswith("error: loop.yml:1: the file cannot be read: ")


def test_what_git_refuses_is_told(repository: Repository, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In git's words: a bare repository, and one whose objects are gone."""
    folder = repository("a: {script: x}\n")
    (folder / ".git" / "refs" / "heads" / "main").write_text("0" * 39 + "1\n")
    assert run()[2].startswith("Error: The repository has no commit")
    monkeypatch.chdir(folder / ".git")
    assert run() == (1, "", "Error: git cannot read this repository: this operation must be run in a work tree.\n")


def test_without_a_commit_there_is_a_sentence(repository: Repository, run: Run) -> None:
    """Jobs see the last commit."""
    repository(commit=False)
    code, _, err = run()
    assert code == 1
    assert err.startswith("Error: The repository has no commit, and jobs see the last commit.")


def test_repeated_warnings_are_said_once(repository: Repository, run: Run) -> None:
    """With how many more places there are."""
    repository("".join(f"j{n}:\n  script: x\n  rules: [{{changes: [x]}}]\n" for n in range(3)))
    assert run("--list")[2].splitlines() == [
        "warning: .gitlab-ci.yml:3: `rules:changes` is taken as true: what changed is not known here"
        " (and 2 more such places)"
    ]


def test_files_of_rules_and_globs_are_found(repository: Repository, run: Run) -> None:
    """Rules look at the commit, `include` at the working folder; the file may be named from a folder below."""
    folder = repository("include: 'ci/*.yml'\na: {script: x, rules: [{exists: [new.txt]}]}\n")
    (folder / "new.txt").write_text("")
    (folder / "ci").mkdir()
    (folder / "ci" / "more.yml").write_text("b: {script: x, rules: [{exists: ['*.txt']}]}\n")
    assert [line.split()[0] for line in run("--list")[1].splitlines()[1:]] == ["b"]
    os.chdir(folder / "ci")
    assert [line.split()[0] for line in run("--list", "-f", "more.yml")[1].splitlines()[1:]] == ["b"]


# As a process ----------------------------------------------------------------------------------------------------


def start() -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "runner", "local"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def marked_processes(mark: str) -> list[int]:
    """Processes whose command line holds the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(repository: Repository, number: signal.Signals) -> None:
    """Stubborn ones too; the table says which jobs were canceled."""
    mark = f"98765{os.getpid()}{number}"
    repository(
        f"a: {{script: ['trap \"\" TERM INT', 'nohup sleep {mark} & echo begun', 'sleep {mark}']}}\n"
        "b: {stage: deploy, script: [echo never]}\n"
    )
    with start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "a │ begun\n":
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert columns(out) == [("a", "test", "canceled", "aborted: terminated"), ("b", "deploy", "canceled", "")]
    assert "Interrupted: ending the jobs. Once more leaves at once." in err
    assert "Traceback" not in err
    assert marked_processes(mark) == []


def test_a_reader_that_goes_away_ends_the_run(repository: Repository) -> None:
    """As `head` does, without a complaint."""
    mark = f"98764{os.getpid()}"
    repository(f"a: {{script: ['while echo line; do sleep 0.02; done', 'sleep {mark}']}}\n")
    with start() as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert "Traceback" not in err
    assert marked_processes(mark) == []


# A cluster -------------------------------------------------------------------------------------------------------


async def test_a_named_host_is_taken_when_the_cluster_answers(tmp_path: Path) -> None:
    """Without one, an address that pods cannot reach is none."""
    async with KubernetesServer() as cluster:
        kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
        assert await own_address(kubeconfig, host="192.0.2.7") == "192.0.2.7"
        with pytest.raises(Exception, match="name one of its addresses with --host"):
            await own_address(kubeconfig, host=None)


def test_a_cluster_that_is_not_there_gives_a_sentence(repository: Repository, run: Run, tmp_path: Path) -> None:
    """Before any job begins."""
    repository("a: {script: x}\n")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )
    code, out, err = run("--kubeconfig", str(kubeconfig))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: The cluster of {kubeconfig} gives no answer: ")
    kubeconfig.write_text("{")
    assert "cannot be used" in run("--kubeconfig", str(kubeconfig))[2]


@pytest.mark.slow
def test_the_repositorys_own_pipeline_passes(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has what users' pipelines have: needs, a matrix, cache, artifacts, a dotenv report and a service."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    git(tmp_path, "clone", "-q", str(ROOT), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    code, out, _ = run("--verbose")
    assert code == 0, out
    for told in (
        "Created cache",
        "Successfully extracted cache",
        'Uploading artifacts as "dotenv"',
        "dial succeeded on",
    ):
        assert told in out
    assert [row[2] for row in columns(out)] == ["success"] * 7


def test_artifacts_and_variables_pass_between_jobs(repository: Repository, run: Run) -> None:
    """An archive, and the variables of a `dotenv` report; a job that wants none gets none."""
    repository(
        "stages: [build, test]\n"
        "make:\n  stage: build\n"
        "  script: [mkdir dist, echo built > dist/app, echo VERSION=1.2 > build.env, echo x > vendor]\n"
        "  artifacts: {paths: [dist], reports: {dotenv: build.env}}\n"
        "  cache: {key: deps, paths: [vendor]}\n"
        "use:\n  stage: test\n  script: [cat dist/app vendor, 'echo version $VERSION']\n"
        "  cache: {key: deps, paths: [vendor], policy: pull}\n"
        "alone: {stage: test, script: ['! test -e dist'], dependencies: []}\n"
    )
    code, out, err = run("--concurrent", "1")
    assert (code, err) == (0, ""), out
    assert "│ built\n" in out
    assert "│ version 1.2\n" in out
