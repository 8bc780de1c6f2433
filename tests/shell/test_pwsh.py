"""PowerShell scripts: their text, as a parser of PowerShell reads it, and the sh around them as it runs.

PowerShell itself is in no registry that these tests may use: what the text does there is not run, only parsed.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
from hypothesis import given
from hypothesis import strategies as st

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.health import health_check_script
from runner.shell.pwsh import PwshWriter, quote_pwsh, wrap_pwsh
from runner.shell.scripts import ScriptContext, script_for

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
AWKWARD = st.text(st.sampled_from("'\"`$(){}@#;|<> \n\t\x1bäЁ“”€😀a1"), max_size=40)


def nodes(text: str) -> Iterator[tree_sitter.Node]:
    """All nodes of a script's tree."""
    waiting = [PARSER.parse(text.encode()).root_node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def is_sound(text: str) -> bool:
    """Whether a script is PowerShell."""
    return not PARSER.parse(text.encode()).root_node.has_error


def make_context(
    root: str | Path,
    *variables: Variable,
    job: dict[str, object] | None = None,
    config: dict[str, object] | None = None,
) -> ScriptContext:
    """The context of a job below `root` whose runner says `pwsh`."""
    return ScriptContext(
        job=Job.parse({"id": 7, "token": "t0k", "job_info": {"name": "test"}, **(job or {})}),
        variables=Variables(variables),
        config=RunnerConfig.model_validate(
            {"url": "https://git.example", "token": "glrt-x", "shell": "pwsh", **(config or {})}
        ),
        project_dir=f"{root}/app",
        temp_dir=f"{root}/app.tmp",
        builds_dir=str(root),
        cache_dir=f"{root}/cache",
    )


def steps(**scripts: list[str]) -> dict[str, object]:
    """A payload with steps."""
    return {"steps": [{"name": name, "script": script} for name, script in scripts.items()]}


def run(stage: str, context: ScriptContext, *, fake: str = "", shell: str = "dash") -> tuple[int, str]:
    """Run a stage with `fake`, a script for sh, in PowerShell's place; empty: there is none."""
    root = Path(context.builds_dir)
    Path(context.project_dir).mkdir(parents=True, exist_ok=True)
    (root / "bin").mkdir(exist_ok=True)
    if fake:
        (root / "bin" / "pwsh").write_text(f"#!/bin/sh\n{fake}\n")
        (root / "bin" / "pwsh").chmod(0o755)
    script = script_for(stage, context)
    assert script is not None
    (root / "stage").write_text(script.text)
    done = subprocess.run(
        [shell, str(root / "stage")],
        cwd=root,
        env={"PATH": f"{root}/bin:{os.environ['PATH']}", "HOME": str(root)},
        input=b"not for the job\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", "''"),
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ('$HOME `x` "y"', "'$HOME `x` \"y\"'"),
        ("a\nb", "'a\nb'"),
        ("’‘‚‛", "'’’‘‘‚‚‛‛'"),
        ("nul\0gone", "'nulgone'"),
    ],
)
def test_quote_gives_a_string_without_anything_live(text: str, quoted: str) -> None:
    """PowerShell's typographic quotes end a string too."""
    assert quote_pwsh(text) == quoted


@given(AWKWARD)
def test_a_quoted_text_is_one_string(text: str) -> None:
    """Whatever stands in it, a parser sees one literal and no variable, no command and no end."""
    script = f"$x = {quote_pwsh(text)}\n"
    assert is_sound(script)
    literals = [node for node in nodes(script) if node.type == "verbatim_string_characters"]
    assert len(literals) == 1


def carried(stage: str, context: ScriptContext) -> str:
    """The PowerShell that a stage brings along, with `/r` for the root."""
    code, told = run(stage, context, fake='cat "$7"')
    assert code == 0
    return told.replace(context.builds_dir, "/r")


