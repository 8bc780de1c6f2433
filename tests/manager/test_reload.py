"""config.toml as a running process follows it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from runner.config.findings import ConfigError
from runner.config.model import Config
from runner.manager import reload
from runner.manager.config_file import ConfigFileError
from runner.manager.reload import ConfigWatch, Stamp, read_again
from runner.manager.runners import Change

INTERVAL = 0.01
GOOD = 'concurrent = 3\n[[runners]]\nname = "r"\nurl = "http://x"\ntoken = "$TOKEN"\nexecutor = "kubernetes"\n'


class Follower:
    """Who is given the configurations; keeps them."""

    def __init__(self) -> None:
        self.applied: list[Config] = []
        self.refusals = 0
        self.heard = anyio.Event()

    async def apply(self, config: Config) -> Change:
        self.applied.append(config)
        self._wake()
        return Change(added=("r",))

    def refused(self) -> None:
        self.refusals += 1
        self._wake()

    def _wake(self) -> None:
        self.heard.set()
        self.heard = anyio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until it has been told so much."""
        with anyio.fail_after(10):
            while not reached():
                await self.heard.wait()


@asynccontextmanager
async def following(path: Path, *, interval: float = INTERVAL) -> AsyncIterator[tuple[ConfigWatch, Follower]]:
    """A file that is followed, from a first reading on, for as long as the block."""
    watch, follower = ConfigWatch(path, environ={"TOKEN": "glrt-env"}, interval=interval), Follower()
    watch.first()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(watch.run, follower.apply, refused=follower.refused))
        yield watch, follower
        group.cancel_scope.cancel()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that is good."""
    path = tmp_path / "config.toml"
    path.write_text(GOOD)
    return path


async def looked_at(watch: ConfigWatch, path: Path) -> None:
    """Wait until a file has been looked at as it is."""
    inode, changed = os.stat(path).st_ino, os.stat(path).st_mtime_ns
    with anyio.fail_after(5):
        while (watch._handled[1], watch._handled[3]) != (inode, changed):
            await anyio.lowlevel.checkpoint()


def replace_by(path: Path, text: str) -> None:
    """Put another file in a file's place, as most editors and `register` do."""
    beside = path.with_name("beside")
    beside.write_text(text)
    beside.replace(path)


def write_in_place(path: Path, text: str) -> None:
    """Write over a file."""
    path.write_text(text)


@pytest.mark.parametrize("edit", [replace_by, write_in_place])
async def test_run_when_the_file_is_edited(file: Path, edit: Callable[[Path, str], None]) -> None:
    """The new configuration is applied once, with the environment's values of the start."""
    async with following(file) as (_, follower):
        edit(file, GOOD.replace("3", "5"))
        await follower.until(lambda: bool(follower.applied))
    (config,) = follower.applied
    assert (config.concurrent, config.runners[0].token) == (5, "glrt-env")


async def test_run_when_a_mounted_configmap_is_swapped(tmp_path: Path) -> None:
    """The file is a link through `..data`, which is swapped for one to another folder: a change."""
    for version, concurrent in (("..1", "3"), ("..2", "7")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.toml").write_text(GOOD.replace("3", concurrent))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.toml").symlink_to("..data/config.toml")
    async with following(tmp_path / "config.toml") as (_, follower):
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await follower.until(lambda: bool(follower.applied))
    assert [config.concurrent for config in follower.applied] == [7]


async def test_run_when_the_file_is_still_being_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is read once it has stood from one look to the next: half a file is none."""
    stamps, halves = iter([(0,), (1,), (2,)]), iter(["", GOOD[:-20], GOOD[:-10]])

    def writing(path: Path) -> Stamp:
        """Each look finds a little more, until all is there."""
        path.write_text(next(halves, GOOD.replace("3", "5")))
        return next(stamps, (3,))

    monkeypatch.setattr(reload, "_stamp", writing)
    watch, follower = ConfigWatch(file, environ={"TOKEN": "glrt-env"}, interval=INTERVAL), Follower()
    monkeypatch.setattr(watch, "_handled", (0,))
    async with anyio.create_task_group() as group:
        group.start_soon(partial(watch.run, follower.apply, refused=follower.refused))
        await follower.until(lambda: bool(follower.applied or follower.refusals))
        group.cancel_scope.cancel()
    assert (follower.refusals, [config.concurrent for config in follower.applied]) == (0, [5])


async def test_run_when_only_the_date_changes(file: Path) -> None:
    """The same content is no change: the next one is, and comes alone."""
    async with following(file) as (watch, follower):
        os.utime(file, (1, 1))
        await looked_at(watch, file)
        replace_by(file, GOOD)
        await looked_at(watch, file)
        replace_by(file, GOOD.replace("3", "4"))
        await follower.until(lambda: bool(follower.applied))
    assert [config.concurrent for config in follower.applied] == [4]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param("concurrent = 0\n", "config.toml:1: concurrent: ", id="no slot"),
        pytest.param("concurrent = 3\n[[runners\n", "config.toml:2", id="no TOML"),
        pytest.param(GOOD + 'limit = "x"\n', "config.toml:7: runners.0.limit: Input should be", id="a wrong value"),
        pytest.param(b"\xff", "config.toml is not UTF-8 at byte 0; TOML files are.", id="no text"),
        pytest.param(None, "config.toml cannot be read: no such file or directory.", id="gone"),
    ],
)
async def test_run_when_the_file_is_broken(file: Path, broken: str | bytes | None, reason: str) -> None:
    """Nothing is applied, and it is told once with file, line and key; when all is well again that is told too."""
    with capture_logs() as logs:
        async with following(file) as (watch, follower):
            spoil(file, broken)
            await follower.until(lambda: follower.refusals == 1)
            if broken is not None:
                os.utime(file, (5, 5))
                await looked_at(watch, file)  # again, and not told again
            replace_by(file, GOOD)
            await follower.until(lambda: bool(follower.applied))
            watch.check_now()
            await follower.until(lambda: len(follower.applied) == 2)
    assert follower.refusals == 1
    (error,) = errors(logs)
    assert error["event"] == "the configuration cannot be used, the one before stays in force"
    assert reason in error["reason"]
    assert [entry["event"] for entry in logs].count("configuration loaded") == 2


def spoil(path: Path, content: str | bytes | None) -> None:
    """Write what is broken, or take the file away."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def errors(logs: list[EventDict]) -> list[EventDict]:
    """What was told as an error."""
    return [entry for entry in logs if entry["log_level"] == "error"]


