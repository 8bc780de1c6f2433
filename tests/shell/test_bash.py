"""Quoting, the writer and the wrapper, in the shells themselves."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.shell.bash import ShellWriter, is_identifier, quote, quote_words, wrap

SHELLS = {"bash": ["bash"], "dash": ["dash"], "busybox": ["busybox", "sh"]}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
AWKWARD = st.text(st.sampled_from("'\"\\$`(){}!~*?#&;|<> \n\r\t\x1b\x7fäЁ€😀=-a1"), max_size=60)

shells = pytest.mark.parametrize("shell", SHELLS)


def run(shell: str, text: str, directory: Path, *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a script from a file, as the agents do."""
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"{shell} is not installed")
    script = directory / "script"
    script.write_bytes(text.encode())
    return subprocess.run(
        [*SHELLS[shell], str(script)],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def wrapped(body: str, *, trace: bool = False, legacy_eval: bool = False) -> str:
    """Wrap a body without anything special."""
    return wrap(body, shell="bash", umask="", trace=trace, legacy_eval=legacy_eval)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", "''"),
        ("plain-word_1.0/x,y@z:8", "plain-word_1.0/x,y@z:8"),
        ("two words", "'two words'"),
        ("it's", '"it\'s"'),
        ("it's $HOME", '"it\'s \\$HOME"'),
        ("'\\`\"$", '"\'\\\\\\`\\"\\$"'),
        ("$HOME `x` \\n", "'$HOME `x` \\n'"),
        ("a\nb", "'a\nb'"),
        ("a=b", "'a=b'"),
        ("~", "'~'"),
        ("ä", "'ä'"),
        ("nul\0gone", "nulgone"),
    ],
)
def test_quote_gives_one_word(text: str, quoted: str) -> None:
    """Only words that no shell reads anything into stay bare."""
    assert quote(text) == quoted


def test_quote_words_joins_with_blanks() -> None:
    """Each word is quoted on its own."""
    assert quote_words("git", "clean", "a b") == "git clean 'a b'"


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("A", True),
        ("_a1", True),
        ("1A", False),
        ("a-b", False),
        ("a.b", False),
        ("", False),
        ("ä", False),
        ("A\n", False),
    ],
)
def test_is_identifier_knows_what_a_shell_can_hold(name: str, valid: bool) -> None:
    """Letters, digits and underscores of ASCII, no digit first."""
    assert is_identifier(name) is valid


@pytest.mark.parametrize("shell", ["bash", "dash"])
@settings(max_examples=40, deadline=None)
@given(values=st.lists(TEXT | AWKWARD, min_size=1, max_size=8))
def test_quoted_values_survive_byte_for_byte(
    shell: str, values: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a value holds, it leaves the shell as it went in, through export, wrapper and a child's environment."""
    directory = tmp_path_factory.mktemp("values", numbered=True)
    writer = ShellWriter()
    for index, value in enumerate(values):
        writer.export(f"V{index}", value)
        writer.write_file(f"file{index}", value)
        writer.verbatim(f'printf %s "$V{index}" > shell{index}; env -0 > environment')
    done = run(shell, wrapped(writer.text()), directory)

    environment = dict(entry.split(b"=", 1) for entry in (directory / "environment").read_bytes().split(b"\0") if entry)
    got = [
        (
            environment[f"V{index}".encode()],
            *((directory / f"{kind}{index}").read_bytes() for kind in ("shell", "file")),
        )
        for index in range(len(values))
    ]
    assert (done.returncode, done.stderr) == (0, b"")
    assert got == [(value.encode(),) * 3 for value in values]


@shells
def test_awkward_value_survives_in_every_shell(shell: str, tmp_path: Path) -> None:
    """Each byte that some shell treats specially, in one value, in the shell and in the environment of a child."""
    value = "".join(chr(code) for code in range(1, 0x500)) + "$(exit 9)`exit 9`${x}\\\\n\\c%s%%'\"'\"\n\n"
    writer = ShellWriter()
    writer.export("VALUE", value)
    writer.verbatim('printf %s "$VALUE" > shell; sh -c \'printf %s "$VALUE" > child\'')
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "shell").read_bytes() == (tmp_path / "child").read_bytes() == value.encode()


@shells
@pytest.mark.parametrize(
    "name", ["my.var", "my-var", "1st", "", "a b", "x=y", "ä", "$(exit 7)", "a;exit 8", "-n", "a\nb"]
)
def test_odd_name_is_left_out(shell: str, name: str, tmp_path: Path) -> None:
    """A variable that no shell can hold is no reason to fail."""
    writer = ShellWriter()
    writer.export(name, "value")
    writer.verbatim("echo still here")
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"still here\n", b"")


@shells
@pytest.mark.parametrize("value", ["4711", "a b"], ids=["number", "words"])
@pytest.mark.parametrize(
    "name", ["BASHOPTS", "BASH_VERSINFO", "EUID", "HISTCMD", "OPTIND", "PPID", "SHELLOPTS", "SRANDOM", "UID"]
)
def test_read_only_name_does_not_end_the_stage(shell: str, name: str, value: str, tmp_path: Path) -> None:
    """Some shell or other keeps these to itself, or takes numbers only."""
    writer = ShellWriter()
    writer.export(name, value)
    writer.verbatim("echo still here")
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"still here\n", b"")