def test_a_value_that_no_program_can_have_is_the_scripts_alone(tmp_path: Path) -> None:
    """With one of more than 128 KiB no program would start."""
    long = "x" * 131072
    context = make_context(tmp_path, Variable("BIG", long), Variable("a.b", long), job=steps(script=["make"]))
    text = carried("step_script", context)

    assert f"${{BIG}} = '{long}'\n" in text
    assert "${env:BIG}" not in text
    assert "a.b" not in text


def test_a_step_is_this_text(tmp_path: Path) -> None:
    """A small script whole: what the shell is told, variables, GITLAB_ENV, the directory, announced commands."""
    context = make_context(
        tmp_path,
        Variable("NAME", "it's $OTHER"),
        Variable("OTHER", "x"),
        Variable("CERT", "two\nlines", file=True),
        Variable("HOME", "/h"),
        Variable("a.b", "c"),
        job=steps(script=["make", 'foreach ($i in 1..2) {\n  "$i"\n}']),
    )
    powershell = (
        "#!/usr/bin/env pwsh\n"
        "& {\n"
        "$ErrorActionPreference = 'Stop'\n"
        "$ProgressPreference = 'SilentlyContinue'\n"
        "$OutputEncoding = [System.Text.UTF8Encoding]::new($false)\n"
        "[Console]::InputEncoding = [Console]::OutputEncoding = $OutputEncoding\n"
        "if ($PSStyle) { $PSStyle.OutputRendering = 'Ansi' }\n"
        "[void][System.IO.Directory]::CreateDirectory('/r/app.tmp')\n"
        "${NAME} = 'it''s x'\n"
        "${env:NAME} = ${NAME}\n"
        "${OTHER} = 'x'\n"
        "${env:OTHER} = ${OTHER}\n"
        "[System.IO.File]::WriteAllText('/r/app.tmp/CERT', 'two\nlines')\n"
        "${CERT} = '/r/app.tmp/CERT'\n"
        "${env:CERT} = ${CERT}\n"
        "[System.Environment]::SetEnvironmentVariable('HOME', '/h')\n"
        "[System.Environment]::SetEnvironmentVariable('a.b', 'c')\n"
        "${CI_JOB_STATUS} = 'running'\n"
        "${env:CI_JOB_STATUS} = ${CI_JOB_STATUS}\n"
        "${GITLAB_ENV} = '/r/app.tmp/gitlab_runner_env'\n"
        "${env:GITLAB_ENV} = ${GITLAB_ENV}\n"
        "if (!(Test-Path -LiteralPath ${env:GITLAB_ENV})) { "
        "[System.IO.File]::WriteAllText(${env:GITLAB_ENV}, '') }\n"
        "foreach ($runner_line in [System.IO.File]::ReadAllLines(${env:GITLAB_ENV})) {\n"
        "  $runner_name, $runner_value = $runner_line.Trim() -split '=', 2\n"
        "  if ($runner_name -and $null -ne $runner_value) {\n"
        "    [System.Environment]::SetEnvironmentVariable($runner_name, $runner_value)\n"
        "  }\n"
        "}\n"
        "Set-Location -LiteralPath '/r/app'\n"
        "Write-Output '\x1b[32;1m$ make\x1b[0;m'\n"
        "make\n"
        "if (!$?) { exit $(if ($LASTEXITCODE) { $LASTEXITCODE } else { 1 }) }\n"
        "Write-Output '\x1b[32;1m$ foreach ($i in 1..2) { # collapsed multi-line command\x1b[0;m'\n"
        'foreach ($i in 1..2) {\n  "$i"\n}\n'
        "if (!$?) { exit $(if ($LASTEXITCODE) { $LASTEXITCODE } else { 1 }) }\n"
        "}\n"
    )
    assert is_sound(powershell)
    assert carried("step_script", context) == powershell


@pytest.mark.parametrize(
    "command",
    [
        "Write-Output 'x'",
        '$a = @"\nhere $b\n"@\n$a',
        "if ($true) { Get-ChildItem | ForEach-Object { $_.Name } }",
        "# a comment",
        "git status; git log",
        "",
    ],
    ids=["plain", "here-string", "blocks", "comment", "two", "empty"],
)
def test_commands_stay_sound(command: str) -> None:
    """What is put around a command does not change how it reads."""
    writer = PwshWriter()
    writer.user_command(command)
    assert is_sound(wrap_pwsh(writer.text(), trace=True)), writer.text()


