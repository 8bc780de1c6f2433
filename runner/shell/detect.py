"""Finding a shell in an image of which nothing is known.

The law: the text is itself plain POSIX, runs as `sh -c TEXT NAME ARGUMENTS...` and becomes the shell it finds.
"""

_SHELLS = (
    *(f"{directory}/{shell}" for shell in ("bash", "sh") for directory in ("/usr/local/bin", "/usr/bin", "/bin")),
    "/busybox/sh",
)


def shell_detect_text() -> str:
    """Give the text that becomes the first shell there is, bash before sh, and passes its arguments on.

    The order is GitLab Runner's; the `shell` of the configuration changes only a script's first line, never this
    choice. Without any shell it prints `shell not found` and ends with 1.
    """
    return (
        f"for shell in {' '.join(_SHELLS)}; do\n"
        '  if [ -f "$shell" ] && [ -x "$shell" ]; then exec "$shell" "$@"; fi\n'
        "done\n"
        "echo shell not found\n"
        "exit 1\n"
    )