@shells
def test_a_value_that_no_program_can_have_is_the_shells_alone(shell: str, tmp_path: Path) -> None:
    """With one of more than 128 KiB no program would start; also where the image has a variable of that name."""
    writer = ShellWriter()
    writer.export("BIG", "x" * 131072)
    writer.verbatim("/bin/echo ${#BIG}; env | sed -n '/^BIG=/p'")
    done = run(shell, f"BIG=small; export BIG\n{wrapped(writer.text())}", tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"131072\n", b"")


@shells
@pytest.mark.parametrize("limit", ["8192", "65536"])
def test_stack_has_room_for_large_variables(shell: str, limit: str, tmp_path: Path) -> None:
    """Programs get variables of 5 MiB in all; a larger stack is left as it is."""
    writer = ShellWriter()
    for number in range(50):
        writer.export(f"BIG{number}", "x" * 100_000)
    writer.verbatim("/bin/echo ${#BIG49}; ulimit -S -s")
    text = wrap(writer.text(), shell="bash", umask="", trace=False, legacy_eval=False, stack=32768)
    done = run(shell, f"ulimit -S -s {limit}\n{text}", tmp_path)

    expected = "32768" if limit == "8192" else limit
    assert (done.returncode, done.stdout, done.stderr) == (0, f"100000\n{expected}\n".encode(), b"")


@shells
@pytest.mark.parametrize(
    "name", ["_", "IFS", "PATH_", "OPTIND", "LINENO", "RANDOM", "PS4", "POSIXLY_CORRECT", "CDPATH"]
)
def test_name_with_a_meaning_does_not_end_the_stage(shell: str, name: str, tmp_path: Path) -> None:
    """A shell's own variables can be set; the lines of ours that follow still work."""
    writer = ShellWriter()
    writer.export(name, "1,2")
    writer.make_directory(str(tmp_path / "some,1,2dir"))
    writer.change_directory(str(tmp_path / "some,1,2dir"))
    writer.notice("still here")
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"\x1b[32;1mstill here\x1b[0;m\n", b"")


@shells
@pytest.mark.parametrize("legacy", [False, True], ids=["subshell", "pipeline"])
@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("echo fine", (0, b"fine\n")),
        ("exit 3", (3, b"")),
        ("(exit 42)\necho not reached", (42, b"")),
        ("false\necho not reached", (1, b"")),
        ("if false; then :; fi\nfalse || echo fine", (0, b"fine\n")),
        ("no-such-command-4711 2>/dev/null", (127, b"")),
        ("kill -TERM $$; sleep 0; echo not reached >/dev/null", (1, b"")),
        ("echo x > there; echo y > there; cat there", (0, b"y\n")),
    ],
    ids=["success", "exit", "status", "errexit", "handled", "unknown-command", "terminated", "clobber"],
)
def test_exit_code_is_the_body_s(shell: str, legacy: bool, body: str, end: tuple[int, bytes], tmp_path: Path) -> None:
    """The script ends as its commands do, and the first failing command ends them."""
    done = run(shell, wrapped(f"{body}\n", legacy_eval=legacy), tmp_path)

    assert (done.returncode, done.stdout) == end


@pytest.mark.parametrize(("shell", "code"), [("bash", 5), ("busybox", 5), ("dash", 0)])
def test_failing_pipeline_ends_the_stage_where_the_shell_can_tell(shell: str, code: int, tmp_path: Path) -> None:
    """`pipefail` is on where there is one; dash goes by the pipeline's last command."""
    assert run(shell, wrapped("(exit 5) | cat\n"), tmp_path).returncode == code


@shells
@pytest.mark.parametrize("legacy", [False, True], ids=["subshell", "pipeline"])
def test_stdin_is_at_its_end(shell: str, legacy: bool, tmp_path: Path) -> None:
    """A command that reads gets nothing: what comes after on the agent's stdin is not for it."""
    done = run(shell, wrapped("cat\necho end\n", legacy_eval=legacy), tmp_path, stdin=b"for the agent\n")

    assert (done.returncode, done.stdout) == (0, b"end\n")


@shells
def test_syntax_error_of_the_user_s_fails_the_stage(shell: str, tmp_path: Path) -> None:
    """It is said and ends the script; the wrapper around it holds."""
    done = run(shell, wrapped("echo before\n)\n"), tmp_path)

    assert done.returncode != 0
    assert done.stderr != b""


@shells
def test_trace_shows_commands_but_not_the_whole_body_at_once(shell: str, tmp_path: Path) -> None:
    """`CI_DEBUG_TRACE` shows each command once."""
    done = run(shell, wrapped("echo one\necho two\n", trace=True), tmp_path)

    assert [line.lstrip("+ ") for line in done.stderr.decode().splitlines()] == ["echo one", "echo two"]


