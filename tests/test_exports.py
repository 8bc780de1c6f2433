"""What the package shows to others, and what it may not do anywhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import runner
import runner.testing
from tests.documents import ROOT

MODULES = tuple(sorted(ROOT.glob("runner/**/*.py")))
PUBLIC = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules(runner.testing.__path__, "runner.testing.")
        if not module.ispkg and not module.name.endswith("_main")
    )
)
"""The doors of the test kit; the rooms behind them are in `runner.testing.cluster`."""

FORBIDDEN = {
    "create_task",
    "ensure_future",
    "gather",
    "shield",
    "wait_for",
    "timeout",
    "TaskGroup",
    "run_coroutine_threadsafe",
}
HEAVY = ("aiohttp", "anyio", "httpx", "kubernetes_asyncio", "orjson", "pydantic", "rich", "structlog", "yaml")


def name_of(path: Path) -> str:
    """The path as failures show it."""
    return str(path.relative_to(ROOT))


def public_names(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yield what a module offers: `__all__`, or what it defines without an underscore; and the members of classes."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    for name in names:
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        yield f"{module.__name__}.{name}", value
        if not inspect.isclass(value):
            continue
        for member, inner in vars(value).items():
            if not member.startswith("_") and (inspect.isroutine(inner) or isinstance(inner, property)):
                yield f"{module.__name__}.{name}.{member}", inner


# Words


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_are(path: Path) -> None:
    """Every module begins with a docstring whose first line is a sentence, or the beginning of one."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert words
    assert len(words.split("\n", 1)[0].split()) >= 3


@pytest.mark.parametrize("name", ["runner", *PUBLIC])
def test_public_names_are_documented_and_typed(name: str) -> None:
    """Every class, function, method and property of the test kit says what it is for, and has its types."""
    for full_name, value in public_names(importlib.import_module(name)):
        function = value.fget if isinstance(value, property) else value
        plain = getattr(function, "__func__", function)
        assert inspect.getdoc(plain), f"{full_name} has no docstring"
        if inspect.isfunction(plain):
            assert "return" in plain.__annotations__, f"{full_name} has no type"


def test_exported_names_exist() -> None:
    """Each name of each `__all__` is there, once."""
    for name in PUBLIC:
        exported = getattr(importlib.import_module(name), "__all__", [])
        assert len(exported) == len(set(exported))
        assert set(exported) <= set(dir(importlib.import_module(name)))


# What is not done


def made_by_asyncio(path: Path) -> Iterator[str]:
    """Yield the names of asyncio's that a module uses for tasks, shields and bounds."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            yield from {alias.name for alias in node.names} & FORBIDDEN
        elif isinstance(node, ast.Attribute):
            of_asyncio = isinstance(node.value, ast.Name) and node.value.id == "asyncio"
            if node.attr in (FORBIDDEN if of_asyncio else {"create_task", "ensure_future"}):
                yield node.attr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_tasks_belong_to_anyio(path: Path) -> None:
    """No module makes a task, shields or bounds a wait with asyncio, but for the one place that says why."""
    expected = ["create_task"] if name_of(path) == "runner/testing/cluster/owner.py" else []
    assert list(made_by_asyncio(path)) == expected


# Programs


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python` of this environment at the repository's root."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "where", "words"),
    [
        (["--help"], 0, "stdout", "Usage: runner"),
        (["--version"], 0, "stdout", runner.__version__),
        (["run", "--help"], 0, "stdout", "Usage: runner run"),
        (["local", "--help"], 0, "stdout", "Usage: runner local"),
        (["helper"], 1, "stderr", "runner helper"),
        (["helper", "no-such-command"], 1, "stderr", "no such command"),
        (["no-such-command"], 1, "stderr", "No such command"),
        (["run", "--no-such-option"], 1, "stderr", "There is no flag --no-such-option"),
        (["run", "--config", "/no/such/config.toml"], 1, "stderr", "/no/such/config.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_program_ends_with(arguments: list[str], code: int, where: str, words: str) -> None:
    """Exit code and first words of `python -m runner ...`; what is wrong goes to stderr, without a traceback."""
    done = run("-m", "runner", *arguments)
    assert done.returncode == code, done.stderr
    assert words in getattr(done, where)
    assert "Traceback" not in done.stderr


def imported_by(code: str) -> set[str]:
    """The modules that a piece of code imports in a new process."""
    tell = "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = run("-c", f"import sys; before = set(sys.modules); {code}\n{tell}")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["runner.helper", "runner.helper.__main__", "runner.helper.agent"])
def test_helper_imports_the_standard_library_alone(module: str) -> None:
    """The helper starts several times a job: nothing from outside, and none of the standard library's slow parts."""
    found = imported_by(f"import {module}")
    roots = {name.partition(".")[0] for name in found}
    assert roots - {"runner"} <= sys.stdlib_module_names
    assert {name for name in found if name.startswith("runner.")} == {
        name for name in found if name.startswith("runner.helper")
    }
    assert not roots & {
        "asyncio",
        "http",
        "urllib",
        "email",
        "ssl",
        "socket",
        "typing",
        "dataclasses",
        "inspect",
        "logging",
    }


def test_overview_is_quick() -> None:
    """`runner --help` imports click, and no library that a command needs."""
    found = imported_by("from runner.cli.main import main; assert main(['--help']) == 0")
    assert "click" in found
    assert not {name.partition(".")[0] for name in found} & set(HEAVY)


def test_configuration_is_read_without_a_client() -> None:
    """What only reads a configuration pays for no network library."""
    found = imported_by("import runner.config.load")
    assert not {name.partition(".")[0] for name in found} & {"aiohttp", "httpx", "kubernetes_asyncio", "anyio"}


def test_check_of_a_configuration_is_quick() -> None:
    """`runner config check` imports models of the configuration, and neither clients nor tables for terminals."""
    check = "from runner.cli.main import main; assert main(['config', 'check', '--list-rules']) == 0"
    found = {name.partition(".")[0] for name in imported_by(f"import runner.cli.config_report; {check}")}
    assert "pydantic" in found
    assert not found & (set(HEAVY) - {"pydantic"} | {"pydantic_settings", "re2", "jsonpatch", "tomlkit", "urllib3"})


def test_plugin_is_light() -> None:
    """pytest loads the plugin in every run of its environment: it brings no server with it."""
    found = imported_by("import pytest, pytest_asyncio; before = set(sys.modules); import runner.testing.plugin")
    assert not {name.partition(".")[0] for name in found} & {"aiohttp", "httpx", "kubernetes_asyncio", "orjson"}
