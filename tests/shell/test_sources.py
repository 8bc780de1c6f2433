"""get_sources and its neighbours against real repositories."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.git_config import external_config, template_config
from runner.shell.scripts import ScriptContext, script_for

pytestmark = pytest.mark.slow
SHELLS = {"bash": ["bash"], "dash": ["dash"], "busybox": ["busybox", "sh"]}
BRANCHES = "+refs/heads/*:refs/remotes/origin/*"
TAGS = "+refs/tags/*:refs/tags/*"


@dataclass
class Run:
    """How a stage ended; the lines without colours."""

    code: int
    lines: list[str]
    errors: str

    @property
    def notices(self) -> list[str]:
        """What the script itself announced."""
        return [line[7:-5] for line in self.lines if line.startswith("\x1b[32;1m")]


@dataclass
class Place:
    """A directory with an origin, a work tree to fill it from, and the job's directories."""

    root: Path
    url: str = ""
    project: str = "builds/group/app"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.com",
        }
        (self.root / "home").mkdir()
        (self.root / "home/.gitconfig").write_text(
            '[protocol "file"]\n\tallow = always\n[init]\n\tdefaultBranch = main\n'
        )

    def origin(self, name: str = "origin", *flags: str) -> str:
        """Make an empty repository to push to; the first is the project's."""
        self.git(".", "init", "-q", "--bare", *flags, f"{name}.git")
        self.git(f"{name}.git", "config", "uploadpack.allowAnySHA1InWant", "true")
        self.git(".", "init", "-q", *flags, f"{name}-work")
        url = f"file://{self.root}/{name}.git"
        self.git(f"{name}-work", "remote", "add", "origin", url)
        self.url = self.url or url
        return url

    def commit(
        self, text: str, *, name: str = "origin", file: str = "file", branch: str = "main", push: bool = True
    ) -> str:
        """Commit and push a file; the commit's id."""
        work = self.root / f"{name}-work"
        (work / file).write_text(text)
        self.git(work, "add", "-A")
        self.git(work, "commit", "-q", "-m", text)
        if push:
            self.git(work, "push", "-q", "-f", "origin", f"HEAD:refs/heads/{branch}")
        return self.git(work, "rev-parse", "HEAD")

    def git(self, directory: str | Path, *words: str) -> str:
        """Run git; it must not fail."""
        done = subprocess.run(
            ["git", *words],
            cwd=self.root / directory,
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout.decode().strip()

    def filled(self, directory: str | Path, url: str) -> list[str]:
        """The user and the password that git has for a URL."""
        done = subprocess.run(
            ["git", "credential", "fill"],
            cwd=self.root / directory,
            env={**self.environment, "GIT_TERMINAL_PROMPT": "0"},
            input=f"url={url}\n\n".encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.stdout.decode().splitlines()[-2:]

    def context(
        self,
        sha: str,
        *variables: Variable,
        git: dict[str, object] | None = None,
        config: dict[str, object] | None = None,
        **job: object,
    ) -> ScriptContext:
        """The context of a job at a commit, with strategy fetch."""
        info = {"repo_url": self.url, "ref": "main", "sha": sha, "refspecs": [BRANCHES], "depth": 0, **(git or {})}
        payload = {"id": 7, "token": "t0k", "allow_git_fetch": True, "git_info": info, **job}
        return ScriptContext(
            job=Job.parse(payload),
            variables=Variables(
                (Variable("CI_RUNNER_VERSION", "1.2"), Variable("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64"), *variables)
            ),
            config=RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-x", **(config or {})}),
            project_dir=str(self.root / self.project),
            temp_dir=str(self.root / f"{self.project}.tmp"),
            builds_dir=str(self.root / "builds"),
            cache_dir=str(self.root / "cache"),
        )

    def run(self, context: ScriptContext, stage: str = "get_sources", *, shell: str = "dash") -> Run:
        """Run a stage in a directory of no meaning."""
        script = script_for(stage, context)
        assert script is not None
        file = self.root / "stage"
        file.write_text(script.text, encoding="utf-8")
        command = [*SHELLS[shell], str(file)]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, check=False, timeout=60
        )
        return Run(done.returncode, done.stdout.decode().splitlines(), done.stderr.decode())

    def read(self, name: str = "file") -> str | None:
        """A file of the checked-out sources; None if there is none."""
        path = self.root / self.project / name
        return path.read_text() if path.exists() else None

    def head(self) -> str:
        """The commit that is checked out."""
        return self.git(self.project, "rev-parse", "HEAD")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An origin without a commit."""
    place = Place(tmp_path)
    place.origin()
    return place


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("strategy", ["fetch", "clone"])
def test_first_job_gets_a_detached_checkout(place: Place, shell: str, strategy: str) -> None:
    """In a new directory both strategies do the same; the log tells each step."""
    sha = place.commit("one")
    done = place.run(place.context(sha, Variable("GIT_STRATEGY", strategy), git={"depth": 20}), shell=shell)

    assert (done.code, place.read(), place.head()) == (0, "one", sha)
    assert place.git(place.project, "branch", "--show-current") == ""
    assert done.notices == [
        "Fetching changes with git depth set to 20...",
        "Created fresh repository.",
        f"Checking out {sha[:8]} as detached HEAD (ref is main)...",
        "Skipping Git submodules setup",
    ]
    assert f"Initialized empty Git repository in {place.root}/{place.project}/.git/" in done.lines


def test_second_job_fetches_into_the_same_directory(place: Place) -> None:
    """Only what is new comes, the directory stays."""
    place.run(place.context(place.commit("one")))
    (place.root / place.project / ".git/mark").touch()
    sha = place.commit("two")
    done = place.run(place.context(sha))

    assert (done.code, place.read(), place.head()) == (0, "two", sha)
    assert (place.root / place.project / ".git/mark").exists()
    assert "Created fresh repository." not in done.notices
    assert f"Reinitialized existing Git repository in {place.root}/{place.project}/.git/" in done.lines


def test_clone_begins_anew(place: Place) -> None:
    """Nothing of an earlier job's directory is left."""
    sha = place.commit("one")
    place.run(place.context(sha))
    (place.root / place.project / ".git/mark").touch()
    done = place.run(place.context(sha, Variable("GIT_STRATEGY", "clone")))

    assert done.code == 0
    assert not (place.root / place.project / ".git/mark").exists()
    assert "Created fresh repository." in done.notices


def test_depth_limits_history_and_zero_lifts_the_limit(place: Place) -> None:
    """A kept repository that is shallow is completed when a job wants it all."""
    place.commit("one")
    sha = place.commit("two")
    place.run(place.context(sha, git={"depth": 1}))
    shallow = place.git(place.project, "rev-list", "--count", "HEAD")
    done = place.run(place.context(sha))

    assert done.code == 0
    assert (shallow, place.git(place.project, "rev-list", "--count", "HEAD")) == ("1", "2")
    assert done.notices[0] == "Fetching changes..."


def test_refspecs_are_fetched_exactly(place: Place) -> None:
    """A tag's job gets tags, a merge request's gets its ref, a commit's gets the commit; nothing else comes."""
    first = place.commit("one")
    second = place.commit("two", branch="other")
    place.git("origin-work", "push", "-q", "origin", f"{first}:refs/tags/v1", f"{second}:refs/merge-requests/3/head")
    merge_request = "+refs/merge-requests/3/head:refs/merge-requests/3/head"
    pipeline = f"+{second}:refs/pipelines/5"
    done = place.run(place.context(second, git={"refspecs": [TAGS, merge_request, pipeline], "ref": "v1"}))

    refs = place.git(place.project, "for-each-ref", "--format", "%(refname)").splitlines()
    assert (done.code, place.head()) == (0, second)
    assert refs == ["refs/merge-requests/3/head", "refs/pipelines/5", "refs/tags/v1"]


def test_force_pushed_and_deleted_branches_are_followed(place: Place) -> None:
    """The remote's word counts, even where a branch has become a directory of branches."""
    place.commit("one")
    place.run(place.context(place.commit("two", branch="topic")))
    place.git("origin-work", "push", "-q", "origin", ":refs/heads/topic")
    place.git("origin-work", "commit", "-q", "--amend", "-m", "rewritten")
    sha = place.commit("three", branch="main")
    place.git("origin-work", "push", "-q", "-f", "origin", "HEAD:refs/heads/topic/deeper")
    done = place.run(place.context(sha))

    assert (done.code, place.read(), place.head()) == (0, "three", sha)
    assert place.git(place.project, "branch", "-r", "--format", "%(refname)").splitlines() == [
        "refs/remotes/origin/main",
        "refs/remotes/origin/topic/deeper",
    ]


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (None, set()),
        ("-ffdx -e ignored", {"ignored"}),
        ("-ffd", {"ignored"}),
        ("none", {"ignored", "untracked", "nested/.git"}),
    ],
    ids=["default", "exclude", "keep-ignored", "none"],
)
def test_dirty_work_tree_is_cleaned_as_asked(place: Place, flags: str | None, left: set[str]) -> None:
    """Changes to tracked files always go, `GIT_CLEAN_FLAGS` says what else."""
    place.commit("ignored\n", file=".gitignore")
    sha = place.commit("one")
    place.run(place.context(sha))
    work = place.root / place.project
    (work / "file").write_text("changed")
    (work / "ignored").touch()
    (work / "untracked").touch()
    place.git(work, "init", "-q", "nested")
    done = place.run(place.context(sha, *([Variable("GIT_CLEAN_FLAGS", flags)] if flags else [])))

    assert (done.code, place.read()) == (0, "one")
    assert {name for name in ("ignored", "untracked", "nested/.git") if (work / name).exists()} == left


