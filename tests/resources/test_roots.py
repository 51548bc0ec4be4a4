"""Confined opening: hostile names, links and special files are refused, the storage is told from the file."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import socket
import threading
from pathlib import Path

import pytest

from resources.roots import FileStat, PathRefused, StorageFault, open_any, open_confined, scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A landing folder with one good file and a secret beside it."""
    folder = tmp_path / "landing"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "good.wav").write_bytes(b"good")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (folder / "link.wav").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "inside").symlink_to(folder / "a")
    (folder / "dangling.wav").symlink_to(folder / "nowhere")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    os.mkfifo(folder / "fifo.wav")
    return folder


def test_a_regular_file_below_the_root_is_opened(root: Path) -> None:
    for name in ("a/b/good.wav", "a//b/./good.wav"):
        with open_confined(root, name) as file:
            assert file.read() == b"good"
            assert os.get_blocking(file.fileno())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.txt", "climbs"),
        ("a/../../secret.txt", "climbs"),
        ("/etc/passwd", "absolute"),
        ("a\0b", "NUL"),
        ("", "empty"),
        (".", "root itself"),
        ("/".join("x" * 100), "deeper"),
        ("link.wav", "symbolic link"),
        ("up/secret.txt", "symbolic link"),
        ("inside/b/good.wav", "symbolic link"),
        ("dangling.wav", "symbolic link"),
        ("loop.wav", "symbolic link"),
        ("a", "folder"),
        ("missing.wav", "does not exist"),
        ("missing/good.wav", "does not exist"),
        ("a/b/good.wav/x", "not a folder"),
    ],
)
def test_hostile_names_are_refused_with_the_reason(root: Path, name: str, reason: str) -> None:
    with pytest.raises(PathRefused, match=reason) as caught:
        open_confined(root, name)
    assert caught.value.path == name


@pytest.mark.timeout(10)
def test_special_files_are_refused_without_blocking(root: Path) -> None:
    with pytest.raises(PathRefused, match="FIFO"):
        open_confined(root, "fifo.wav")
    with pytest.raises(PathRefused, match="FIFO"):
        open_any(root / "fifo.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
        with pytest.raises(PathRefused, match="socket"):
            open_confined(root, "sock")
    with pytest.raises(PathRefused, match="character device"):
        open_any("/dev/zero")
    with pytest.raises(PathRefused, match="folder"):
        open_any(root)
    with pytest.raises(PathRefused, match="does not exist"):
        open_any(root / "missing")
    with pytest.raises(PathRefused, match="link"):
        open_any(root / "loop.wav")


def test_a_named_file_may_be_reached_through_a_link(root: Path) -> None:
    with open_any(root / "link.wav") as file:
        assert file.read() == b"secret"


def test_no_descriptor_is_left_open(root: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for name in ("../x", "link.wav", "up/secret.txt", "fifo.wav", "a", "missing/x", "a/b/good.wav"):
        with contextlib.suppress(PathRefused):
            open_confined(root, name).close()
    list(scan(root))
    assert count() == before


def test_a_folder_swapped_for_a_link_during_the_opening_never_leads_outside(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b" / "good.wav").write_bytes(b"evil")
    real, away, stop = root / "a", root / "away", threading.Event()

    def swap() -> None:
        while not stop.is_set():
            real.rename(away)
            real.symlink_to(outside)
            real.unlink()
            away.rename(real)

    def look() -> bytes | None:
        try:
            with open_confined(root, "a/b/good.wav") as file:
                return file.read()
        except PathRefused:
            return None

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = {look() for _ in range(3000)}
    finally:
        stop.set()
        thread.join()
    assert look() == b"good"
    assert b"evil" not in seen


def test_a_missing_root_is_a_fault_of_the_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="root not readable"):
        open_confined(tmp_path / "unmounted", "a.wav")
    with pytest.raises(StorageFault):
        list(scan(tmp_path / "unmounted"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ENOTCONN])
def test_an_error_of_the_mount_accuses_the_storage(root: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.open

    def failing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "good.wav" or str(path).endswith("/good.wav"):
            raise OSError(number, os.strerror(number))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StorageFault) as caught:
        open_confined(root, "a/b/good.wav")
    assert caught.value.errno == number
    with pytest.raises(StorageFault):
        open_any(root / "a" / "b" / "good.wav")


def test_a_scan_lists_regular_files_only_and_follows_no_link(root: Path) -> None:
    (root / "z.FLAC").write_bytes(b"12345")
    found = list(scan(root))
    assert [item.path for item in found] == ["z.FLAC", "a/b/good.wav"]
    assert found[0] == FileStat("z.FLAC", 5, (root / "z.FLAC").stat().st_mtime_ns)
    assert [item.path for item in scan(root, suffixes=(".flac",))] == ["z.FLAC"]
    assert len(list(scan(root, max_files=1))) == 1


def test_a_folder_that_cannot_be_listed_fails_the_scan_instead_of_hiding_its_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def failing(path: int) -> object:
        if Path(f"/proc/self/fd/{path}").readlink().name == "b":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(StorageFault, match="folder not readable"):
        list(scan(root))


def test_both_errors_survive_the_way_between_processes() -> None:
    refused = pickle.loads(pickle.dumps(PathRefused("a", "b")))
    assert (refused.path, refused.reason) == ("a", "b")
    fault = pickle.loads(pickle.dumps(StorageFault(errno.EIO, "gone", "/x")))
    assert (fault.errno, fault.filename) == (errno.EIO, "/x")
