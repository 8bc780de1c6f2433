"""Shell text: quoting, the line writer and the wrapper around a stage's commands.

The law: what comes out runs the same under bash, dash and busybox ash. So quoting is POSIX single or double quotes
and nothing else (no `$'...'`, which dash does not know), text is printed with `printf` (dash's `echo` interprets
backslashes), and no tool is called that a bare image may lack. `FF_POSIXLY_CORRECT_ESCAPES` asks for what is
already so. Everything is linear in the size of the job's script.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from runner.job.room import is_too_long

GREEN = "\x1b[32;1m"
YELLOW = "\x1b[0;33m"
RED = "\x1b[31;1m"
RESET = "\x1b[0;m"

_PLAIN_WORD = re.compile(r"[A-Za-z0-9,./@_+:-]+", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_GUARDED = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "HISTCMD", "OPTIND", "PPID", "SHELLOPTS", "SRANDOM", "UID"})
"""Names that some shell refuses to set, or to any value: an ordinary `export` would end the stage there.

bash reads what some are set to as a sum, and ends at one that is none.
"""


def quote(text: str) -> str:
    """Make `text` one word of shell text that stands for itself, byte for byte.

    Double quotes serve where single ones cannot: bash takes quadratic time over a word made of many single-quoted
    parts (47 s for a script of 5 MiB). NUL cannot live in a shell variable or in an argument, so it is dropped.
    """
    text = text.replace("\0", "")
    if _PLAIN_WORD.fullmatch(text):
        return text
    if "'" not in text:
        return f"'{text}'"
    for live in '\\"$`':
        text = text.replace(live, f"\\{live}")
    return f'"{text}"'


def quote_words(*words: str) -> str:
    """Quote each word and join them with spaces."""
    return " ".join(map(quote, words))


def is_identifier(name: str) -> bool:
    """Say whether a shell can hold a variable of this name; dots, dashes and leading digits make it impossible."""
    return _IDENTIFIER.fullmatch(name) is not None


class ShellWriter:
    """Collects the lines of one script.

    `check_exit_codes` is `FF_ENABLE_BASH_EXIT_CODE_CHECK`: after each command its status is looked at, whatever the
    shell's options are by then.
    """

    def __init__(self, *, check_exit_codes: bool = False) -> None:
        self._lines: list[str] = []
        self._depth = 0
        self._branches: list[int] = []
        self._check_exit_codes = check_exit_codes

    def text(self) -> str:
        """Give back everything written so far, each line ended."""
        return "".join(f"{line}\n" for line in self._lines)

    def line(self, text: str = "") -> None:
        """Write a line of shell text as it is, indented to the block it stands in."""
        self._lines.append("  " * self._depth + text if text else "")

    def verbatim(self, text: str) -> None:
        """Write text that must not be touched, not even by indentation: a here-document of the user's may be in it."""
        self._lines.append(text)

    def run(self, *words: str) -> None:
        """Run a command; its failure ends the stage."""
        self.command(quote_words(*words))

    def command(self, text: str) -> None:
        """Run a command given as shell text, and look at its status where the job asked for that."""
        self.line(text)
        self.check_exit_code()

    def check_exit_code(self) -> None:
        """Leave with the last command's status if it is not zero (`FF_ENABLE_BASH_EXIT_CODE_CHECK`)."""
        if self._check_exit_codes:
            self.line('_runner_exit_code=$?; if [ "$_runner_exit_code" -ne 0 ]; then exit "$_runner_exit_code"; fi')

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Write `if CONDITION; then` ... `fi` around what is written inside; an empty branch becomes a no-op."""
        self._open_branch(f"if {condition}; then")
        yield
        self._close_branch()
        self.line("fi")

    def otherwise(self) -> None:
        """Write the `else` of the block this stands in."""
        self._close_branch()
        self._open_branch("else")

    def _open_branch(self, text: str) -> None:
        self.line(text)
        self._depth += 1
        self._branches.append(len(self._lines))

    def _close_branch(self) -> None:
        if self._branches.pop() == len(self._lines):
            self.line(":")
        self._depth -= 1

    def print(self, text: str) -> None:
        """Print one line in the ordinary colour."""
        self.line(f"printf '%s\\n' {quote(RESET + text + RESET)}")

    def notice(self, text: str) -> None:
        """Print one line in green, as the runner announces what it does."""
        self.line(f"printf '%s\\n' {quote(GREEN + text + RESET)}")

    def warning(self, text: str) -> None:
        """Print one line in yellow."""
        self.line(f"printf '%s\\n' {quote(YELLOW + text + RESET)}")

    def run_or_tell(self, command: str, advice: str) -> None:
        """Run a command given as shell text; if it fails, print `advice` in red and end the stage with its status."""
        told = quote(f"{RED}ERROR: {advice}{RESET}")
        self.line(f"{command} || {{ runner_status=$?; printf '%s\\n' {told}; exit \"$runner_status\"; }}")

    def user_command(self, command: str, *, section: str = "") -> None:
        """Announce a command of the user's and run it, letter for letter but for blanks around it.

        Of a command of several lines only the first is shown, or, with `section`, all of them in a section of the
        job log that is folded and holds nothing but the command (`FF_SCRIPT_SECTIONS`).
        """
        command = command.strip()
        first, newline, _ = command.partition("\n")
        if not command:
            self.blank()
        elif newline and section:
            self._in_section(section, f"{GREEN}$ {command}{RESET}")
        else:
            marker = " # collapsed multi-line command" if newline else ""
            self.notice(f"$ {first}{marker}")
        self.verbatim(command)
        self.check_exit_code()

    def _in_section(self, name: str, text: str) -> None:
        now = "\"$(date +%s 2>/dev/null || awk 'BEGIN { srand(); print srand() }')\""
        opened = f"{name}[hide_duration=true,collapsed=true]"
        self.line(f"printf 'section_start:%s:{opened}\\r\\033[0K%s\\n' {now} {quote(text)}")
        self.line(f"printf 'section_end:%s:{name}\\r\\033[0K\\n' {now}")

    def blank(self) -> None:
        """Print an empty line."""
        self.line("echo")

    def change_directory(self, path: str) -> None:
        """Go to a directory; the stage fails if it is not there."""
        self.command(f"cd {quote(path)}")

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents, calling nothing if it is there: the build image may lack `mkdir`."""
        self.line(f"[ -d {quote(path)} ] || mkdir -p {quote(path)}")

    def remove_file(self, *paths: str) -> None:
        """Remove files; those which are missing do not matter."""
        self.run("rm", "-f", *paths)

    def remove_directory(self, path: str) -> None:
        """Remove a directory tree, opening up what its owner had closed (Go's module cache is read-only, for one)."""
        with self.when(f"[ -d {quote(path)} ]"):
            self.line(f"chmod -R u+rwX {quote(path)} 2>/dev/null || :")
        self.run("rm", "-rf", path)

    def remove_files_below(self, directory: str, *patterns: str) -> None:
        """Remove all files of these names below a directory."""
        self._find(directory, patterns, "-type f", "rm -f")

    def remove_directories_below(self, directory: str, *patterns: str) -> None:
        """Remove all directories of these names below a directory, deepest first."""
        self._find(directory, patterns, "-depth -type d", "rm -rf")

    def _find(self, directory: str, patterns: tuple[str, ...], kind: str, action: str) -> None:
        names = " -o ".join(f"-name {quote(pattern)}" for pattern in patterns)
        with self.when(f"[ -d {quote(directory)} ]"):
            self.command(f"find {quote(directory)} {kind} \\( {names} \\) -exec {action} {{}} +")

    def write_file(self, path: str, text: str) -> None:
        """Write `text`, and not a byte more, to a file.

        `printf` is built into every shell in question, so a secret in `text` is in no process's arguments.
        """
        self.line(f"printf '%s' {quote(text)} > {quote(path)}")

    def export(self, name: str, value: str) -> None:
        """Export a variable; a name that no shell can hold is left out, one that some shell refuses is tried.

        A refused assignment ends dash at once and trips errexit in bash, so it is tried in a subshell first. A value
        with which no program could be started is set for the shell alone.
        """
        if not is_identifier(name):
            return
        verb = f"unset {name}; " if is_too_long(name, value) else "export "
        assignment = f"{verb}{name}={quote(value)}"
        self.line(f"if ({assignment}) 2>/dev/null; then {assignment}; fi" if name in _GUARDED else assignment)

    def export_file(self, path: str) -> None:
        """Export each line of a file as it stands: no quoting, no expansion, blanks around it dropped.

        dash ends at once when asked to export a bad name, so each line is tried in a subshell; what fails there is
        skipped.
        """
        self.export("GITLAB_ENV", path)
        self.line('[ -e "$GITLAB_ENV" ] || : > "$GITLAB_ENV"')
        self.line("while IFS=' \t' read -r gitlab_env_line || [ -n \"$gitlab_env_line\" ]; do")
        self.line('  if (export -- "$gitlab_env_line") 2>/dev/null; then export -- "$gitlab_env_line"; fi')
        self.line('done < "$GITLAB_ENV"')