def test_missing_commit_fails_with_git_s_words(place: Place) -> None:
    """A commit that was pushed away cannot be checked out."""
    place.commit("one")
    done = place.run(place.context("4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e"))

    assert done.code == 128
    assert "4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e" in done.errors
    assert done.notices[-1] == "Checking out 4f5e6d7c as detached HEAD (ref is main)..."


def test_missing_repository_fails_with_git_s_words(place: Place) -> None:
    """Nothing is checked out after a fetch that failed."""
    place.url = f"file://{place.root}/nowhere.git"
    done = place.run(place.context("4f5e6d7c"))

    assert done.code == 128
    assert "nowhere.git" in done.errors
    assert done.notices == ["Fetching changes...", "Created fresh repository."]


@pytest.mark.parametrize("shell", SHELLS)
def test_none_leaves_the_directory_alone(place: Place, shell: str) -> None:
    """It is there afterwards, and hooks do not run."""
    work = place.root / place.project
    work.mkdir(parents=True)
    (work / "mine").touch()
    hooks = [
        {"name": "pre_get_sources_script", "script": ["exit 9"]},
        {"name": "post_get_sources_script", "script": ["exit 9"]},
    ]
    done = place.run(place.context("4f5e", Variable("GIT_STRATEGY", "none"), hooks=hooks), shell=shell)

    assert (done.code, done.errors, [path.name for path in work.iterdir()]) == (0, "", ["mine"])
    assert done.notices == ["Skipping Git repository setup", "Skipping Git checkout", "Skipping Git submodules setup"]


