"""Which stage has which script, and what the scripts do when they run."""

import os
import subprocess
from pathlib import Path

import pytest

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.scripts import Script, ScriptContext, script_for

SHELLS = {"bash": ["bash"], "dash": ["dash"], "busybox": ["busybox", "sh"]}
shells = pytest.mark.parametrize("shell", SHELLS)


def make_context(
    root: str | Path,
    *variables: Variable,
    job: dict[str, object] | None = None,
    config: dict[str, object] | None = None,
    status: str = "running",
    manager: str = "",
) -> ScriptContext:
    """The context of a job below `root`, with nothing but what is asked for."""
    return ScriptContext(
        job=Job.parse({"id": 7, "token": "t0k", "job_info": {"name": "test"}, **(job or {})}),
        variables=Variables(variables),
        config=RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-x", **(config or {})}),
        project_dir=f"{root}/builds/app",
        temp_dir=f"{root}/builds/app.tmp",
        builds_dir=f"{root}/builds",
        cache_dir=f"{root}/cache/app",
        manager_host=manager,
        job_status=status,
    )


def step(*commands: str, name: str = "script") -> dict[str, object]:
    """A payload with one step."""
    return {"steps": [{"name": name, "script": list(commands)}]}


def text_of(stage: str, context: ScriptContext) -> str:
    """The text of a stage that has one."""
    script = script_for(stage, context)
    assert script is not None
    return script.text


def run(stage: str, context: ScriptContext, shell: str = "dash", *, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a stage from a file, in a directory of no meaning, with an environment of no meaning."""
    root = Path(context.builds_dir).parent
    file = root / "stage"
    file.write_text(text_of(stage, context), encoding="utf-8")
    Path(context.project_dir).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [*SHELLS[shell], str(file)],
        cwd=root,
        env={"PATH": path + os.environ["PATH"], "HOME": str(root), "HOSTNAME": "pod-1"},
        input=b"not for the job\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_step_script_is_this_text() -> None:
    """A small script whole: the prologue, the directory, announced commands, all as one word for `eval`."""
    context = make_context(
        "/r",
        Variable("NAME", "it's $OTHER"),
        Variable("OTHER", "x"),
        Variable("CERT", "two\nlines", file=True),
        job=step("make", 'echo "$NAME"\necho done'),
    )

    assert script_for("step_script", context) == Script(
        "step_script",
        "#!/usr/bin/env bash\n"
        "\n"
        "trap 'exit 1' TERM\n"
        "\n"
        "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"
        "set -o errexit\n"
        "set +o noclobber\n"
        "(trap 'exit 1' TERM; eval \"[ -d /r/builds/app.tmp ] || mkdir -p /r/builds/app.tmp\n"
        'export NAME=\\"it\'s x\\"\n'
        "export OTHER=x\n"
        "printf '%s' 'two\n"
        "lines' > /r/builds/app.tmp/CERT\n"
        "export CERT=/r/builds/app.tmp/CERT\n"
        "export CI_JOB_STATUS=running\n"
        "export GITLAB_ENV=/r/builds/app.tmp/gitlab_runner_env\n"
        '[ -e \\"\\$GITLAB_ENV\\" ] || : > \\"\\$GITLAB_ENV\\"\n'
        "while IFS=' \t' read -r gitlab_env_line || [ -n \\\"\\$gitlab_env_line\\\" ]; do\n"
        '  if (export -- \\"\\$gitlab_env_line\\") 2>/dev/null; then export -- \\"\\$gitlab_env_line\\"; fi\n'
        'done < \\"\\$GITLAB_ENV\\"\n'
        "if [ ! -O /r/builds/app ] && command -v git >/dev/null 2>&1; then\n"
        "  git config --global --add safe.directory /r/builds/app 2>/dev/null || "
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=/r/builds/app\n"
        "fi\n"
        "cd /r/builds/app\n"
        "printf '%s\\\\n' '\x1b[32;1m\\$ make\x1b[0;m'\n"
        "make\n"
        "printf '%s\\\\n' '\x1b[32;1m\\$ echo \\\"\\$NAME\\\" # collapsed multi-line command\x1b[0;m'\n"
        'echo \\"\\$NAME\\"\n'
        "echo done\n"
        '") </dev/null\n'
        "exit 0\n",
    )


def test_prepare_script_is_this_text() -> None:
    """The helper's umask is opened, the log says where it runs, what an earlier job handed on is gone."""
    assert text_of("prepare_script", make_context("/r", manager="manager-0")) == (
        "#!/usr/bin/env bash\n"
        "\n"
        "trap 'exit 1' TERM\n"
        "\n"
        "umask 0000\n"
        "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"
        "set -o errexit\n"
        "set +o noclobber\n"
        "(trap 'exit 1' TERM; eval \"printf '%s\\\\n' '\x1b[0;mRunning on '"
        "\\\"\\${HOSTNAME:-\\$(hostname)}\\\"' via manager-0...\x1b[0;m'\n"
        "rm -f /r/builds/app.tmp/gitlab_runner_env /r/builds/app.tmp/masking.db\n"
        '") </dev/null\n'
        "exit 0\n"
    )


@shells
@pytest.mark.parametrize(
    ("manager", "line"), [("m's $HOME", "Running on pod-1 via m's $HOME..."), ("", "Running on pod-1...")]
)
def test_prepare_says_where_it_runs(shell: str, manager: str, line: str, tmp_path: Path) -> None:
    """The pod by its host name; the manager if its own is known."""
    done = run("prepare_script", make_context(tmp_path, manager=manager), shell)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"\x1b[0;m{line}\x1b[0;m\n", "")


