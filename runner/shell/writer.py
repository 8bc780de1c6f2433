"""What the parts of a user's stage need of a shell's text, whichever shell it is.

The law: what one shell says in its own way has a method here, so the prologue and the steps are written once, for POSIX
shells (`runner.shell.bash`) and for PowerShell (`runner.shell.pwsh`).
"""

from typing import Protocol


class Writer(Protocol):
    """Collects the lines of one script."""

    def notice(self, text: str) -> None:
        """Print one line in green, as the runner announces what it does."""

    def user_command(self, command: str, *, section: str = "") -> None:
        """Announce a command of the user's and run it, letter for letter but for blanks around it."""

    def change_directory(self, path: str) -> None:
        """Go to a directory; the stage fails if it is not there."""

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents."""

    def write_file(self, path: str, text: str) -> None:
        """Write `text`, and not a byte more, to a file."""

    def export(self, name: str, value: str) -> None:
        """Give a variable to what runs later in this script; a name that the shell cannot hold is left out."""

    def export_file(self, path: str) -> None:
        """Give the variables of `GITLAB_ENV`, a file of `KEY=value` lines, which is made if it is not there."""