def test_empty_leaves_an_empty_directory(place: Place) -> None:
    """Whatever was there."""
    work = place.root / place.project
    (work / "old").mkdir(parents=True)
    done = place.run(
        place.context("4f5e", Variable("GIT_STRATEGY", "empty"), Variable("GIT_SUBMODULE_STRATEGY", "normal"))
    )

    assert (done.code, list(work.iterdir())) == (0, [])
    assert done.notices == [
        "Skipping Git repository setup and creating an empty build directory",
        "Skipping Git checkout",
        "Skipping Git submodules setup",
    ]


def test_checkout_can_be_left_out(place: Place) -> None:
    """The commit is there to be checked out by the job itself."""
    sha = place.commit("one")
    done = place.run(place.context(sha, Variable("GIT_CHECKOUT", "false")))

    assert (done.code, place.read()) == (0, None)
    assert "Skipping Git checkout" in done.notices
    assert place.git(place.project, "cat-file", "-t", sha) == "commit"


def test_what_an_earlier_job_left_in_git_does_not_run(place: Place) -> None:
    """Locks of a killed git, hooks and settings that run code: all gone before git starts."""
    sha = place.commit("one")
    place.run(place.context(sha))
    repository = place.root / place.project / ".git"
    for name in (
        "index.lock",
        "shallow.lock",
        "HEAD.lock",
        "config.lock",
        "refs/heads/x.lock",
        "refs/remotes/origin/main.lock",
    ):
        (repository / name).touch()
    (repository / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction"):
        (repository / "hooks" / name).write_text(f"#!/bin/sh\ntouch {place.root}/ran\n")
        (repository / "hooks" / name).chmod(0o755)
    with (repository / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {place.root}/ran\n\tsshCommand = touch {place.root}/ran\n")
    done = place.run(place.context(place.commit("two")))

    assert (done.code, place.read()) == (0, "two")
    assert not (place.root / "ran").exists()
    assert "fsmonitor" not in (repository / "config").read_text()


def test_settings_in_git_stay_where_the_runner_says_so(place: Place) -> None:
    """With `clean_git_config = false` they are the project's own; the remote and the include are still ours."""
    sha = place.commit("one")
    keep: dict[str, object] = {"clean_git_config": False}
    place.run(place.context(sha, config=keep))
    place.git(place.project, "config", "user.name", "kept")
    place.git(place.project, "config", "remote.origin.url", "file:///elsewhere")
    done = place.run(place.context(sha, config=keep))

    assert done.code == 0
    assert place.git(place.project, "config", "user.name") == "kept"
    assert place.git(place.project, "config", "remote.origin.url") == place.url
    assert place.git(place.project, "config", "--local", "--get-all", "include.path") == (
        f"{place.root}/{place.project}.tmp/.gitlab-runner.ext.conf"
    )
    assert "Created fresh repository." not in done.notices


def test_hooks_of_runner_and_job_enclose_the_sources(place: Place) -> None:
    """The administrator's is the outer one on both sides, and a failing one fails the stage."""
    sha = place.commit("one")
    hooks = [
        {"name": "pre_get_sources_script", "script": ["echo job before; ls -d .git 2>/dev/null || true", "x=1"]},
        {"name": "post_get_sources_script", "script": ["echo job after $x; cat file; echo"]},
    ]
    config: dict[str, object] = {
        "pre_get_sources_script": "echo runner before",
        "post_get_sources_script": "echo runner after; exit 6",
    }
    done = place.run(place.context(sha, hooks=hooks, config=config))

    told = [line for line in done.lines if line.startswith(("job", "runner", "one"))]
    assert done.code == 6
    assert told == ["runner before", "job before", "job after 1", "one", "runner after"]


@pytest.mark.parametrize("project", ['builds/it\'s $HOME `x` "q"/ä\\b', "builds/-rf/a b"])
def test_any_directory_will_do(tmp_path: Path, project: str) -> None:
    """A group's or a clone path's name may hold what a shell reads."""
    place = Place(tmp_path, project=project)
    place.origin()
    for text in ("one", "two"):
        done = place.run(place.context(place.commit(text)))
        assert (done.code, place.read()) == (0, text)
    assert place.run(place.context("4f5e"), "cleanup_file_variables").code == 0


@pytest.mark.parametrize("strategy", ["fetch", "clone"])
def test_sha256_repository_is_fetched_twice(tmp_path: Path, strategy: str) -> None:
    """Its format is named when the repository is made, and known when it is met again."""
    place = Place(tmp_path)
    place.origin("origin", "--object-format=sha256")
    for text in ("one", "two"):
        sha = place.commit(text)
        done = place.run(place.context(sha, Variable("GIT_STRATEGY", strategy), git={"repo_object_format": "sha256"}))
        assert (done.code, done.errors, place.read(), place.head()) == (0, "", text, sha)


def test_home_that_cannot_be_written_does_not_matter(place: Place) -> None:
    """A pod that runs as an arbitrary user has none; git's global settings then lie with the job's."""
    sha = place.commit("one")
    for home in ("/nonexistent", ""):
        place.environment["HOME"] = home
        assert place.run(place.context(sha)).code == 0
    assert "directory = " in (place.root / f"{place.project}.tmp/.gitconfig").read_text()
    place.run(place.context(sha), "cleanup_file_variables")
    assert not (place.root / f"{place.project}.tmp/.gitconfig").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("home", ["/nonexistent", ""])
def test_every_stage_works_in_another_user_s_directory(place: Place, home: str) -> None:
    """On a kept volume, without a home: the stages between and after the sources know that it is safe, too."""
    place.environment["HOME"] = home
    sha = place.commit("one")
    context = place.context(sha, Variable("FF_ENABLE_JOB_CLEANUP", "true"))
    assert place.run(context).code == 0
    work = place.root / place.project
    for path in (work, work / ".git"):
        os.chown(path, 4711, 4711)
    for stage in ("clear_worktree", "get_sources"):
        done = place.run(context, stage)
        assert (done.code, done.errors) == (0, "")
    (work / "untracked").touch()
    done = place.run(context, "cleanup_file_variables")
    assert (done.code, done.errors, (work / "untracked").exists()) == (0, "", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("home", "submodules", "code"),
    [("home", "none", 0), ("", "none", 0), ("nonexistent", "normal", 0), ("home", "not wanted", 128)],
    ids=["at home", "without a home", "of submodules", "not wanted"],
)
def test_git_of_the_job_takes_sources_of_another_user(
    place: Place, shell: str, home: str, submodules: str, code: int
) -> None:
    """The helper brings them, as a rule as root, and the image's user is often another."""
    sha = place.commit("one")
    unwanted = submodules == "not wanted"
    settings = Variable("GIT_SUBMODULE_STRATEGY", "none" if unwanted else submodules)
    config: dict[str, object] = {"safe_directory_checkout": False} if unwanted else {}
    steps = [{"name": name, "script": ["git log -1 --format=%s"]} for name in ("script", "after_script")]
    context = place.context(sha, settings, config=config, steps=steps)
    assert place.run(context).code == 0
    work = place.root / place.project
    for path in (work, work / ".git"):
        os.chown(path, 4711, 4711)
    place.environment["HOME"] = home and str(place.root / home)
    for stage in ("step_script", "after_script"):
        done = place.run(context, stage, shell=shell)
        assert (done.code, done.lines[-1] == "one") == (code, not code), done.errors


@pytest.mark.parametrize(("configured", "marked"), [(None, True), (True, True), (False, False)])
def test_directory_is_marked_as_safe(place: Place, configured: bool | None, marked: bool) -> None:
    """The helper may run as someone else than whoever made the volume; `safe_directory_checkout = false` leaves it."""
    place.run(place.context(place.commit("one"), config={"safe_directory_checkout": configured}))

    home = (place.root / "home/.gitconfig").read_text()
    assert (f"directory = {place.root}/{place.project}" in home) is marked


def test_token_is_in_one_file_only(place: Place) -> None:
    """Neither in `.git/config` nor in the remote's URL; the user's own git in the work tree still asks with it."""
    place.url = "https://gitlab-ci-token:t0k@127.0.0.1:9/group/app.git"
    done = place.run(place.context("4f5e"))
    work = place.root / place.project

    holding = [path for path in place.root.rglob("*") if path.is_file() and "t0k" in path.read_text(errors="replace")]
    assert done.code == 128
    assert {path.name for path in holding} - {"stage"} == {".gitlab-runner.ext.conf"}
    assert place.git(work, "config", "remote.origin.url") == "https://127.0.0.1:9/group/app.git"
    for url in ("https://127.0.0.1:9/group/app.git", "https://git.example/other.git"):
        with_user = url.replace("//", "//gitlab-ci-token@")
        assert place.git(work, "ls-remote", "--get-url", url) == with_user
        assert place.filled(work, with_user) == ["username=gitlab-ci-token", "password=t0k"]
    assert (
        place.git(work, "ls-remote", "--get-url", "https://git.example.evil.org/x") == "https://git.example.evil.org/x"
    )


def test_token_is_gone_after_the_job(place: Place) -> None:
    """The cleanup takes the file, and git's settings in a kept repository."""
    sha = place.commit("one")
    place.run(place.context(sha))
    done = place.run(place.context(sha), "cleanup_file_variables")

    assert (done.code, done.lines, done.errors) == (0, [], "")
    assert list((place.root / f"{place.project}.tmp").iterdir()) == [place.root / f"{place.project}.tmp/git-template"]
    assert not (place.root / place.project / ".git/config").exists()


def test_clear_worktree_helps_after_a_broken_attempt(place: Place) -> None:
    """Tracked and untracked files go, the repository stays."""
    sha = place.commit("one")
    place.run(place.context(sha))
    (place.root / place.project / "untracked").touch()
    done = place.run(place.context(sha), "clear_worktree")

    assert (done.code, done.notices) == (0, ["Deleting tracked and untracked files..."])
    assert [path.name for path in (place.root / place.project).iterdir()] == [".git"]
    assert place.run(place.context(sha)).code == 0
    assert place.read() == "one"


def test_clear_worktree_has_nothing_to_do_without_a_repository(place: Place) -> None:
    """The first attempt may have failed before it made one."""
    done = place.run(place.context("4f5e"), "clear_worktree")

    assert (done.code, done.errors) == (0, "")


@pytest.mark.parametrize(
    ("strategy", "left"),
    [("clone", None), ("empty", None), ("none", {".git", "file", "untracked"}), ("fetch", {".git", "file"})],
)
def test_project_is_cleaned_after_the_job(place: Place, strategy: str, left: set[str] | None) -> None:
    """`FF_ENABLE_JOB_CLEANUP` leaves on a kept volume what the next job of that strategy wants."""
    sha = place.commit("one")
    place.run(place.context(sha))
    work = place.root / place.project
    (work / "file").write_text("changed")
    (work / "untracked").touch()
    variables = (Variable("FF_ENABLE_JOB_CLEANUP", "true"), Variable("GIT_STRATEGY", strategy))
    done = place.run(place.context(sha, *variables), "cleanup_file_variables")

    assert done.code == 0
    assert ({path.name for path in work.iterdir()} if work.exists() else None) == left
    assert strategy != "fetch" or place.read() == "one"


def test_native_clone_needs_a_new_git(place: Place) -> None:
    """An old one fetches, as it shows when it runs; a new one clones with one command."""
    sha = place.commit("one")
    flags = (Variable("FF_USE_GIT_NATIVE_CLONE", "true"), Variable("GIT_STRATEGY", "clone"))
    context = place.context(sha, *flags, git={"depth": 5})
    told = {}
    for version in ("2.48.9", "2.49.0", "2.50.1.windows.1", "3.0"):
        shim = place.root / "bin/git"
        shim.parent.mkdir(exist_ok=True)
        real = subprocess.run(["which", "git"], capture_output=True, check=True, timeout=60).stdout.decode().strip()
        shim.write_text(
            f'#!/bin/sh\n[ "$*" = version ] && {{ echo "git version {version}"; exit; }}\nexec {real} "$@"\n'
        )
        shim.chmod(0o755)
        path, place.environment["PATH"] = place.environment["PATH"], f"{shim.parent}:{place.environment['PATH']}"
        done = place.run(context)
        place.environment["PATH"] = path
        assert (done.code, place.read(), place.head()) == (0, "one", sha)
        told[version] = done.notices[0]

    clone = "Cloning repository for main with git depth set to 5..."
    assert told == {
        "2.48.9": "Fetching changes with git depth set to 5...",
        "2.49.0": clone,
        "2.50.1.windows.1": clone,
        "3.0": clone,
    }


def test_native_clone_has_the_job_s_flags(place: Place) -> None:
    """`GIT_CLONE_EXTRA_FLAGS`, with a git that is new enough; a ref is named as the commit's revision."""
    sha = place.commit("one")
    calls = place.root / "calls"
    shim = place.root / "bin/git"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\n[ "$*" = version ] && {{ echo "git version 2.49.0"; exit; }}\nprintf "%s\\n" "$*" >> {calls}\n'
        f'case "$*" in *" clone "*) mkdir -p {place.root}/{place.project} ;; esac\n'
    )
    shim.chmod(0o755)
    place.environment["PATH"] = f"{shim.parent}:{place.environment['PATH']}"
    flags = {"FF_USE_GIT_NATIVE_CLONE": "1", "GIT_STRATEGY": "clone", "GIT_CLONE_EXTRA_FLAGS": "--no-tags --jobs 2"}
    variables = [Variable(key, value) for key, value in flags.items()]
    done = place.run(place.context(sha, *variables, git={"ref": "refs/merge-requests/3/head", "depth": 5}))

    template = f"{place.root}/{place.project}.tmp/git-template"
    (clone,) = (line for line in calls.read_text().splitlines() if " clone " in line)
    assert done.code == 0
    assert clone == (
        f"-c http.userAgent=gitlab-runner 1.2 linux/amd64 clone --no-checkout {place.url} {place.root}/{place.project} "
        f"--template {template} --depth 5 --revision refs/merge-requests/3/head --no-tags --jobs 2"
    )
    assert done.notices[0] == "Cloning repository for refs/merge-requests/3/head with git depth set to 5..."


def test_failures_end_with_the_way_out(place: Place) -> None:
    """In red, behind git's words; the address is told without what is secret in it."""
    sha = place.commit("one")
    done = place.run(place.context("4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e"))
    assert done.lines[-1].startswith("\x1b[31;1mERROR: git could not check out the commit 4f5e6d7c, its reason stands")
    assert "main has been rewritten or deleted since the pipeline was made: run a new pipeline." in done.lines[-1]

    place.url = "http://gitlab-ci-token:t0k@127.0.0.1:9/group/app.git"
    done = place.run(place.context(sha))
    assert done.code == 128
    assert done.lines[-1].startswith("\x1b[31;1mERROR: git could not fetch from http://127.0.0.1:9/group/app.git, its")
    assert "t0k" not in "".join((*done.lines, done.errors))


def test_lfs_files_come_in_one_go(place: Place) -> None:
    """Where git-lfs is installed: not while checking out, then all at once; `GIT_LFS_SKIP_SMUDGE` leaves them."""
    sha = place.commit("one")
    tool = place.root / "bin/git-lfs"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\n[ "$1" = version ] || echo "$1 $GIT_LFS_SKIP_SMUDGE" >> {place.root}/calls\n')
    tool.chmod(0o755)
    place.environment["PATH"] = f"{tool.parent}:{place.environment['PATH']}"
    done = place.run(place.context(sha))
    skipped = place.run(place.context(sha, Variable("GIT_LFS_SKIP_SMUDGE", "1")))

    assert (done.code, skipped.code) == (0, 0)
    assert (place.root / "calls").read_text() == "pull 1\n"
    assert done.lines[-2:] == ["", "\x1b[32;1mSkipping Git submodules setup\x1b[0;m"]


def nested(place: Place) -> str:
    """Push a project with a submodule that has a submodule; the project's commit."""
    inner = place.origin("inner")
    place.commit("in", name="inner")
    outer = place.origin("outer")
    place.git("outer-work", "submodule", "add", "-q", inner, "sub")
    place.commit("out", name="outer")
    place.git("origin-work", "submodule", "add", "-q", outer, "my sub")
    return place.commit("one")


@pytest.mark.parametrize(
    ("strategy", "files"),
    [("none", (None, None)), ("normal", ("out", None)), ("recursive", ("out", "in"))],
)
@pytest.mark.parametrize("config", [{}, {"clean_git_config": False}], ids=["cleaned", "kept"])
def test_submodules_come_as_deep_as_asked(
    place: Place, strategy: str, files: tuple[str | None, ...], config: dict[str, object]
) -> None:
    """Again in a kept directory, where the first job left changes."""
    sha = nested(place)
    asked = Variable("GIT_SUBMODULE_STRATEGY", strategy)
    first = place.context(sha, asked, git={"depth": 1})
    second = place.context(sha, asked, Variable("GIT_LFS_SKIP_SMUDGE", "1"), git={"depth": 1}, config=config)
    for context in (first, second):
        done = place.run(context)
        assert (done.code, (place.read("my sub/file"), place.read("my sub/sub/file"))) == (0, files)
        if strategy != "none":
            (place.root / place.project / "my sub/file").write_text("changed")
            (place.root / place.project / "my sub/untracked").touch()
    recursively = " recursively" if strategy == "recursive" else ""
    updated = [
        f"Updating/initializing submodules{recursively} with git depth set to 1...",
        "Updated submodules",
        "Configuring submodules to use parent git credentials...",
    ]
    assert done.notices[2:] == (["Skipping Git submodules setup"] if strategy == "none" else updated)
    if strategy != "none":
        external = place.git(f"{place.project}/my sub", "config", "--local", "--get-all", "include.path")
        assert external == f"{place.root}/{place.project}.tmp/.gitlab-runner.ext.conf"


def test_submodule_that_moved_is_found_again(place: Place) -> None:
    """Its address is taken from the project at each job."""
    sha = nested(place)
    strategy = Variable("GIT_SUBMODULE_STRATEGY", "recursive")
    place.run(place.context(sha, strategy))
    (place.root / "outer.git").rename(place.root / "moved.git")
    place.git("origin-work", "config", "-f", ".gitmodules", "submodule.my sub.url", f"file://{place.root}/moved.git")
    place.git("origin-work/my sub", "remote", "set-url", "origin", f"file://{place.root}/moved.git")
    (place.root / "origin-work/my sub/file").write_text("newer")
    place.git("origin-work/my sub", "commit", "-q", "-a", "-m", "newer")
    place.git("origin-work/my sub", "push", "-q", "origin", "HEAD:refs/heads/main")
    done = place.run(place.context(place.commit("two"), strategy))

    assert (done.code, place.read("my sub/file"), place.read("my sub/sub/file")) == (0, "newer", "in")
    assert "Updated submodules" in done.notices


def test_submodule_that_cannot_be_had_fails_the_stage(place: Place) -> None:
    """After a second try, which the log announces."""
    sha = nested(place)
    (place.root / "outer.git").rename(place.root / "gone.git")
    flags = (Variable("GIT_SUBMODULE_STRATEGY", "normal"), Variable("GIT_SUBMODULE_UPDATE_FLAGS", "--remote --jobs 2"))
    done = place.run(place.context(sha, *flags))

    assert done.code != 0
    assert "\x1b[0;33mUpdating submodules failed. Retrying...\x1b[0;m" in done.lines
    assert "outer.git" in done.errors


def test_submodule_paths_choose(place: Place) -> None:
    """`GIT_SUBMODULE_PATHS` takes git's path specifications."""
    one = place.origin("one")
    place.commit("1", name="one")
    place.git("origin-work", "submodule", "add", "-q", one, "wanted")
    place.git("origin-work", "submodule", "add", "-q", one, "other")
    sha = place.commit("two")
    variables = (Variable("GIT_SUBMODULE_STRATEGY", "normal"), Variable("GIT_SUBMODULE_PATHS", ":(exclude)other"))
    done = place.run(place.context(sha, *variables))

    assert (done.code, place.read("wanted/file"), place.read("other/file")) == (0, "1", None)


def test_submodules_of_a_kept_repository_are_cleaned_after_the_job(place: Place) -> None:
    """With `FF_ENABLE_JOB_CLEANUP`, as deep as they were fetched."""
    sha = nested(place)
    context = place.context(
        sha, Variable("GIT_SUBMODULE_STRATEGY", "recursive"), Variable("FF_ENABLE_JOB_CLEANUP", "1")
    )
    place.run(context)
    (place.root / place.project / "my sub/sub/file").write_text("changed")
    (place.root / place.project / "my sub/sub/untracked").touch()
    done = place.run(context, "cleanup_file_variables")

    assert (done.code, place.read("my sub/sub/file"), place.read("my sub/sub/untracked")) == (0, "in", None)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            (Variable("GIT_SUBMODULE_STRATEGY", "deep"),),
            "unknown GIT_SUBMODULE_STRATEGY 'deep', use one of none, normal, recursive",
        ),
        (
            (Variable("GIT_SUBMODULE_STRATEGY", "normal"), Variable("GIT_SUBMODULE_PATHS", ":(exclude) a")),
            "GIT_SUBMODULE_PATHS holds an `:(exclude)` without a path: write `:(exclude)path` as one word",
        ),
    ],
    ids=["strategy", "paths"],
)
def test_senseless_submodule_settings_fail_the_job(
    place: Place, variables: tuple[Variable, ...], sentence: str
) -> None:
    """A guess would check out the wrong sources; the cleanup after it still works."""
    context = place.context("4f5e", *variables)
    with pytest.raises(JobConfigurationError) as caught:
        script_for("get_sources", context)

    assert str(caught.value) == sentence
    assert place.run(context, "cleanup_file_variables").code == 0