def wrap(body: str, *, shell: str, umask: str, trace: bool, legacy_eval: bool, stack: int = 0) -> str:
    """Put a stage's commands into the script that a container runs.

    The body is evaluated in a subshell with stdin at its end, so a command cannot read what is meant for someone
    else, and `exit` ends the body alone; its status becomes the script's through errexit. The exit code is recorded
    by the agent that starts the script, so nothing here prints or traps it. `umask` is set unless it is empty.
    `trace` (`CI_DEBUG_TRACE`) is switched on within the body: outside, the shell would first print the body whole
    as one argument of `eval`. `legacy_eval` is `FF_USE_LEGACY_BASH_EVAL`. `stack` is how many KiB of stack programs
    get at least, where the container may give them: their variables have a part of it.
    """
    body = quote(f"set -o xtrace\n{body}" if trace else body)
    subshell = f"(trap 'exit 1' TERM; eval {body})"
    lines = [
        f"#!/usr/bin/env {shell}",
        "",
        "trap 'exit 1' TERM",
        "",
        *([f"umask {umask}"] if umask else []),
        *([_more_stack(stack)] if stack else []),
        "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi",
        "set -o errexit",
        "set +o noclobber",
        f": | {subshell}" if legacy_eval else f"{subshell} </dev/null",
        "exit 0",
        "",
    ]
    return "\n".join(lines)


def _more_stack(kibibytes: int) -> str:
    now = "$(ulimit -S -s)"
    return f'[ "{now}" = unlimited ] || [ "{now}" -ge {kibibytes} ] || ulimit -S -s {kibibytes} 2>/dev/null || :'