@pytest.mark.parametrize(
    ("stage", "job"),
    [
        ("step_release", step("x")),
        ("step_script", {}),
        ("after_script", step("x")),
        ("after_script", step(name="after_script")),
        ("prepare_executor", step("x")),
        ("restore_cache", {}),
        ("restore_cache", {"cache": [{"key": "k"}]}),
        ("archive_cache", {"cache": [{"paths": ["a"], "when": "on_failure"}]}),
        ("archive_cache_on_failure", {"cache": [{"paths": ["a"]}]}),
        ("download_artifacts", {}),
        ("download_artifacts", {"dependencies": [{"id": 1, "name": "b", "token": "t"}]}),
        ("download_artifacts", {"dependencies": [{"id": 1, "name": "b", "artifacts_file": {"filename": ""}}]}),
        ("upload_artifacts_on_success", {}),
        ("upload_artifacts_on_success", {"artifacts": [{"name": "x"}]}),
        ("upload_artifacts_on_success", {"artifacts": [{"paths": ["a"], "when": "on_failure"}]}),
        ("upload_artifacts_on_failure", {"artifacts": [{"paths": ["a"]}]}),
    ],
)
def test_stage_with_nothing_to_do_has_no_script(stage: str, job: dict[str, object]) -> None:
    """Such a stage is skipped without a trace in the job log."""
    assert script_for(stage, make_context("/r", job=job)) is None


@pytest.mark.parametrize(
    ("stage", "job"),
    [
        ("step_script", step()),
        ("step_lint_all", step("x", name="Lint All")),
        ("after_script", step("x", name="after_script")),
        ("clear_worktree", {}),
        ("cleanup_file_variables", {}),
        ("get_sources", {}),
        ("restore_cache", {"cache": [{"untracked": True}]}),
        ("archive_cache", {"cache": [{"paths": ["a"]}]}),
        ("archive_cache_on_failure", {"cache": [{"paths": ["a"], "when": "always"}]}),
        ("download_artifacts", {"dependencies": [{"id": 1, "artifacts_file": {"filename": "a.zip"}}]}),
        ("upload_artifacts_on_success", {"artifacts": [{"untracked": True, "when": "always"}]}),
        ("upload_artifacts_on_failure", {"artifacts": [{"paths": ["a"], "when": "always"}]}),
    ],
)
def test_stage_with_something_to_do_has_a_script(stage: str, job: dict[str, object]) -> None:
    """The counterpart, by GitLab Runner's table of stages."""
    script = script_for(stage, make_context("/r", job=job))

    assert script is not None
    assert script.stage == stage


