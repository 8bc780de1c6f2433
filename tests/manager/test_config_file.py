"""config.toml under edits: whole or not at all, one after the other, mode and owner kept."""

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.manager.config_file import ConfigFileError, check_writable, edit_file, read_text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration in a folder of its own."""
    path = tmp_path / "config.toml"
    path.write_text("concurrent = 1\n")
    return path


def test_mode_stays(config: Path) -> None:
    """Whatever its maker chose."""
    config.chmod(0o640)
    edit_file(config, lambda text: text + "# more\n")
    assert config.read_text() == "concurrent = 1\n# more\n"
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_owner_stays(config: Path) -> None:
    """A configuration of the runner's user stays its own when root edits it."""
    os.chown(config, 4242, 4243)
    edit_file(config, lambda text: text + "#\n")
    assert (config.stat().st_uid, config.stat().st_gid) == (4242, 4243)


def test_new_file_is_private(tmp_path: Path) -> None:
    """It will hold tokens."""
    path = tmp_path / "new" / "config.toml"
    edit_file(path, lambda _: "concurrent = 2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    """The file that it leads to is the one that changes."""
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    edit_file(link, lambda _: "concurrent = 3\n")
    assert link.is_symlink()
    assert config.read_text() == "concurrent = 3\n"


def test_edit_that_raises_changes_nothing(config: Path) -> None:
    """And leaves nothing beside the file."""

    def fail(_: str) -> str:
        raise ValueError("no")

    before = config.stat()
    with pytest.raises(ValueError, match="no"):
        edit_file(config, fail)
    assert config.stat().st_ino == before.st_ino
    assert os.listdir(config.parent) == ["config.toml"]


def test_reader_sees_the_old_file_or_the_new_one(config: Path) -> None:
    """Whoever has opened it keeps the old one: it is replaced, not overwritten."""
    with config.open() as reader:
        edit_file(config, lambda _: "concurrent = 9\n")
        assert reader.read() == "concurrent = 1\n"
    assert os.listdir(config.parent) == ["config.toml"]


def test_no_edit_is_lost_when_many_edit_at_once(config: Path) -> None:
    """Each sees what the one before has written."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: edit_file(config, lambda text: f"{text}# {n}\n"), range(64)))
    assert sorted(config.read_text().splitlines()[1:]) == sorted(f"# {n}" for n in range(64))


def test_lock_that_is_not_given_back_is_told(config: Path) -> None:
    """Nobody waits for ever."""
    folder = os.open(config.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(ConfigFileError, match="Another process"):
            edit_file(config, lambda text: text + "#\n", lock_timeout=0.05)
    finally:
        os.close(folder)
    assert config.read_text() == "concurrent = 1\n"


def test_file_that_is_no_text_is_told(config: Path) -> None:
    """With the byte where it goes wrong."""
    config.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigFileError, match="not UTF-8 at byte 5"):
        read_text(config)


def test_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    """Before anything else is done."""
    with pytest.raises(ConfigFileError, match="is no file"):
        check_writable(tmp_path)
    with pytest.raises(ConfigFileError, match="is a directory"):
        edit_file(tmp_path, lambda text: text + "#")
