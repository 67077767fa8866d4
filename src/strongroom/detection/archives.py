"""Opens archives and compressed files for the hunt: nothing is written to disk, nothing trusted.

Names of members are text to show, never paths to use; links are not followed; what unpacks to more
than its file allows is left and told. Damaged ones are read as far as they go.
"""

from __future__ import annotations

import bz2
import copy
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Literal, Protocol

import msgspec

from strongroom.detection.streams import Prefixed, Source, Whole
from strongroom.kernel import limits

HEAD_BYTES = 512
Form = Literal["zip", "tar", "gzip", "bzip2", "xz", "pdf", "unknown-archive", ""]

_BLOCK = 512
_MAGIC: tuple[tuple[bytes, Form], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"%PDF-", "pdf"),
    (b"\x28\xb5\x2f\xfd", "unknown-archive"),
    (b"7z\xbc\xaf\x27\x1c", "unknown-archive"),
    (b"Rar!\x1a\x07", "unknown-archive"),
)
_DAMAGED = (
    zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError, EOFError, ValueError, struct.error,
    NotImplementedError, RuntimeError, OverflowError, LookupError, MemoryError,
)  # fmt: skip
"""What the standard library raises over hostile archives."""


class Unreadable(Exception):
    """An archive, or a part of it, cannot be read; says why in a few words."""


class Member(msgspec.Struct, frozen=True):
    """One file inside an archive, open for reading."""

    name: str
    source: Source


class Budget:
    """What one file on disk may unpack to, shared by all archives inside it."""

    def __init__(self, size: int) -> None:
        self._bytes = limits.SCAN_UNPACKED_FREE_BYTES + size * limits.SCAN_UNPACKED_RATIO
        self._members = limits.SCAN_MEMBERS_MAX

    def spend(self, count: int) -> None:
        """Count unpacked bytes."""
        self._bytes -= count
        if self._bytes < 0:
            raise Unreadable("unpacks to more than is allowed")

    def member(self) -> None:
        """Count a member."""
        self._members -= 1
        if self._members < 0:
            raise Unreadable("has more members than are allowed")


def form_of(head: bytes) -> Form:
    """Return which archive begins with these bytes; empty for none."""
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    return "tar" if head[257:262] == b"ustar" else ""


def problem_of(source: Source) -> str:
    """Return why a member ended before its end; empty when it did not."""
    return str(getattr(source, "problem", ""))


def members(
    form: Form, head: bytes, rest: Source, budget: Budget, whole: Callable[[], IO[bytes]] | None
) -> Iterator[Member]:
    """Return the members of an archive, each to be read before the next is asked for.

    Args:
        form: what `form_of` said.
        head: its first bytes, read already.
        rest: what follows them.
        budget: what may be unpacked.
        whole: opens the archive for reading anywhere; None holds it in memory.

    Raises:
        Unreadable: it is damaged, encrypted, of an unknown kind, or too large.
    """
    source = Prefixed(head, rest)
    try:
        if form in _STREAMS:
            yield Member("", _Unpacked(source, _STREAMS[form], budget))
        elif form == "tar":
            yield from _tar(Whole(source), budget)
        elif form == "zip":
            yield from _zip(whole() if whole else _held(source), budget)
        elif form == "pdf":
            yield from _pdf(_held(source).read(), budget)
        else:
            raise Unreadable("an archive of a kind that is not read")
    except _DAMAGED as error:
        raise Unreadable(_told(error)) from None


def _held(source: Source) -> IO[bytes]:
    data = Whole(source).read(limits.SCAN_HELD_BYTES + 1)
    if len(data) > limits.SCAN_HELD_BYTES:
        raise Unreadable("too large to be held in memory")
    return io.BytesIO(data)


# --- streams -------------------------------------------------------------------------------------


class _Decompressor(Protocol):
    unused_data: bytes
    eof: bool

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Inflate:
    """zlib's decompressor with the words of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail


def _xz(form: int = lzma.FORMAT_AUTO) -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(form, memlimit=limits.SCAN_HELD_BYTES * 2)


_STREAMS: dict[str, Callable[[], object]] = {
    "gzip": _Inflate,
    "bzip2": bz2.BZ2Decompressor,
    "xz": _xz,
}
_INPUT_BYTES = 65_536


class _Unpacked:
    """Reads what a compressed stream holds, member after member, never more than was asked for."""

    def __init__(self, source: Source, make: Callable[[], object], budget: Budget) -> None:
        self._source = source
        self._make = make
        self._budget = budget
        self._inner: object = make()
        self._waiting = b""
        self._ended = False
        self.problem = ""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` unpacked bytes; a damaged stream ends early and has a `problem`."""
        if size <= 0 or self._ended:
            return b""
        try:
            part = self._next(size)
            self._budget.spend(len(part))
        except (Unreadable, *_DAMAGED) as error:
            self._ended, self.problem = True, _told(error)
            return b""
        return part

    def _next(self, size: int) -> bytes:
        inner: _Decompressor = self._inner  # type: ignore[assignment]
        while True:
            if inner.eof:
                self._waiting = inner.unused_data or self._source.read(_INPUT_BYTES)
                if not self._waiting.strip(b"\0"):
                    self._ended = True
                    return b""
                self._inner = inner = self._make()  # type: ignore[assignment]
            needs = getattr(inner, "needs_input", True)
            fresh, self._waiting = self._waiting, b""
            if needs and not fresh:
                fresh = self._source.read(_INPUT_BYTES)
                if not fresh:
                    raise EOFError
            part = inner.decompress(fresh, size)
            if part:
                return part


# --- tar -----------------------------------------------------------------------------------------

_PAX_PATH = re.compile(rb"[0-9]+ path=([^\n]*)\n")
_NAME_BYTES_MAX = 65_536