async def test_check_now_when_nothing_changed(file: Path) -> None:
    """HUP applies the configuration once more, without waiting for the next look."""
    async with following(file, interval=3600) as (watch, follower):
        watch.check_now()
        await follower.until(lambda: len(follower.applied) == 1)


async def test_check_now_when_the_file_is_broken(file: Path) -> None:
    """Whoever asks is answered, although it has been told."""
    with capture_logs() as logs:
        async with following(file, interval=3600) as (watch, follower):
            write_in_place(file, "concurrent = 0\n")
            for count in (1, 2):
                watch.check_now()
                await follower.until(lambda count=count: follower.refusals == count)  # type: ignore[misc]
    assert len(errors(logs)) == 2


async def test_run_when_keys_change_that_are_not_reloaded(file: Path) -> None:
    """They are named once for each change, and not once for each load."""
    with capture_logs() as logs:
        async with following(file, interval=3600) as (watch, follower):
            write_in_place(file, 'listen_address = ":9252"\n' + GOOD + '[session_server]\nlisten_address = ":8093"\n')
            for count in (1, 2):
                watch.check_now()
                await follower.until(lambda count=count: len(follower.applied) == count)  # type: ignore[misc]
            write_in_place(file, GOOD)
            watch.check_now()
            await follower.until(lambda: len(follower.applied) == 3)
    told = [entry["keys"] for entry in logs if "at the next start" in entry["event"]]
    assert told == ["listen_address, session_server"]


async def test_run_when_there_is_something_to_warn_of(file: Path) -> None:
    """A warning is told when it is new, wherever its line has moved since."""
    with capture_logs() as logs:
        async with following(file, interval=3600) as (watch, follower):
            for count, text in enumerate((GOOD + "limt = 1\n", "# moved\n" + GOOD + "limt = 1\n"), 1):
                write_in_place(file, text)
                watch.check_now()
                await follower.until(lambda count=count: len(follower.applied) == count)  # type: ignore[misc]
    told = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert len(told) == 1
    assert "config.toml:7: runners.0.limt: the key is unknown" in told[0]


async def test_first_when_there_is_no_file_yet(tmp_path: Path) -> None:
    """It begins without runners, says what it waits for and what lies there, and takes the file when it comes."""
    path = tmp_path / "config.toml"
    (tmp_path / "conf.toml").write_text(GOOD)
    watch = ConfigWatch(path)
    assert watch.first() == (Config(), ())
    assert watch.waiting == (
        f"{path} is not there: waiting for it, without runners. Its folder has conf.toml. --config names another file."
    )
    async with following(path) as (_, follower):
        path.write_text(GOOD)
        await follower.until(lambda: bool(follower.applied))
    assert len(follower.applied[0].runners) == 1


def test_first_when_the_folder_is_missing(tmp_path: Path) -> None:
    """A name that is most probably wrong is an error."""
    with pytest.raises(ConfigFileError, match="nor is its folder"):
        ConfigWatch(tmp_path / "none" / "config.toml").first()


@pytest.mark.parametrize("content", [b"concurrent = 0", b"\xff"], ids=["a wrong value", "no text"])
def test_first_when_the_file_cannot_be_used(file: Path, content: bytes) -> None:
    """A process does not begin with what is broken."""
    file.write_bytes(content)
    with pytest.raises((ConfigError, ConfigFileError)):
        ConfigWatch(file).first()


def test_first_when_the_file_is_a_link_to_nothing(tmp_path: Path) -> None:
    """A link whose end is missing is a fault, not a file to come."""
    (tmp_path / "config.toml").symlink_to("none")
    with pytest.raises(ConfigFileError, match="cannot be read: no such file or directory"):
        ConfigWatch(tmp_path / "config.toml").first()


def test_read_again_when_the_file_has_become_a_pipe(tmp_path: Path) -> None:
    """Nobody may ever write into it, and a thread that reads it could not be ended."""
    os.mkfifo(tmp_path / "config.toml")
    assert read_again(tmp_path / "config.toml").trouble == f"{tmp_path}/config.toml is no file that can be read again."
