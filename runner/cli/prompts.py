"""Questions to a person: asked on stderr, one a line, answered on stdin."""

from __future__ import annotations

import sys


class AnswerError(Exception):
    """A question that nobody answers."""


def ask(question: str, default: str, *, needed: bool = True) -> str:
    """Ask until there is an answer; an empty one takes the default. Raises `AnswerError` at the end of stdin."""
    while True:
        print(f"{question}:", file=sys.stderr)
        if default:
            print(f"[{default}]: ", end="", file=sys.stderr)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise AnswerError("stdin has ended: answer there, or say --non-interactive and give flags.")
        answer = line.strip() or default
        if answer or not needed:
            return answer