def https(place: Place, *variables: Variable, **config: object) -> ScriptContext:
    """A job of a project on a web server with a certificate of its own."""
    place.url = "https://gitlab-ci-token:t0k@git.example:8443/group/app.git"
    tls = [Variable(f"CI_SERVER_TLS_{name}_FILE", "PEM", file=True) for name in ("CA", "CERT", "KEY")]
    temporary = Variable("RUNNER_TEMP_PROJECT_DIR", "/r/app.tmp")
    return place.context("4f5e", *tls, temporary, *variables, config=dict(config))


def test_external_config_is_this_text(place: Place) -> None:
    """Every section, in its order."""
    found = https(place, Variable("GIT_SUBMODULE_FORCE_HTTPS", "true"), Variable("CI_SERVER_HOST", "git.example"))
    context = ScriptContext(
        **{name: getattr(found, name) for name in found.__slots__ if name != "correlation_id"}, correlation_id='01J"\\'
    )
    helper = (
        '\thelper = "!f() { if [ \\"$1\\" = get ]; then printf '
        "'password=%s\\\\n' "
        '\\"$(git config gitlab-runner.jobToken)\\"; fi; }; f"\n'
    )
    nobody = (
        '\thelper = "!f() { [ \\"$1\\" = get ] || return 0; while IFS= read -r line; do case $line in username=*) '
        "return 0 ;; esac; done; printf 'username=%s\\\\npassword=%s\\\\n' gitlab-ci-token "
        '\\"$(git config gitlab-runner.jobToken)\\"; }; f"\n'
    )

    assert external_config(context) == (
        "[http]\n"
        '\textraHeader = "X-Gitaly-Correlation-ID: 01J\\"\\\\"\n'
        "[transfer]\n"
        '\tbundleURI = "true"\n'
        '[http "https://git.example:8443"]\n'
        '\tsslCAInfo = "/r/app.tmp/CI_SERVER_TLS_CA_FILE"\n'
        '\tsslCert = "/r/app.tmp/CI_SERVER_TLS_CERT_FILE"\n'
        '\tsslKey = "/r/app.tmp/CI_SERVER_TLS_KEY_FILE"\n'
        "[gitlab-runner]\n"
        '\tjobToken = "t0k"\n'
        f'[credential "https://git.example:8443"]\n{nobody}'
        '[credential "https://gitlab-ci-token@git.example:8443"]\n'
        f'\thelper = ""\n{helper}'
        '[http "https://gitlab-ci-token@git.example:8443"]\n'
        '\temptyAuth = "true"\n'
        f'[credential "https://git.example"]\n{nobody}'
        '[credential "https://gitlab-ci-token@git.example"]\n'
        f'\thelper = ""\n{helper}'
        '[http "https://gitlab-ci-token@git.example"]\n'
        '\temptyAuth = "true"\n'
        '[url "https://gitlab-ci-token@git.example:8443/group/app.git"]\n'
        '\tinsteadOf = "https://git.example:8443/group/app.git"\n'
        '[url "https://gitlab-ci-token@git.example/"]\n'
        '\tinsteadOf = "https://git.example/"\n'
        '[url "https://gitlab-ci-token@git.example/"]\n'
        '\tinsteadOf = "git@git.example:"\n'
        '[url "https://gitlab-ci-token@git.example/"]\n'
        '\tinsteadOf = "ssh://git@git.example/"\n'
        '[url "https://gitlab-ci-token@git.example:8443/"]\n'
        '\tinsteadOf = "https://git.example:8443/"\n'
    )


