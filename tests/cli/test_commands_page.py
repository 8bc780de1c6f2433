"""The page of the commands."""

from pathlib import Path

from runner.cli.commands_page import page
from runner.config.inputs import inputs

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_page_is_in_step_with_the_commands() -> None:
    """`python -m runner.cli.commands_page > docs/commands.md` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_name_is_on_the_page() -> None:
    """Each flag and each variable that `register` takes."""
    text = page()
    names = [f"`--{key.flag}`" for key in inputs() if key.flag] + [f"`{key.env}`" for key in inputs() if key.env]
    assert [name for name in names if name not in text] == []