@shells
def test_user_command_is_announced_and_run_verbatim(shell: str, tmp_path: Path) -> None:
    """The announcement expands nothing, the command does; here-documents keep their form."""
    writer = ShellWriter()
    for command in ("echo $((1 + 1)) '\\n'", "  cat <<END\n  $((2 + 2))\nEND\n", "", "printf '%s\\n' \\\\t"):
        writer.user_command(command)
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert done.returncode == 0
    green = "\x1b[32;1m{}\x1b[0;m\n".format
    two = "2 \n\n" if shell == "dash" else "2 \\n\n"
    assert done.stdout.decode() == (
        green("$ echo $((1 + 1)) '\\n'")
        + two
        + green("$ cat <<END # collapsed multi-line command")
        + "  4\n"
        + "\n"
        + green("$ printf '%s\\n' \\\\t")
        + "\\t\n"
    )


@shells
def test_section_holds_the_whole_command_and_nothing_else(shell: str, tmp_path: Path) -> None:
    """With sections a command of several lines is folded away, and what it prints is not."""
    writer = ShellWriter()
    writer.user_command("printf '%s\\n' 'a\\b'\necho %s", section="section_script_step_0")
    writer.user_command("echo one line", section="section_script_step_1")
    done = run(shell, wrapped(writer.text()), tmp_path)

    lines = done.stdout.decode().split("\n")
    start, end = lines[0].split(":")[1], lines[2].split(":")[1]
    assert start.isdigit()
    assert end.isdigit()
    assert lines == [
        f"section_start:{start}:section_script_step_0[hide_duration=true,collapsed=true]\r\x1b[0K\x1b[32;1m"
        "$ printf '%s\\n' 'a\\b'",
        "echo %s\x1b[0;m",
        f"section_end:{end}:section_script_step_0\r\x1b[0K",
        "a\\b",
        "%s",
        "\x1b[32;1m$ echo one line\x1b[0;m",
        "one line",
        "",
    ]


@shells
def test_exit_code_check_stops_even_when_errexit_is_off(shell: str, tmp_path: Path) -> None:
    """`FF_ENABLE_BASH_EXIT_CODE_CHECK` is for scripts that switch errexit off."""
    writer = ShellWriter(check_exit_codes=True)
    for command in ("set +e", "(exit 6)", "echo not reached"):
        writer.user_command(command)

    done = run(shell, wrapped(writer.text()), tmp_path)

    assert done.returncode == 6
    assert b"not reached" not in done.stdout


@shells
def test_blocks_nest_and_may_be_empty(shell: str, tmp_path: Path) -> None:
    """An empty block is no syntax error; `else` belongs to its own `if`."""
    writer = ShellWriter()
    with writer.when("true"):
        with writer.when("false"):
            writer.print("wrong")
            writer.otherwise()
            writer.warning("right")
        writer.otherwise()
    with writer.when("true"):
        pass
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stdout.decode()) == (0, "\x1b[0;33mright\x1b[0;m\n")


@shells
def test_removals_spare_what_they_do_not_name(shell: str, tmp_path: Path) -> None:
    """Files and directories go by name at any depth; a closed tree goes too; missing ones do not matter."""
    for name in ("a/config", "a/b/config", "a/keep", "a/hooks/x/y", "closed/inner/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "closed/inner").chmod(0o500)
    writer = ShellWriter()
    writer.remove_files_below(str(tmp_path / "a"), "config", "other")
    writer.remove_directories_below(str(tmp_path / "a"), "hooks")
    writer.remove_files_below(str(tmp_path / "missing"), "config")
    writer.remove_directory(str(tmp_path / "closed"))
    writer.remove_directory(str(tmp_path / "missing"))
    writer.remove_file(str(tmp_path / "missing"))
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/b", "a/keep", "script"]


def test_wrapper_is_what_the_agents_start() -> None:
    """The whole text, for a reader and for whoever changes it."""
    assert wrap("echo 'hi'\n", shell="sh", umask="0000", trace=True, legacy_eval=False) == (
        "#!/usr/bin/env sh\n"
        "\n"
        "trap 'exit 1' TERM\n"
        "\n"
        "umask 0000\n"
        "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"
        "set -o errexit\n"
        "set +o noclobber\n"
        "(trap 'exit 1' TERM; eval \"set -o xtrace\n"
        "echo 'hi'\n"
        '") </dev/null\n'
        "exit 0\n"
    )


@pytest.mark.slow
@shells
def test_script_of_five_mebibytes_runs(shell: str, tmp_path: Path) -> None:
    """Size makes a script slower in proportion only, quotes in it or not."""
    writer = ShellWriter()
    for number in range(5000):
        writer.user_command(f": {number} " + "'it is' \"it's $HOME\" " * 50)
    writer.user_command("echo done")
    done = run(shell, wrapped(writer.text()), tmp_path)

    assert (done.returncode, done.stdout[-5:]) == (0, b"done\n")