@pytest.mark.parametrize("shell", ["powershell", "cmd", "fish"])
def test_other_shell_is_refused(shell: str) -> None:
    """The sentence says what to set; nothing is run in a shell that was not asked for."""
    with pytest.raises(JobConfigurationError) as caught:
        script_for("step_script", make_context("/r", config={"shell": shell}, job=step("x")))

    told = f'the shell "{shell}" is not supported, set shell = "bash", "sh" or "pwsh" in config.toml'
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("shell", "line"), [("sh", "#!/usr/bin/env sh"), ("bash", "#!/usr/bin/env bash"), ("", "#!/usr/bin/env bash")]
)
def test_shell_changes_the_first_line(shell: str, line: str) -> None:
    """And nothing else: which shell runs is found out in the container."""
    text = text_of("step_script", make_context("/r", config={"shell": shell}, job=step("x")))

    assert text.splitlines()[0] == line
    assert text.splitlines()[1:] == text_of("step_script", make_context("/r", job=step("x"))).splitlines()[1:]


def test_same_context_gives_the_same_text() -> None:
    """A stage whose start was not acknowledged is sent again, and must be the same file."""
    context = make_context("/r", Variable("A", "b"), job=step("x"))

    assert script_for("step_script", context) == script_for("step_script", context)


def test_secrets_are_not_in_what_python_shows() -> None:
    """Scripts and contexts end up in tracebacks."""
    context = make_context("/r", Variable("SECRET", "hunter2"), job=step("x"))

    assert "hunter2" not in repr(context) + repr(script_for("step_script", context))


@shells
def test_variables_reach_the_commands(shell: str, tmp_path: Path) -> None:
    """Expanded once, the last of a name, file variables as the path of a file that holds exactly the value."""
    context = make_context(
        tmp_path,
        Variable("A", "first"),
        Variable("B", "$A $$ ${NONE}."),
        Variable("A", "$C"),
        Variable("C", "see"),
        Variable("RAW", "$A `x`", raw=True),
        Variable("FILE", "no newline é\\n'", file=True, raw=True),
        Variable("EMPTY", "", file=True),
        Variable("my.file", "odd", file=True),
        Variable("my.name", "odd"),
        Variable("../outside", "out", file=True),
        Variable("FROM", "$FILE"),
        Variable("RUNNER_TEMP_PROJECT_DIR", f"{tmp_path}/builds/app.tmp"),
        job=step('printf \'[%s]\' "$A" "$B" "$C" "$RAW" "$FILE" "$FROM"; pwd', 'cat "$FILE" "$EMPTY"'),
    )
    done = run("step_script", context, shell)

    temporary = tmp_path / "builds/app.tmp"
    lines = [line for line in done.stdout.splitlines() if not line.startswith("\x1b")]
    assert (done.returncode, done.stderr) == (0, "")
    assert lines == [
        f"[see][$C $ .][see][$A `x`][{temporary}/FILE][{temporary}/FILE]{tmp_path}/builds/app",
        "no newline é\\n'",
    ]
    assert {path.name: path.read_text() for path in temporary.iterdir()} == {
        "FILE": "no newline é\\n'",
        "EMPTY": "",
        "my.file": "odd",
        "gitlab_runner_env": "",
    }
    assert not (tmp_path / "builds/outside").exists()


@shells
def test_gitlab_env_hands_values_to_later_stages(shell: str, tmp_path: Path) -> None:
    """Line by line as written; a line that is no assignment, or to no name of a shell, is passed over."""
    first = make_context(
        tmp_path,
        Variable("A", "of the job"),
        job=step(
            "printf '%s\\n' 'A=b=c d\\n \"$HOME\" `x`' '  INDENTED=1' >> $GITLAB_ENV",
            "printf '%s\\n' 'my-name=x' '1A=x' '' '-p' 'no name=x' 'UID=1' >> $GITLAB_ENV",
            "printf 'LAST=no newline' >> $GITLAB_ENV",
        ),
    )
    second = make_context(
        tmp_path,
        Variable("A", "of the job"),
        job=step('printf \'[%s]\' "$A" "$INDENTED" "$LAST"; sh -c \'printf %s "$A"\''),
    )
    assert run("step_script", first, shell).returncode == 0
    done = run("step_script", second, shell)

    value = 'b=c d\\n "$HOME" `x`'
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == f"[{value}][1][no newline]{value}"


