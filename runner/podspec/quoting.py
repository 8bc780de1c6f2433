"""Texts of others in our sentences.

A variable's name or value stands in the job's log between our words: short, and without a character that could end the
line, move the cursor or turn the direction of writing.
"""

_SHOWN_CHARACTERS = 200


def shown(text: str) -> str:
    """Show at most 200 characters of a text; what cannot be printed is escaped."""
    tail = "..." if len(text) > _SHOWN_CHARACTERS else ""
    return "".join(map(_visible, text[:_SHOWN_CHARACTERS])) + tail


def quoted(text: str) -> str:
    """Show a text between quotation marks, of which there are no others then."""
    return f'"{shown(text.replace(chr(34), _MARK))}"'


_MARK = '\\"'


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
