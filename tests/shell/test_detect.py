"""Finding a shell."""

import subprocess

from runner.shell.detect import shell_detect_text


def test_detection_becomes_a_shell_and_passes_arguments_on() -> None:
    """bash comes before sh; what follows the name is the shell's."""
    command = ["sh", "-c", shell_detect_text(), "detect", "-c", 'echo "$BASH_VERSION|$0|$1"', "a b", "c d"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)

    version, name, argument = done.stdout.decode().split("|")
    assert version[0].isdigit()
    assert (name, argument) == ("a b", "c d\n")


def test_detection_says_when_there_is_no_shell() -> None:
    """The text is the one that users know."""
    text = shell_detect_text().replace("/", "/nowhere/")
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (1, b"shell not found\n", b"")


def test_detection_looks_in_this_order() -> None:
    """GitLab Runner's order."""
    assert shell_detect_text().splitlines()[0] == (
        "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do"
    )