def test_trace_is_powershells(tmp_path: Path) -> None:
    """`CI_DEBUG_TRACE` traces the commands, and not the sh that carries them."""
    context = make_context(tmp_path, Variable("CI_DEBUG_TRACE", "true"), job=steps(script=["x"]))
    assert "\nSet-PSDebug -Trace 2\n" in carried("step_script", context)
    script = script_for("step_script", context)
    assert script is not None
    assert "xtrace" not in script.text


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("stage", ["step_script", "after_script"])
def test_a_stage_ends_as_powershell_does(stage: str, shell: str, tmp_path: Path) -> None:
    """It gets a file and no standard input, and its exit code is the stage's."""
    context = make_context(tmp_path, job=steps(script=["it 's"], after_script=["it 's"]))
    fake = 'echo "$*"; cat; head -n 2 "$7"; grep "^it" "$7"; exit 3'
    assert run(stage, context, fake=fake, shell=shell) == (
        3,
        f"-NoProfile -NoLogo -NonInteractive -ExecutionPolicy Bypass -File {tmp_path}/app.tmp/{stage}.ps1\n"
        "#!/usr/bin/env pwsh\n& {\nit 's\n",
    )


def test_an_image_without_powershell_is_named(tmp_path: Path) -> None:
    """The sentence says what to do."""
    code, told = run("step_script", make_context(tmp_path, job=steps(script=["x"])))
    assert code == 127
    assert "The runner's shell is \"pwsh\" and this container's image has no PowerShell: use an image with pwsh" in told


def test_hooks_of_the_sources_are_powershell_in_the_helper(tmp_path: Path) -> None:
    """The runner's own part is sh as ever; a hook that fails ends the stage with its code."""
    repository = tmp_path / "repo.git"
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    sha = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    info = {
        "repo_url": f"file://{repository}",
        "sha": sha,
        "ref": "main",
        "refspecs": ["+refs/heads/*:refs/remotes/origin/*"],
        "repo_object_format": "sha1",
    }
    hook = {"name": "post_get_sources_script", "script": ["Write-Output after"]}
    context = make_context(
        tmp_path,
        Variable("GIT_STRATEGY", "clone"),
        job={"git_info": info, "hooks": [hook]},
        config={"pre_get_sources_script": "Write-Output before"},
    )
    code, told = run("get_sources", context, fake='echo "@$7"; grep -q after "$7" && exit 5; exit 0')
    assert code == 5
    assert [line for line in told.splitlines() if line.startswith("@")] == [
        f"@{tmp_path}/app.tmp/pre_get_sources_script.ps1",
        f"@{tmp_path}/app.tmp/post_get_sources_script.ps1",
    ]
    assert f"Checking out {sha[:8]} as detached HEAD" in told


def test_scripts_do_not_outlive_the_job(tmp_path: Path) -> None:
    """They hold the job's variables; the cleanup removes each."""
    context = make_context(tmp_path, job=steps(script=["x"], release=["y"], after_script=["z"]))
    for stage in ("step_script", "step_release", "after_script"):
        run(stage, context, fake="exit 0")
    assert sorted(path.name for path in (tmp_path / "app.tmp").glob("*.ps1")) == [
        "after_script.ps1",
        "step_release.ps1",
        "step_script.ps1",
    ]
    assert run("cleanup_file_variables", context, fake="exit 0") == (0, "")
    assert list((tmp_path / "app.tmp").glob("*.ps1")) == []


def test_stages_of_the_helper_are_sh() -> None:
    """Which every helper image has; among them the wait for services."""
    script = script_for("prepare_script", make_context("/r"))
    assert script is not None
    assert script.text.startswith("#!/usr/bin/env sh\n")
    assert health_check_script([80], make_context("/r").config).text.startswith("#!/usr/bin/env sh\n")
