"""`runner config check` as a command: where it reads, what it prints where, how it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.cli.main import main
from tests.documents import ROOT, blocks

GOOD = """\
concurrent = 4
[[runners]]
  url = "https://gitlab.example.com"
  token = "$RUNNER_TOKEN"
  executor = "kubernetes"
  [runners.kubernetes]
    namespace = "ci"
    image = "alpine:3"
    memory_limit = "1Gi"
"""
NOTE = GOOD.replace('    image = "alpine:3"\n', "")
WARNING = GOOD + "    cpus = '1'\n"
ERROR = GOOD + '    cpu_limit = "1"\n    cpu_request = "2"\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in the environment, and none of the variables that choose file and colours."""
    monkeypatch.setenv("RUNNER_TOKEN", "glrt-s3cret")
    for name in ("CONFIG_FILE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration's file, to be filled."""
    return tmp_path / "config.toml"


@pytest.mark.parametrize(
    ("text", "code", "end"),
    [
        (GOOD, 0, "nothing found.\n"),
        (NOTE, 0, "1 note.\n"),
        (WARNING, 1, "1 warning.\n"),
        (ERROR, 2, "1 error.\n"),
        (ERROR + "    poll_timeout = true\n", 2, "more is looked for once its errors are gone.\n"),
        ("[", 2, "more is looked for once its errors are gone.\n"),
    ],
    ids=["good", "note", "warning", "error", "unusable", "no TOML"],
)
def test_worst_finding_decides_the_exit_code(
    text: str, code: int, end: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for nothing and for notes, 1 for warnings, 2 for errors; the last line sums up, and stderr is empty."""
    file.write_text(text)
    assert main(["config", "check", str(file)]) == code
    shown = capsys.readouterr()
    assert shown.out.endswith(end)
    assert shown.err == ""


def test_finding_is_shown_with_its_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Place, severity, path, sentence and rule; the line with a mark; the way out; the sum."""
    file.write_text(ERROR)
    main(["config", "check", str(file)])
    assert (
        capsys.readouterr().out
        == f"""\
{file}:10:5: error: runners.0.kubernetes.cpu_limit: the limit 1 is below cpu_request, which is 2: \
the API server refuses such a pod [limit-below-request]
  10 |     cpu_limit = "1"
     |     ^^^^^^^^^
  help: raise the limit to 2 or more, or lower cpu_request

{file}: 1 error.
"""
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory. Name a config.toml, or - for standard input."),
        (b"\xff", "not UTF-8 at byte 0. TOML files are."),
    ],
    ids=["missing", "not UTF-8"],
)
def test_file_that_cannot_be_read_is_one_sentence(
    content: bytes | None, said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence goes to stderr, and the exit code is that of errors."""
    if content is not None:
        file.write_bytes(content)
    assert main(["config", "check", str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"Error: {file}: {said}\n"


def test_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder is told as the system tells it."""
    assert main(["config", "check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"Error: {tmp_path}: Is a directory.")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`-` reads what is piped in."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(WARNING.encode())))
    assert main(["config", "check", "-"]) == 1
    assert capsys.readouterr().out.startswith("<stdin>:10:5: warning: runners.0.kubernetes.cpus: the key is a former")


def test_file_of_the_environment_is_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without FILE the one of `runner run` is read: CONFIG_FILE names it."""
    file.write_text(GOOD)
    monkeypatch.setenv("CONFIG_FILE", str(file))
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{file}: nothing found.\n"


def test_mode_of_the_file_is_looked_at(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token in a file that everybody can read is a warning; its value is not shown."""
    file.write_text(GOOD.replace("$RUNNER_TOKEN", "glrt-s3cret"))
    file.chmod(0o644)
    assert main(["config", "check", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "[readable-by-others]\n  4 |   token = ...\n    |   ^^^^^\n" in shown
    assert "s3cret" not in shown
    file.chmod(0o600)
    assert main(["config", "check", str(file)]) == 0


def test_files_that_are_named_are_looked_at_unless_told_not_to(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Certificates lie where the runner runs: elsewhere `--no-files` leaves them alone."""
    ca, folder = tmp_path / "ca.pem", tmp_path / "folder"
    file.write_text(GOOD.replace("  executor", f'  tls-ca-file = "{ca}"\n  executor'))
    assert main(["config", "check", str(file)]) == 1
    assert "[file-unreadable]" in capsys.readouterr().out
    assert main(["config", "check", "--no-files", str(file)]) == 0
    ca.write_text("certificates")
    assert main(["config", "check", str(file)]) == 0
    folder.mkdir()
    file.write_text(file.read_text().replace(str(ca), str(folder)))
    assert main(["config", "check", str(file)]) == 1


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    ids=["no terminal", "asked for", "forbidden"],
)
def test_colours_are_for_terminals(
    variables: dict[str, str],
    coloured: bool,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is piped has no colours unless FORCE_COLOR asks for them; NO_COLOR wins."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file.write_text(ERROR)
    main(["config", "check", str(file)])
    assert ("\x1b[1;31merror\x1b[0m" in capsys.readouterr().out) is coloured


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_forms_for_programs_are_json(form: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --format one document is all that stdout gets, and the exit code stays."""
    file.write_text(ERROR)
    assert main(["config", "check", "--format", form, str(file)]) == 2
    json.loads(capsys.readouterr().out)


def test_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of finding, one line each, without reading a file."""
    assert main(["config", "check", "--list-rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "limit-below-request                error    A limit is below its request." in lines
    assert lines == sorted(lines)
    assert len(lines) > 100


def test_page_shows_what_the_program_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The transcript of docs/config-check.md is that of its own file."""
    page = ROOT / "docs/config-check.md"
    [text], [transcript] = blocks(page, "toml"), blocks(page, "console")
    (tmp_path / "config.toml").write_text(text.text)
    monkeypatch.chdir(tmp_path)
    command, _, printed = transcript.text.partition("\n")
    assert command == "$ runner config check config.toml"
    assert main(command.split()[2:]) == 2
    assert capsys.readouterr().out == printed


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipeline's author finds them where he looks first; the group names its command."""
    assert main(["config", "check", "--help"]) == 0
    assert "2  errors: the runner does not start with it" in capsys.readouterr().out
    assert main(["config", "--help"]) == 0
    assert "check  Tell everything that is wrong" in capsys.readouterr().out
    assert main(["config", "chekc"]) == 2
