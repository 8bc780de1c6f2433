"""Archives out and in, checked with other programs."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from runner.helper.archives import zip_writer
from runner.helper.archives.entries import Entry
from runner.helper.archives.enumeration import Selection, enumerate_files
from runner.helper.archives.formats import extract_archive, write_archive
from runner.helper.archives.placing import ArchiveError, placing
from runner.helper.console import Console, HelperError

QUIET = Console(level="fatal")
FORMATS = ("zip", "zipzstd", "tarzstd")


def needs(program: str) -> pytest.MarkDecorator:
    """Leave a test out where the program it compares with is not installed; CI installs all."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Files of many kinds: empty, of several pieces, random, with odd names and modes, a link, an empty folder."""
    root = tmp_path / "project"
    (root / "empty folder").mkdir(parents=True)
    (root / "empty").touch()
    (root / "ünï 'quoted'").write_text("x")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "random").write_bytes(random.Random(1).randbytes(300_000))
    (root / "large").write_bytes(b"".join(b"%d\n" % number for number in range(600_000)))
    os.symlink("run", root / "link")
    os.symlink("/nowhere", root / "dangling")
    os.utime(root / "run", (1_000_000_000, 1_000_000_000))
    return root


def _names(root: Path) -> tuple[str, ...]:
    return enumerate_files(Selection(["."]), root=str(root), console=QUIET, environ={})


def _archive(root: Path, form: str, target: Path, level: str = "fast") -> Path:
    with target.open("wb") as file:
        size = write_archive(form, _names(root), root=str(root), level=level, write=file.write)
    assert size == target.stat().st_size
    return target


def _same(left: Path, right: Path) -> bool:
    return subprocess.run(["diff", "-r", "--no-dereference", left, right], check=False).returncode == 0


def _place(root: Path, *entries: Entry) -> None:
    with placing(str(root)) as placer:
        for entry in entries:
            if entry.kind != "file":
                placer.add(entry)
                continue
            with placer.file(entry) as file:
                file.write(b"x")


@pytest.mark.parametrize("level", ["fastest", "fast", "default"])
@pytest.mark.parametrize("form", FORMATS)
def test_what_was_archived_comes_out_the_same(project: Path, tmp_path: Path, form: str, level: str) -> None:
    """Contents, links, modes and times."""
    archive = _archive(project, form, tmp_path / "archive", level)
    target = tmp_path / "target"
    target.mkdir()
    assert extract_archive(str(archive), root=str(target), console=QUIET) == 8
    assert _same(project, target)
    assert stat.S_IMODE((target / "run").stat().st_mode) == 0o755
    assert (target / "run").stat().st_mtime == 1_000_000_000
    assert os.readlink(target / "dangling") == "/nowhere"
    assert not [name for name in os.listdir(target) if name.startswith(".extracting")]


@needs("unzip")
@pytest.mark.parametrize("level", ["fastest", "fast", "slowest"])
def test_unzip_reads_our_zip(project: Path, tmp_path: Path, level: str) -> None:
    """The archive is what the field's own program takes."""
    archive = _archive(project, "zip", tmp_path / "archive.zip", level)
    assert subprocess.run(["unzip", "-tqq", archive], check=False).returncode == 0
    target = tmp_path / "target"
    subprocess.run(["unzip", "-qq", archive, "-d", target], check=True)
    assert _same(project, target)


@needs("zstd")
def test_tar_and_zstd_read_our_archive(project: Path, tmp_path: Path) -> None:
    """The frames of several threads are one stream."""
    archive = _archive(project, "tarzstd", tmp_path / "archive.tar.zst")
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(f"zstd -dcq {archive} | tar -xf - -C {target}", shell=True, check=True)
    assert _same(project, target)


def test_a_name_that_is_no_text_survives(tmp_path: Path) -> None:
    """Linux' names are bytes."""
    root, target = tmp_path / "root", tmp_path / "target"
    root.mkdir()
    target.mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_text("x")
    extract_archive(str(_archive(root, "zip", tmp_path / "archive")), root=str(target), console=QUIET)
    assert os.listdir(os.fsencode(target)) == [b"\xff\xfe"]


@needs("zip")
def test_zip_makes_an_archive_that_we_read(project: Path, tmp_path: Path) -> None:
    """Info-ZIP's own, with its fields."""
    subprocess.run(["zip", "-qry", tmp_path / "theirs.zip", "."], cwd=project, check=True)
    target = tmp_path / "target"
    target.mkdir()
    extract_archive(str(tmp_path / "theirs.zip"), root=str(target), console=QUIET)
    assert _same(project, target)