@shells
def test_prepare_forgets_what_an_earlier_job_handed_on(shell: str, tmp_path: Path) -> None:
    """The temporary directory may lie on a kept volume."""
    context = make_context(tmp_path, job=step("echo A=b >> $GITLAB_ENV"))
    run("step_script", context, shell)
    run("prepare_script", context, shell)

    assert not (tmp_path / "builds/app.tmp/gitlab_runner_env").exists()


@shells
@pytest.mark.parametrize(
    ("commands", "code"),
    [
        (["exit 3", "echo never"], 3),
        (["no-such-command-4711", "echo never"], 127),
        (["(exit 255)", "echo never"], 255),
        (["cat", "echo end"], 0),
    ],
    ids=["exit", "unknown", "status", "stdin"],
)
def test_step_ends_as_its_commands_do(shell: str, commands: list[str], code: int, tmp_path: Path) -> None:
    """The code comes through, nothing runs after a failure, and stdin is at its end."""
    done = run("step_script", make_context(tmp_path, job=step(*commands)), shell)

    assert done.returncode == code
    assert "never" not in done.stdout
    assert "not for the job" not in done.stdout


@shells
def test_administrator_s_scripts_share_the_step_s_shell(shell: str, tmp_path: Path) -> None:
    """`pre_build_script` sets up, the step uses it, `post_build_script` sees the end."""
    context = make_context(
        tmp_path,
        job=step("echo $x; x=2"),
        config={"pre_build_script": "x=1", "post_build_script": "echo $x"},
    )
    done = run("step_script", context, shell)

    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if not line.startswith("\x1b")] == ["1", "2"]


@shells
def test_after_script_is_a_shell_of_its_own(shell: str, tmp_path: Path) -> None:
    """It is told how the steps ended, and the administrator's scripts stay out of it."""
    context = make_context(
        tmp_path,
        Variable("CI_JOB_STATUS", "running"),
        job=step('echo "$CI_JOB_STATUS"', name="after_script"),
        config={"pre_build_script": "exit 9", "post_build_script": "exit 9"},
        status="timedout",
    )
    done = run("after_script", context, shell)

    assert (done.returncode, done.stdout) == (
        0,
        '\x1b[32;1mRunning after script...\x1b[0;m\n\x1b[32;1m$ echo "$CI_JOB_STATUS"\x1b[0;m\ntimedout\n',
    )


def test_release_is_expanded_before_the_shell_sees_it(tmp_path: Path) -> None:
    """The commands are GitLab's own, with variables in them that no shell should split."""
    context = make_context(
        tmp_path,
        Variable("TAG", "v1 beta"),
        job=step("printf '[%s]' 'release $TAG'", name="release"),
    )
    done = run("step_release", context)

    assert done.stdout.splitlines()[1] == "[release v1 beta]"


@shells
def test_script_sections_need_a_gitlab_that_knows_them(shell: str, tmp_path: Path) -> None:
    """The flag alone is not enough; commands are numbered in their list."""
    flag = Variable("FF_SCRIPT_SECTIONS", "true")
    commands = step("true", "echo a\necho b")
    with_sections = make_context(tmp_path, flag, job={**commands, "features": {"trace_sections": True}})
    without = make_context(tmp_path, flag, job=commands)

    assert "section_start:" not in run("step_script", without, shell).stdout
    assert (
        ":section_script_step_1[hide_duration=true,collapsed=true]\r" in run("step_script", with_sections, shell).stdout
    )


@shells
def test_debug_trace_shows_commands(shell: str, tmp_path: Path) -> None:
    """Unless the runner forbids it."""
    variable = Variable("CI_DEBUG_TRACE", "true")
    allowed = run("step_script", make_context(tmp_path, variable, job=step("echo one")), shell)
    forbidden = run(
        "step_script",
        make_context(tmp_path, variable, job=step("echo one"), config={"debug_trace_disabled": True}),
        shell,
    )

    assert "echo one" in [line.lstrip("+ ") for line in allowed.stderr.splitlines()]
    assert forbidden.stderr == ""