class _Part:
    """The next bytes of a stream as a source of its own."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self.left = size

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes of the part."""
        part = self._source.read(min(size, self.left))
        self.left -= len(part)
        return part

    def skip(self, padding: int) -> None:
        """Read over what is left of the part and its padding."""
        self.left += padding
        while self.left and self.read(_INPUT_BYTES):
            pass


def _tar(source: Source, budget: Budget) -> Iterator[Member]:
    """Walk a tar stream by hand: only names and sizes count, and every size is bounded."""
    long_name = b""
    while len(header := source.read(_BLOCK)) == _BLOCK and header.strip(b"\0"):
        if header[257:262] != b"ustar" and not header[148:156].strip(b"\0 "):
            raise Unreadable("damaged (tar header)")
        size, kind = _tar_number(header[124:136]), header[156:157]
        part = _Part(source, size)
        budget.member()
        if kind in (b"L", b"x") and size <= _NAME_BYTES_MAX:
            text = part.read(size)
            found = _PAX_PATH.search(text)
            long_name = text.rstrip(b"\0") if kind == b"L" else found[1] if found else b""
        else:
            name = long_name or _tar_name(header)
            long_name = b""
            yield Member(name.decode("utf-8", "replace"), part)
        part.skip(-size % _BLOCK)
        if part.left:
            raise Unreadable("damaged (tar ends early)")
    if 0 < len(header) < _BLOCK:
        raise Unreadable("damaged (tar ends early)")


def _tar_name(header: bytes) -> bytes:
    name, prefix = header[:100].rstrip(b"\0"), header[345:500].rstrip(b"\0")
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _tar_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b"\0 ") or b"0", 8)


# --- zip and PDF ---------------------------------------------------------------------------------

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"
_TAIL_BYTES = 65_536 + 22 + 76
_ZIP_LZMA_BYTES = 9
"""Before an LZMA member (APPNOTE 5.8.8): version, length, then what a .lzma file begins with."""


def _zip(file: IO[bytes], budget: Budget) -> Iterator[Member]:
    with file:
        if _directory_bytes(file) > limits.SCAN_DIRECTORY_BYTES:
            raise Unreadable("has more members than are allowed")
        with zipfile.ZipFile(file) as opened:
            yield from _zip_members(opened, budget)


def _zip_members(opened: zipfile.ZipFile, budget: Budget) -> Iterator[Member]:
    for info in opened.infolist():
        budget.member()
        if info.flag_bits & 1:
            raise Unreadable("encrypted")
        if not info.is_dir():
            with opened.open(_as_packed(info)) as inner:
                yield Member(info.filename, _zip_source(info, inner, budget))


def _as_packed(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return how to open a member so that `zipfile` unpacks nothing without a bound."""
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return info
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC  # of what is unpacked
    return packed


def _zip_source(info: zipfile.ZipInfo, inner: Source, budget: Budget) -> Source:
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return _Counted(inner, budget)
    if info.compress_type == zipfile.ZIP_BZIP2:
        return _Unpacked(inner, bz2.BZ2Decompressor, budget)
    if info.compress_type == zipfile.ZIP_LZMA:
        head = Whole(inner).read(_ZIP_LZMA_BYTES)[4:]
        size = b"\xff" * 8 if info.flag_bits & 2 else struct.pack("<Q", info.file_size)
        return _Unpacked(Prefixed(head + size, inner), partial(_xz, lzma.FORMAT_ALONE), budget)
    raise Unreadable("compressed in a way that is not read")


class _Counted:
    """A member whose bytes are counted, and whose errors say that it is damaged."""

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self.problem = ""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; a damaged member ends early and has a `problem`."""
        if self.problem:
            return b""
        try:
            part = self._source.read(size)
            self._budget.spend(len(part))
        except (Unreadable, *_DAMAGED) as error:
            self.problem = _told(error)
            return b""
        return part


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, Unreadable) else f"damaged ({type(error).__name__})"


def _directory_bytes(file: IO[bytes]) -> int:
    """Return how large a zip's table of contents says it is."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    file.seek(0)
    large = tail.rfind(_END_64)
    if large >= 0 and len(tail) >= large + 48:
        return int(struct.unpack_from("<Q", tail, large + 40)[0])
    end = tail.rfind(_END)
    return int(struct.unpack_from("<I", tail, end + 12)[0]) if 0 <= end <= len(tail) - 16 else 0


_PDF_STREAM = re.compile(rb"stream\r?\n")
_PDF_PART_BYTES = 1 << 20


def _pdf(data: bytes, budget: Budget) -> Iterator[Member]:
    """Return the file as it is, and its compressed streams."""
    yield Member("", io.BytesIO(data))
    view, end = memoryview(data), 0
    for number, found in enumerate(_PDF_STREAM.finditer(data)):
        if data[found.start() - 3 : found.start()] == b"end":
            continue
        if end < found.end():
            end = data.find(b"endstream", found.end())
        if end < 0:
            return
        budget.member()
        clear = _inflated(view[found.end() : end], budget)
        if clear:
            yield Member(f"stream {number}", io.BytesIO(clear))


def _inflated(data: memoryview, budget: Budget) -> bytes:
    """Return what a stream unpacks to; nothing for a picture, or a stream of another filter."""
    inner, waiting, parts = zlib.decompressobj(), data, bytearray()
    while len(parts) < limits.SCAN_HELD_BYTES and not inner.eof:
        try:
            part = inner.decompress(waiting, _PDF_PART_BYTES)
        except zlib.error:
            return bytes(parts)
        if not part:
            break
        budget.spend(len(part))
        parts += part
        waiting = memoryview(inner.unconsumed_tail)
    return bytes(parts)