def test_large_numbers_take_the_large_fields(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 4 GiB and 65,535 files, shown with lower bounds."""
    monkeypatch.setattr(zip_writer, "_MAX_32", 1000)
    monkeypatch.setattr(zip_writer, "_MAX_16", 3)
    target = tmp_path / "archive.zip"
    with target.open("wb") as file:
        entries = (Entry(f"f{number}", "folder", 0o755) for number in range(5))
        zip_writer.write_zip(entries, root=str(project), level=1, write=file.write)
    data = target.read_bytes()
    assert b"PK\x06\x06" in data
    assert b"PK\x06\x07" in data
    assert data.index(b"PK\x06\x06") < data.index(b"PK\x06\x07") < data.index(b"PK\x05\x06")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_cut_archive_leaves_nothing(project: Path, tmp_path: Path, form: str, cut: float) -> None:
    """Not one file of it."""
    archive = _archive(project, form, tmp_path / "archive")
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * cut)])
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ArchiveError, match="broken"):
        extract_archive(str(archive), root=str(target), console=QUIET)
    assert os.listdir(target) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_flipped_byte_leaves_nothing(project: Path, tmp_path: Path, form: str) -> None:
    """The checksums of the formats tell."""
    archive = _archive(project, form, tmp_path / "archive", "fastest")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ArchiveError, match="broken"):
        extract_archive(str(archive), root=str(target), console=QUIET)
    assert os.listdir(target) == []


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a\0b"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    """A zip slip."""
    with pytest.raises(ArchiveError, match="is no path below"):
        _place(tmp_path, Entry("good", "folder", 0o755), Entry(name, "file", 0o644))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    """Neither one that was there, nor one of the archive: links are made last."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    os.symlink(outside, inside / "link")
    with pytest.raises(ArchiveError, match="leads out"):
        _place(inside, Entry("link/evil", "file", 0o644))
    with pytest.raises(ArchiveError, match="is a folder here"):
        _place(inside, Entry("new", "link", 0o777, target=str(outside)), Entry("new/evil", "file", 0o644))
    assert os.listdir(outside) == []


def test_a_file_replaces_what_was_there_and_is_not_written_through_it(tmp_path: Path) -> None:
    """A link in the project that points elsewhere stays harmless."""
    (tmp_path / "target").write_text("keep")
    os.symlink("target", tmp_path / "name")
    _place(tmp_path, Entry("name", "file", 0o644))
    assert ((tmp_path / "target").read_text(), (tmp_path / "name").read_text()) == ("keep", "x")
    assert not (tmp_path / "name").is_symlink()


def test_a_small_archive_of_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    """A bomb is measured by the room there is, before anything is written."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("zeros", b"0" * 1000)
    data = archive.read_bytes()
    at = data.index(b"PK\x01\x02") + 24
    archive.write_bytes(data[:at] + (0xFFFFFFF0).to_bytes(4, "little") + data[at + 4 :])
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ArchiveError):
        extract_archive(str(archive), root=str(target), console=QUIET)
    assert os.listdir(target) == []


def test_gzip_has_a_member_for_each_file_with_its_name(project: Path, tmp_path: Path) -> None:
    """As GitLab reads reports."""
    target = tmp_path / "reports.gz"
    with target.open("wb") as file:
        write_archive("gzip", ["run", "ünï 'quoted'"], root=str(project), level="default", write=file.write)
    unpacked = subprocess.run(["gzip", "-dc", target], check=True, capture_output=True).stdout
    assert unpacked == b"#!/bin/sh\nx"
    assert b"run\0run\0" in target.read_bytes()
    assert b"e:%C3%BCn%C3%AF%20%27quoted%27\0" in target.read_bytes()


def test_raw_is_one_file(project: Path, tmp_path: Path) -> None:
    """Two are an error that says how many there were."""
    target = tmp_path / "raw"
    with target.open("wb") as file:
        write_archive("raw", ["run"], root=str(project), level="default", write=file.write)
    assert target.read_text() == "#!/bin/sh\n"
    with pytest.raises(HelperError, match="only one file can be sent as raw, 2 were found"):
        write_archive("raw", ["run", "empty"], root=str(project), level="default", write=lambda _: None)
