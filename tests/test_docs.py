"""What the documents say is so: commands run, examples pass, links lead somewhere, configuration loads."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from runner.cli.main import COMMANDS, root
from runner.config.load import parse_config
from tests import readme
from tests.documents import DOCUMENTS, ROOT, Block, all_blocks, blocks

PYTHON = [sys.executable, "-m"]


def run(*command: str, folder: Path, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("KUBECONFIG", None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


# Commands


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this repository, as a newcomer has one; made of the working tree where this is no repository."""
    made = tmp_path / "runner"
    if run("git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(made), folder=tmp_path).returncode != 0:
        pytest.skip("the tests do not lie in a git repository")
    return made


@pytest.mark.slow
def test_readme_runs_the_pipeline(clone: Path) -> None:
    """The README's first command, without its installation, runs every job of this repository's pipeline."""
    *_, last = readme.command("local").split("&&")
    program, *arguments = shlex.split(last)
    assert program == ".venv/bin/runner"
    done = run(*PYTHON, "runner", *arguments, folder=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Pipeline passed" in done.stdout


@pytest.mark.slow
def test_readme_transcript_is_what_the_program_prints(clone: Path) -> None:
    """Each line of the README's transcript comes, but for times and names that change, in one run's output."""
    [transcript] = [block for block in blocks(ROOT / "README.md", "console")]
    first, *wanted = transcript.text.splitlines()
    program, *arguments = shlex.split(first.removeprefix("$ "))
    assert program == "runner"
    done = run(*PYTHON, "runner", *arguments, folder=clone)
    printed = [_timeless(line) for line in done.stdout.splitlines()]
    missing = [line for line in wanted if line != "..." and _timeless(line) not in printed]
    assert missing == [], done.stdout


def _timeless(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{8}\b|\d+\.\d+\.\d+|[0-9.]+ ?s\b", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def test_readme_installs_what_its_commands_need() -> None:
    """Each of the README's two commands makes an environment, installs this project and runs one program of it."""
    extras = {"local": ".", "tests": "-e '.[test]'"}
    for name, project in extras.items():
        make, install, program = readme.command(name).split(" && ")
        assert make == "python3 -m venv .venv"
        assert install == f".venv/bin/pip install --quiet {project}"
        assert program.startswith(".venv/bin/")


def commands() -> list[tuple[str, list[str]]]:
    """Every `runner ...` of the documents' shell blocks and inline code, with the place where it stands."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = [line for block in blocks(document, "sh") for line in block.text.splitlines()]
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in [*lines, *inline]:
            for part in re.split(r"&&|\|", line):
                match = re.match(r"\s*(?:\w+=\S* +)*(?:\S*/)?(?:python3? -m )?runner(?:\s+(.*))?$", part)
                if match and match[1]:
                    found.append((document.name, shlex.split(match[1].partition(" #")[0])))
    return found


@pytest.mark.parametrize(
    ("document", "words"), commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_commands_exist_with_their_flags(document: str, words: list[str]) -> None:
    """A `runner ...` in a document names a command that there is, with options that it has."""
    name, *rest = words
    if name == "helper":
        return
    if name.startswith("-"):
        rest, name = words, ""
    command = root if not name else root.get_command(click.Context(root), name)
    assert command is not None, f"{document}: there is no `runner {name}`, only {', '.join(COMMANDS)}"
    if isinstance(command, click.Group) and command is not root and rest and not rest[0].startswith("-"):
        name, *rest = rest
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"{document}: there is no `runner ... {name}`"
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    assert {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"} <= known


def test_options_that_are_named_exist() -> None:
    """An option in docs/running.md, standing alone, is one of `runner run`."""
    text = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    command = root.get_command(click.Context(root), "run")
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"`(--[\w-]+)", text)) <= known


# Links


def links() -> list[tuple[Path, str]]:
    """Every link of the documents that leads to a file or a heading of this repository."""
    found = []
    for document in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"", text)
        found += [(document, one or other) for one, other in targets if not re.match(r"\w+:", one or other)]
    return found


@pytest.mark.parametrize(("document", "target"), links(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_links_lead_somewhere(document: Path, target: str) -> None:
    """A relative link names a file of the repository, and its fragment one of the file's headings."""
    path, _, fragment = unquote(target).partition("#")
    file = (document.parent / path).resolve() if path else document
    assert file.exists(), f"{document.name} names {target}"
    assert file.is_relative_to(ROOT)
    if fragment:
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert fragment in {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


# Examples


@pytest.mark.parametrize("block", [block for block in all_blocks("toml") if "[[runners]]" in block.text], ids=str)
def test_configurations_load(block: Block) -> None:
    """A configuration in a document is one that this program takes without a word."""
    config, warnings = parse_config(block.text, environ={"RUNNER_TOKEN": "glrt-Ab3dEfGh1JkLmNoPqRsT"})
    assert warnings == ()
    assert config.runners[0].executor == "kubernetes"


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    """A block that is called JSON can be read as such."""
    for line in block.text.splitlines():
        json.loads(line)


@pytest.mark.slow
def test_examples_of_testing_pass(tmp_path: Path) -> None:
    """Every Python block of docs/testing.md is a module of tests; together they pass, with warnings as errors."""
    examples = blocks(ROOT / "docs/testing.md", "python")
    for number, block in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(block.text)
    [settings] = blocks(ROOT / "docs/testing.md", "toml")
    (tmp_path / "pyproject.toml").write_text(settings.text)
    # It comes by itself where the package is installed; here it may be a folder.
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["runner.testing.plugin"]\n')
    done = run(*PYTHON, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= len(examples)
    assert "skipped" not in done.stdout


# Tables


def test_table_of_failures_is_complete() -> None:
    """docs/failures.md explains every code that a verdict or a failed start can have, and no other."""
    sources = [
        (ROOT / "runner" / path).read_text(encoding="utf-8") for path in ("job/verdict.py", "podspec/trouble.py")
    ]
    code = r"(?:run|node|pod|kube|helper|pull|start)\.[a-z_]+"
    raised = {found for source in sources for found in re.findall(rf'"({code})"', source)}
    explained = re.findall(
        rf"^\|.*\| `({code})` \|$", (ROOT / "docs/failures.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(explained) == sorted(raised)


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions/003 names each dependency of pyproject.toml, and no package that is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    text = (ROOT / "docs/decisions/003-dependencies.md").read_text(encoding="utf-8")
    rows = {
        name for row in re.findall(r"^\| (`.*?`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }
    assert {re.split(r"[\[<>=~]", name)[0] for name in named} <= set(re.findall(r"`([\w.-]+)`", text, re.ASCII))
    assert rows <= {re.split(r"[<>=~]", name)[0] for name in project["dependencies"]}


def test_index_of_decisions_is_complete() -> None:
    """docs/decisions/README.md lists every decision."""
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\((\d{3}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