@pytest.mark.parametrize(
    ("stage", "flag", "lines"),
    [
        ("prepare_script", "false", ["umask 0000"]),
        ("prepare_script", "true", ["umask 0022"]),
        ("step_script", "false", []),
        ("after_script", "true", []),
    ],
)
def test_umask_is_opened_in_the_helper_only(stage: str, flag: str, lines: list[str]) -> None:
    """What the helper makes, the build container's user must be able to change; the job's files are its own affair."""
    variable = Variable("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", flag)

    job: dict[str, object] = {"steps": [{"name": name, "script": ["x"]} for name in ("script", "after_script")]}
    text = text_of(stage, make_context("/r", variable, job=job))

    assert [line for line in text.splitlines() if line.startswith("umask")] == lines


@shells
def test_exit_code_check_reaches_the_step(shell: str, tmp_path: Path) -> None:
    """`FF_ENABLE_BASH_EXIT_CODE_CHECK`, for commands that follow a `set +e`."""
    flag = Variable("FF_ENABLE_BASH_EXIT_CODE_CHECK", "true")
    done = run("step_script", make_context(tmp_path, flag, job=step("set +e", "(exit 4)", "echo never")), shell)

    assert done.returncode == 4


@shells
def test_cleanup_removes_what_holds_secrets(shell: str, tmp_path: Path) -> None:
    """File variables, what stages handed on, git's settings; what the job made in the directory stays."""
    context = make_context(
        tmp_path,
        Variable("FILE", "secret", file=True),
        Variable("my.file", "secret", file=True),
        job=step("echo A=secret >> $GITLAB_ENV"),
    )
    temporary = tmp_path / "builds/app.tmp"
    run("step_script", context, shell)
    for name in (".gitlab-runner.ext.conf", ".glr.gconf", "masking.db", "own"):
        (temporary / name).touch()
    (tmp_path / "builds/.gitlab-build-uid-gid").touch()
    done = run("cleanup_file_variables", context, shell)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in temporary.iterdir()] == ["own"]
    assert not (tmp_path / "builds/.gitlab-build-uid-gid").exists()


@pytest.mark.parametrize("shell", ["bash", "dash"])  # busybox would take its own chown
@pytest.mark.parametrize("debug", [True, False], ids=["debug", "quiet"])
def test_ownership_follows_the_mark(shell: str, debug: bool, tmp_path: Path) -> None:
    """With `FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR` the sources are given to whoever made the mark."""
    context = make_context(
        tmp_path,
        Variable("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", "true"),
        Variable("GIT_STRATEGY", "none"),
        Variable("CI_DEBUG_TRACE", str(debug)),
    )
    mark = tmp_path / "builds/.gitlab-build-uid-gid"
    tool = tmp_path / "bin/chown"
    for path in (mark, tool):
        path.parent.mkdir()
        path.touch()
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    tool.chmod(0o755)
    done = run("get_sources", context, shell, path=f"{tmp_path}/bin:")

    owner = f"{os.getuid()}:{os.getgid()}"
    assert done.returncode == 0
    assert (f"Setting ownership for {tmp_path}/builds to {owner}\n" in done.stdout) is debug
    assert (tmp_path / "called").read_text() == f"-R {owner} {tmp_path}/builds\n"


@shells
def test_variables_of_five_mebibytes_go_to_programs(shell: str, tmp_path: Path) -> None:
    """Where a stack of ordinary size would not have room for them."""
    large = [Variable(f"BIG{number}", "x" * 100_000) for number in range(50)]
    done = run("step_script", make_context(tmp_path, *large, job=step("env | grep -c ^BIG")), shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n50\n")


@pytest.mark.parametrize(("size", "expected"), [(90_000, False), (110_000, True)], ids=["ordinary", "large"])
def test_the_stack_grows_only_for_large_variables(size: int, expected: bool) -> None:
    """Threads of the job's programs take theirs from it."""
    variables = [Variable(f"BIG{number}", "x" * size) for number in range(11)]
    assert ("ulimit" in text_of("step_script", make_context("/r", *variables, job=step("true")))) is expected
