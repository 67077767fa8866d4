"""Walks files and looks into each: plain, compressed, archived. Links and devices are left alone.

What cannot be read is counted and told; nothing that is read gets into a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from strongroom.detection.archives import (
    HEAD_BYTES,
    Budget,
    Unreadable,
    form_of,
    members,
    problem_of,
)
from strongroom.detection.model import Hit, Progress, Report, Unread, hit_of
from strongroom.detection.scan import Finder
from strongroom.detection.streams import FileSource, Prefixed, Source, Whole, matches
from strongroom.kernel.limits import SCAN_ARCHIVE_DEPTH

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
HITS_IN_ONE_PLACE = 1_000
"""Hits told of one file: one that is full of cards is one leak, and memory stays bounded."""


class FileScanner:
    """Scans files and directories into a report.

    Args:
        finder: finds numbers in bytes.
        report: what is added to.
        include_test: whether published test numbers are hits; otherwise they are only counted.
        progress: told of bytes done.
    """

    def __init__(
        self,
        finder: Finder,
        report: Report,
        *,
        include_test: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._finder = finder
        self._names = Finder(least="low")
        self._report = report
        self._include_test = include_test
        self._progress = progress or (lambda stage, done, total: None)
        self._total = 0

    def scan(self, paths: Iterable[Path]) -> None:
        """Look into every file at or below the paths."""
        listed = list(paths)
        for path in listed:
            self._total += sum(size for _, size in self._files(path, quiet=True))
        for path in listed:
            for file, _ in self._files(path, quiet=False):
                self._file(file)
                self._progress("reading", self._report.bytes, max(self._total, 1))

    def shown(self, text: str) -> str:
        """Return text with card numbers in it masked: a file's name may hold one, too.

        A zero byte, which no database takes in a text, is replaced: archives may have one in names.
        """
        data = text.encode("utf-8", "surrogateescape")
        for match in reversed(self._names.find(data)):
            data = data[: match.offset] + match.mask.encode() + data[match.end :]
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")

    def _files(self, path: Path, *, quiet: bool) -> Iterator[tuple[Path, int]]:
        """Walk without following links and without leaving the file system."""
        try:
            top = path.stat()
        except OSError as error:
            self._untold(path, error, quiet)
            return
        if not stat.S_ISDIR(top.st_mode):
            yield path.resolve(), top.st_size
            return
        waiting = [path.resolve()]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                self._untold(folder, error, quiet)
                continue
            for entry in entries:
                status = self._status(entry, quiet)
                if status is None or status.st_dev != top.st_dev:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    yield Path(entry.path), status.st_size
                elif not quiet:
                    self._report.skipped += 1

    def _status(self, entry: os.DirEntry[str], quiet: bool) -> os.stat_result | None:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # gone since the folder was listed
            return None
        except OSError as error:
            self._untold(Path(entry.path), error, quiet)
            return None

    def _untold(self, path: Path, error: OSError, quiet: bool) -> None:
        if not quiet:
            self._unread(self.shown(str(path)), error.strerror or type(error).__name__)

    def _unread(self, place: str, reason: str) -> None:
        self._report.unread.append(Unread(place, reason))

    def _file(self, path: Path) -> None:
        place = self.shown(str(path))
        self._name(path, place)
        try:
            descriptor = os.open(path, _OPEN)
        except FileNotFoundError:  # a running server removes files of its own
            return
        except OSError as error:
            self._untold(path, error, quiet=False)
            return
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._report.skipped += 1
                return
            self._report.files += 1
            _Look(self, place, descriptor, status.st_size).run()
            self._report.bytes += status.st_size
        except OSError as error:
            self._untold(path, error, quiet=False)
        finally:
            os.close(descriptor)

    def _name(self, path: Path, place: str) -> None:
        for match in self._finder.find(path.name.encode("utf-8", "surrogateescape")):
            named = msgspec.structs.replace(match, writing="file-name")
            self.add(hit_of(named, place=place, base=None))

    def add(self, hit: Hit) -> None:
        """Take a hit into the report, or only count it."""
        if hit.kind == "test_pan" and not self._include_test:
            self._report.test_numbers += 1
        else:
            self._report.hits.append(hit)

    def look(self, source: Source, place: str, inside: str) -> None:
        """Give a stream to the finder."""
        for told, seen in enumerate(matches(Whole(source), self._finder)):
            if told == HITS_IN_ONE_PLACE:
                self._unread(
                    f"{place}{inside}", f"more than {HITS_IN_ONE_PLACE} hits; not all told"
                )
                return
            self.add(hit_of(seen.match, place=place, inside=inside, base=seen.base, line=seen.line))

    def unreadable(self, place: str, inside: str, reason: str) -> None:
        """Tell of an archive that could not be read."""
        self._unread(f"{place}!{inside}" if inside else place, reason)


class _Look:
    """One file on disk, with all that is packed into it."""

    def __init__(self, scanner: FileScanner, place: str, descriptor: int, size: int) -> None:
        self._scanner = scanner
        self._place = place
        self._descriptor = descriptor
        self._size = size
        self._budget = Budget(size)

    def run(self) -> None:
        """Look into the file; what is damaged as an archive is looked at as bytes, too."""
        whole = FileSource(self._descriptor, self._size)
        if not self._stream(whole, "", 0, self._reopened):
            self._scanner.look(FileSource(self._descriptor, self._size), self._place, "")

    def _reopened(self) -> IO[bytes]:
        file = os.fdopen(os.dup(self._descriptor), "rb")
        file.seek(0)
        return file

    def _stream(
        self, source: Source, inside: str, depth: int, whole: Callable[[], IO[bytes]] | None
    ) -> bool:
        """Look into a stream; returns False when it was an archive that could not be read."""
        head = Whole(source).read(HEAD_BYTES)
        form = form_of(head)
        if not form:
            self._scanner.look(Prefixed(head, source), self._place, inside)
            return True
        if depth == SCAN_ARCHIVE_DEPTH:
            self._scanner.unreadable(self._place, inside, "archives are nested too deeply")
            return False
        try:
            for member in members(form, head, source, self._budget, whole):
                name = self._scanner.shown(member.name or form)
                way = f"{inside}/{name}" if inside else name
                if form == "pdf":
                    self._scanner.look(member.source, self._place, way)
                else:
                    self._stream(member.source, way, depth + 1, None)
                if problem := problem_of(member.source):
                    raise Unreadable(problem)
        except Unreadable as error:
            self._scanner.unreadable(self._place, inside, str(error))
            return False
        return True