def test_external_config_can_be_empty(place: Place) -> None:
    """A project that needs no credentials, on a runner that GitLab is not fetched from by HTTP."""
    context = place.context("4f5e", Variable("FF_USE_GIT_BUNDLE_URIS", "false"), config={"clone_url": "ssh://h"})

    assert external_config(context) == ""


@pytest.mark.parametrize("strategy", ["none", "empty"])
def test_credential_helper_is_there_without_sources(place: Place, strategy: str) -> None:
    """With `FF_GIT_URLS_WITHOUT_TOKENS` the user's own git asks the environment, sources or not."""
    variables = (Variable("FF_GIT_URLS_WITHOUT_TOKENS", "true"), Variable("GIT_STRATEGY", strategy))
    done = place.run(https(place, *variables))
    place.environment |= {"GIT_CONFIG_GLOBAL": f"{place.root}/{place.project}.tmp/.glr.gconf", "CI_JOB_TOKEN": "t0k"}

    assert done.code == 0
    assert place.filled(".", "https://git.example:8443") == ["username=gitlab-ci-token", "password=t0k"]


def test_template_config_is_this_text(place: Place) -> None:
    """It is copied into `.git/config`, so it holds no secret."""
    assert template_config(place.context("4f5e")) == (
        "[init]\n"
        '\tdefaultBranch = "none"\n'
        "[fetch]\n"
        '\trecurseSubmodules = "false"\n'
        "[credential]\n"
        '\tinteractive = "never"\n'
        "[gc]\n"
        '\tautoDetach = "false"\n'
        "[include]\n"
        f'\tpath = "{place.root}/{place.project}.tmp/.gitlab-runner.ext.conf"\n'
    )


def test_tls_is_set_globally_for_hooks(place: Place) -> None:
    """They run before there is a repository whose settings could name the CA."""
    place.run(https(place))

    assert (
        place.git(".", "config", "--global", "http.https://git.example:8443.sslCAInfo")
        == "/r/app.tmp/CI_SERVER_TLS_CA_FILE"
    )
