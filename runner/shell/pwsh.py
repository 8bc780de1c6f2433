"""PowerShell text, for the commands of users whose runner says `shell = "pwsh"`.

The law: as for POSIX shells: nothing in a value is live, no variable keeps a stage from running, everything is linear
in the size of the job's script. PowerShell runs what the user wrote and nothing else: what the runner does itself
stays in POSIX shell, which every helper image has. So the text here is carried by a script for `sh`, which is also
what an agent starts: it puts the text into a file, for `pwsh -File` alone gives a script's own exit code and leaves
its standard input empty.
"""

from runner.job.room import is_too_long
from runner.shell.bash import GREEN, RED, RESET, ShellWriter, is_identifier, quote, quote_words

COMMAND = ("pwsh", "-NoProfile", "-NoLogo", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File")
"""How a script is run; the name of its file follows."""

SUFFIX = ".ps1"

_SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b"
"""PowerShell takes each of these for an end of a quoted string; doubled it stands for itself."""

_DOUBLED = str.maketrans({mark: mark * 2 for mark in _SINGLE_QUOTES} | {"\0": ""})

_TAKEN_NAMES = """
    _ args confirmpreference consolefilename debugpreference enabledexperimentalfeatures error erroractionpreference
    event eventargs eventsubscriber executioncontext false foreach home host informationpreference input iscoreclr
    islinux ismacos iswindows lastexitcode matches myinvocation nestedpromptlevel null ofs outputencoding pid profile
    progresspreference psboundparameters pscmdlet pscommandpath psculture psdebugcontext psdefaultparametervalues
    psedition pshome psitem psnativecommandargumentpassing psnativecommanduseerroractionpreference psscriptroot
    pssenderinfo psstyle psuiculture psversiontable pwd runner_line runner_name runner_value sender shellid stacktrace
    switch this true verbosepreference warningpreference whatifpreference
"""
_TAKEN = frozenset(_TAKEN_NAMES.split())
"""PowerShell's own variables, in lower case: setting them fails, or changes how the script runs."""

_PREAMBLE = (
    "$ErrorActionPreference = 'Stop'",
    "$ProgressPreference = 'SilentlyContinue'",  # a bar that nobody watches fills a log
    "$OutputEncoding = [System.Text.UTF8Encoding]::new($false)",
    "[Console]::InputEncoding = [Console]::OutputEncoding = $OutputEncoding",
    # Since 7.2 colours are taken out of what does not go to a terminal.
    "if ($PSStyle) { $PSStyle.OutputRendering = 'Ansi' }",
)
_CHECK = "if (!$?) { exit $(if ($LASTEXITCODE) { $LASTEXITCODE } else { 1 }) }"


def quote_pwsh(text: str) -> str:
    """Make `text` a string of PowerShell that stands for itself; NUL, which nothing there can hold, is dropped."""
    return f"'{text.translate(_DOUBLED)}'"


class PwshWriter:
    """Collects the lines of one PowerShell script; the methods are those of `runner.shell.writer.Writer`."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self) -> str:
        """Give back everything written so far, each line ended."""
        return "".join(f"{line}\n" for line in self._lines)

    def line(self, text: str = "") -> None:
        """Write a line of PowerShell as it is."""
        self._lines.append(text)

    def notice(self, text: str) -> None:
        """Print one line in green, as the runner announces what it does."""
        # Through the pipeline, as what commands give: so it stands behind the table of the command before.
        self.line(f"Write-Output {quote_pwsh(GREEN + text + RESET)}")

    def user_command(self, command: str, *, section: str = "") -> None:
        """Announce a command of the user's and run it, letter for letter but for blanks around it.

        It ends the stage when it, or the last of its statements, has failed. Of several lines only the first is shown;
        `section` (`FF_SCRIPT_SECTIONS`) changes nothing here, as in GitLab Runner.
        """
        command = command.strip()
        first, newline, _ = command.partition("\n")
        if not command:
            self.line("Write-Output ''")
            return
        self.notice(f"$ {first}{' # collapsed multi-line command' if newline else ''}")
        self.line(command)
        self.line(_CHECK)

    def change_directory(self, path: str) -> None:
        """Go to a directory; the stage fails if it is not there."""
        self.line(f"Set-Location -LiteralPath {quote_pwsh(path)}")

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents; nothing happens if it is there."""
        self.line(f"[void][System.IO.Directory]::CreateDirectory({quote_pwsh(path)})")

    def write_file(self, path: str, text: str) -> None:
        """Write `text`, in UTF-8 and without a mark of it, to a file."""
        self.line(f"[System.IO.File]::WriteAllText({quote_pwsh(path)}, {quote_pwsh(text)})")

    def export(self, name: str, value: str) -> None:
        """Set a variable for this script and for the programs it calls.

        What is a variable of PowerShell's own, or no name of one, is there for programs only; a value with which none
        could be started is there for the script only. An empty value is none to programs: that is .NET's doing before
        its version 9.
        """
        if not name or "=" in name or "\0" in name:
            return
        if is_identifier(name) and name.lower() not in _TAKEN:
            self.line(f"${{{name}}} = {quote_pwsh(value)}")
            if not is_too_long(name, value):
                self.line(f"${{env:{name}}} = ${{{name}}}")
        elif not is_too_long(name, value):
            self.line(f"[System.Environment]::SetEnvironmentVariable({quote_pwsh(name)}, {quote_pwsh(value)})")

    def export_file(self, path: str) -> None:
        """Set what stands in a file of `KEY=value` lines, which is made if it is not there."""
        self.export("GITLAB_ENV", path)
        self._lines += (
            "if (!(Test-Path -LiteralPath ${env:GITLAB_ENV})) { "
            "[System.IO.File]::WriteAllText(${env:GITLAB_ENV}, '') }",
            "foreach ($runner_line in [System.IO.File]::ReadAllLines(${env:GITLAB_ENV})) {",
            "  $runner_name, $runner_value = $runner_line.Trim() -split '=', 2",
            "  if ($runner_name -and $null -ne $runner_value) {",
            "    [System.Environment]::SetEnvironmentVariable($runner_name, $runner_value)",
            "  }",
            "}",
        )


def wrap_pwsh(body: str, *, trace: bool) -> str:
    """Put commands into a whole PowerShell script.

    They stand in a block, so that `return` ends them and nothing more, and the file is read as a whole before its first
    command runs. `trace` is `CI_DEBUG_TRACE`.
    """
    lines = [
        "#!/usr/bin/env pwsh",
        "& {",
        *_PREAMBLE,
        *(["Set-PSDebug -Trace 2"] if trace else []),
        body.rstrip("\n"),
        "}",
        "",
    ]
    return "\n".join(lines)


def write_pwsh(writer: ShellWriter, text: str, *, path: str, replace: bool) -> None:
    """Write what puts a PowerShell script into a file and runs it; it fails as the script does.

    `replace`: the shell becomes PowerShell, as nothing follows. An image without PowerShell is named as the fault.
    """
    directory = path.rpartition("/")[0]
    writer.make_directory(directory)
    writer.write_file(path, text)
    with writer.when("! command -v pwsh >/dev/null 2>&1"):
        writer.line(f"printf '%s\\n' {quote(_MISSING)}")
        writer.line("exit 127")
    command = quote_words(*COMMAND, path)
    writer.line(f"exec {command} </dev/null" if replace else f"{command} </dev/null")


_MISSING = (
    f"{RED}ERROR: The runner's shell is \"pwsh\" and this container's image has no PowerShell: use an image with pwsh, "
    f'or set shell = "bash" in config.toml.{RESET}'
)
