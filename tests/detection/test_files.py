"""Files, archives and odd things on a disk: looked into, never followed, never waited for."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from strongroom.detection import FileScanner, Finder, Report
from strongroom.detection.archives import form_of
from strongroom.kernel import limits
from tests.detection.cards import masked, number

PAN = number(("visa", 16), 7)
OTHER = number(("amex", 15), 9)
LINE = f"card {PAN}\n".encode()


def scan(*paths: Path, include_test: bool = False) -> Report:
    report = Report()
    FileScanner(Finder(), report, include_test=include_test).scan(paths)
    return report


def tar_of(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


def sqlite_of(folder: Path) -> bytes:
    with sqlite3.connect(folder / "made.sqlite") as base:
        base.execute("CREATE TABLE t (a TEXT)")
        base.execute("INSERT INTO t VALUES (?)", (f"card {PAN}",))
    base.close()
    data = (folder / "made.sqlite").read_bytes()
    (folder / "made.sqlite").unlink()
    return data


PACKED = {
    "plain": LINE,
    "gzip": gzip.compress(LINE),
    "two gzip members": gzip.compress(b"nothing\n") + gzip.compress(LINE),
    "bzip2": bz2.compress(LINE),
    "xz": lzma.compress(LINE),
    "tar": tar_of(a=b"nothing", b=LINE),
    "tar.gz": gzip.compress(tar_of(a=LINE)),
    "zip": zip_of(a=b"nothing", b=LINE),
    "zip in tar.xz": lzma.compress(tar_of(inner=zip_of(deep=LINE))),
    "gzip in zip": zip_of(**{"log.1.gz": gzip.compress(LINE)}),
    "pdf": b"%PDF-1.7\n1 0 obj\n<</Filter/FlateDecode>>\nstream\r\n"
    + zlib.compress(b"BT (card " + PAN.encode() + b") Tj ET") + b"\nendstream\nendobj\n",
    "utf-16 with a mark": f"\ufeffcard {PAN}\r\n".encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("form", PACKED)
def test_packed_files_are_looked_into(tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_bytes(PACKED[form])
    report = scan(tmp_path)
    assert {hit.mask for hit in report.hits} == {masked(PAN)}
    assert report.unread == [] and report.files == 1
    assert all(hit.confidence == "high" for hit in report.hits)


def test_a_sqlite_file_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(sqlite_of(tmp_path))
    assert [hit.mask for hit in scan(tmp_path).hits] == [masked(PAN)]


def test_a_hit_tells_where(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"one\ntwo\n" + LINE)
    (hit,) = scan(tmp_path).hits
    assert (hit.line, hit.offset) == (3, 8 + len("card "))
    assert (hit.brand, hit.digits, hit.kind, hit.severity) == (
        "visa", 16, "pan_outside_cde", "high",
    )  # fmt: skip
    assert hit.place == str(tmp_path / "app.log")


def test_names_of_files_are_looked_at_and_masked(tmp_path: Path) -> None:
    (tmp_path / f"card-{PAN}.txt").write_text("nothing")
    (tmp_path / "a.zip").write_bytes(zip_of(**{f"card-{OTHER}.txt": LINE}))
    report = scan(tmp_path)
    told = repr(report)
    assert PAN not in told and OTHER not in told
    assert [hit.writing for hit in report.hits].count("file-name") == 1


def test_links_devices_and_pipes_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(LINE)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "file-link").symlink_to(outside / "secret")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "pipe")
    if os.getuid() == 0:
        os.mknod(tree / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    report = scan(tree, Path("/dev/zero"))
    assert report.hits == [] and report.files == 0
    assert report.skipped >= 5


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "file").write_bytes(LINE)
    (tmp_path / "file").write_bytes(LINE)
    (tmp_path / "file").chmod(0)
    (tmp_path / "closed").chmod(0)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from strongroom.detection import FileScanner, Finder, Report\n"
        "report = Report()\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "FileScanner(Finder(), report).scan([Path(sys.argv[1]), Path('/nowhere')])\n"
        "print(len(report.hits), *sorted(u.reason for u in report.unread), sep='|')\n"
    )
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder.owner() == tmp_path.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    (tmp_path / "closed").chmod(0o700)
    denied = "Permission denied"
    assert ran.stdout.strip() == f"0|No such file or directory|{denied}|{denied}"


BROKEN = {
    "cut gzip": gzip.compress(LINE + os.urandom(40_000))[:-3_000],
    "cut xz": lzma.compress(LINE * 400 + os.urandom(90_000))[:-30_000],
    "cut tar": tar_of(a=LINE, b=LINE * 100)[:1_800],
    "zip without its end": zip_of(a=b"x" * 50)[:60] + LINE,
}


@pytest.mark.parametrize("form", BROKEN)
def test_damaged_archives_are_read_as_far_as_they_go(tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_bytes(BROKEN[form])
    report = scan(tmp_path)
    assert len(report.unread) == 1
    assert masked(PAN) in {hit.mask for hit in report.hits}


def test_unknown_and_encrypted_archives_are_told(tmp_path: Path) -> None:
    locked = bytearray(zip_of(a=LINE))
    locked[6] |= 1
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(locked)
    (tmp_path / "b.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    (tmp_path / "c.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    reasons = [unread.reason for unread in scan(tmp_path).unread]
    assert reasons == ["encrypted", *["an archive of a kind that is not read"] * 2]


def test_names_in_archives_are_never_paths(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("/etc/strongroom-was-here", "../../strongroom-was-here"):
            info = tarfile.TarInfo(name)
            info.size = len(LINE)
            tar.addfile(info, io.BytesIO(LINE))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("odd")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.tar").write_bytes(out.getvalue())
    report = scan(tmp_path / "deep")
    assert [hit.inside for hit in report.hits] == [
        "/etc/strongroom-was-here", "../../strongroom-was-here",
    ]  # fmt: skip
    assert report.unread == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "deep"]


def nested(levels: int) -> bytes:
    data = LINE
    for _ in range(levels):
        data = gzip.compress(data)
    return data


def test_archives_are_followed_to_a_depth(tmp_path: Path) -> None:
    (tmp_path / "deep").write_bytes(nested(limits.SCAN_ARCHIVE_DEPTH))
    (tmp_path / "too deep").write_bytes(nested(limits.SCAN_ARCHIVE_DEPTH + 1))
    report = scan(tmp_path)
    assert len(report.hits) == 1
    assert [unread.reason for unread in report.unread] == ["archives are nested too deeply"]


def test_bombs_are_left_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCAN_UNPACKED_FREE_BYTES", 4 << 20)
    flat = gzip.compress(bytes(16 << 20))
    (tmp_path / "bomb.gz").write_bytes(flat)
    (tmp_path / "bomb.zip").write_bytes(zip_of(**{f"{n}.gz": flat for n in range(20)}))
    started = time.monotonic()
    report = scan(tmp_path)
    assert {unread.reason for unread in report.unread} == {"unpacks to more than is allowed"}
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_zip_method_unpacks_in_small_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    monkeypatch.setattr(limits, "SCAN_UNPACKED_FREE_BYTES", 4 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as made:
        made.writestr("log", LINE)
        with made.open("flat", "w") as flat:
            for _ in range(128):
                flat.write(bytes(1 << 20))
    tracemalloc.start()
    report = scan(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [hit.inside for hit in report.hits] == ["log"]
    assert {unread.reason for unread in report.unread} == {"unpacks to more than is allowed"}
    assert peak < 32 << 20


def test_a_zip_method_that_is_not_read_is_told(tmp_path: Path) -> None:
    odd = bytearray(zip_of(a=LINE))
    odd[8] = odd[odd.find(b"PK\x01\x02") + 10] = 93
    (tmp_path / "a.zip").write_bytes(odd)
    (told,) = scan(tmp_path).unread
    assert told.reason == "compressed in a way that is not read"


def test_a_pdf_of_nothing_but_streams_is_read_in_time(tmp_path: Path) -> None:
    hidden = b"stream\n" + zlib.compress(LINE) + b"\nendstream\n"
    noise = b"%PDF-1.4\n" + b"stream\n" * 90_000
    (tmp_path / "a.pdf").write_bytes(noise + b"endstream\n" + hidden)
    (tmp_path / "b.pdf").write_bytes(noise)
    started = time.monotonic()
    report = scan(tmp_path)
    assert time.monotonic() - started < 10
    assert [hit.mask for hit in report.hits] == [masked(PAN)]


def test_archives_with_too_many_members_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_MEMBERS_MAX", 50)
    (tmp_path / "a.zip").write_bytes(zip_of(**{str(n): b"" for n in range(51)}))
    (tmp_path / "b.tar").write_bytes(tar_of(**{str(n): b"" for n in range(51)}))
    assert [u.reason for u in scan(tmp_path).unread] == ["has more members than are allowed"] * 2
    monkeypatch.setattr(limits, "SCAN_MEMBERS_MAX", 51)
    monkeypatch.setattr(limits, "SCAN_DIRECTORY_BYTES", 100)
    assert [Path(u.place).name for u in scan(tmp_path).unread] == ["a.zip"]


def test_a_sparse_gigabyte_takes_flat_memory(tmp_path: Path) -> None:
    big = tmp_path / "sparse"
    with big.open("wb") as file:
        file.seek(700 << 20)
        file.write(LINE)
        file.truncate(1 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (hit,) = scan(big).hits
    assert hit.offset == (700 << 20) + len("card ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def test_a_file_that_grows_meanwhile_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(LINE)
    stop = threading.Event()

    def grow() -> None:
        with log.open("ab") as file:
            while not stop.is_set():
                file.write(b"more and more of it\n" * 4_000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        report = scan(log)
    finally:
        stop.set()
        writer.join()
    assert len(report.hits) == 1


def test_one_file_full_of_cards_is_cut(tmp_path: Path) -> None:
    lines = "".join(f"card {number(('visa', 16), seed)}\n" for seed in range(1_200))
    (tmp_path / "dump.csv").write_text(lines)
    report = scan(tmp_path)
    assert len(report.hits) == 1_000
    assert "more than 1000 hits" in report.unread[0].reason


def test_test_numbers_count_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "fixture").write_text("card 4111111111111111")
    assert scan(tmp_path).hits == [] and scan(tmp_path).test_numbers == 1
    (hit,) = scan(tmp_path, include_test=True).hits
    assert (hit.kind, hit.severity) == ("test_pan", "low")


def test_forms_are_told_by_their_first_bytes() -> None:
    assert form_of(LINE) == "" and form_of(b"") == ""
    assert form_of(tar_of(a=b"x")[:512]) == "tar"
