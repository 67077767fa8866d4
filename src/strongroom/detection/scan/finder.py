"""Puts the steps together: find digits, judge them, look into encodings, tell each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from strongroom.detection.scan import context
from strongroom.detection.scan.clear import foreign_runs, runs
from strongroom.detection.scan.issuers import MAX_DIGITS, is_published_test_number, issuer_of
from strongroom.detection.scan.model import CONFIDENCES, Confidence, Digits, Match
from strongroom.detection.scan.writings import Decoded, decoded, without_escaped_gaps

DEPTH_MAX = 3
"""Encodings inside encodings that are followed; deeper ones cost more than they ever show."""

OVERLAP_BYTES = 4_096
"""What two parts of a stream must share: the longest writing of a number and its surroundings."""

_NEAR_BYTES = 256
"""Matches are compared with those of the same stretch only: dumps hold tens of thousands."""

KeyedHash = Callable[[bytes], bytes]


class Finder:
    """Finds card numbers in bytes. The clear number never leaves it, not in an error either.

    Args:
        keyed_hash: tells equal numbers from others without showing them; None leaves hashes out.
        least: matches of less confidence are left out.
    """

    def __init__(
        self, *, keyed_hash: KeyedHash | None = None, least: Confidence = "medium"
    ) -> None:
        self._hash = keyed_hash
        self._least = CONFIDENCES.index(least)

    def find(self, data: bytes, *, named: bool = False) -> list[Match]:
        """Return what is in `data`, by place; `named` says that the place speaks of cards."""
        found = [
            match
            for match in self._look(data, named, 0)
            if match.sad.startswith("track") or self._confident(match)
        ]
        return _once(found)

    def _confident(self, match: Match) -> bool:
        return CONFIDENCES.index(match.confidence) >= self._least

    def _look(self, data: bytes, named: bool, depth: int) -> Iterator[Match]:
        plain = without_escaped_gaps(data)
        for digits in runs(plain):
            yield from self._judge(data, digits, named)
        for digits in foreign_runs(data):
            yield from self._judge(data, digits, named)
        if depth == DEPTH_MAX:
            return
        for inner in decoded(data):
            for match in self._look(inner.data, named, depth + 1):
                yield _placed(match, inner)

    def _judge(self, data: bytes, run: Digits, named: bool) -> Iterator[Match]:
        """Try whole groups in every combination; the longest that can be a card counts."""
        first = 0
        while first < len(run.groups):
            match, last = self._longest(data, run, first, named)
            if match is not None:
                yield match
                first = last
            first += 1

    def _longest(
        self, data: bytes, run: Digits, first: int, named: bool
    ) -> tuple[Match | None, int]:
        best: tuple[Match | None, int] = (None, first)
        text = ""
        for last in range(first, len(run.groups)):
            text += run.groups[last]
            if len(text) > MAX_DIGITS:
                break
            brand = issuer_of(text)
            if brand is None:
                continue
            match = self._match(data, run, (first, last), text, brand, named)
            if best[0] is None or _rank(match) >= _rank(best[0]):
                best = match, last
        return best

    def _match(
        self,
        data: bytes,
        run: Digits,
        span: tuple[int, int],
        text: str,
        brand: str,
        named: bool,
    ) -> Match:
        first, last = span
        start, end = run.starts[first], run.ends[last]
        sad = context.sad_near(data, start, end)
        groups = tuple(len(group) for group in run.groups[first : last + 1])
        sure = context.confidence(
            data, start, end, brand=brand, groups=groups, named=named or bool(sad)
        )
        is_track = sad.startswith("track") and len(groups) == 1
        return Match(
            offset=start,
            end=end,
            mask=f"{text[:6]}…{text[-4:]}",
            last4=text[-4:],
            brand=brand,
            digits=len(text),
            writing="clear" if data[start:end].isascii() else "other-script",
            confidence="high" if is_track else sure,
            is_test=is_published_test_number(text),
            sad=sad if is_track or sad == "cvc" else "",
            keyed_hash=self._hash(text.encode()).hex() if self._hash else "",
        )


def _rank(match: Match) -> int:
    return CONFIDENCES.index(match.confidence)


def _placed(match: Match, inner: Decoded) -> Match:
    """Return a match of decoded bytes with the place of what was decoded."""
    start, end = inner.place(match.offset, match.end)
    rest = "" if match.writing == "clear" else f">{match.writing}"
    writing = f"{inner.writing}{rest}"
    return msgspec.structs.replace(match, offset=start, end=end, writing=writing)


def _once(matches: list[Match]) -> list[Match]:
    """Return the matches by place; of two that overlap the surer, then the plainer one stays."""
    ordered = sorted(matches, key=lambda m: (-_rank(m), m.writing.count(">"), -m.digits, m.offset))
    kept: list[Match] = []
    near: dict[int, list[Match]] = {}
    for match in ordered:
        places = range(match.offset // _NEAR_BYTES, match.end // _NEAR_BYTES + 1)
        if not any(_same(match, other) for place in places for other in near.get(place, ())):
            kept.append(match)
            for place in places:
                near.setdefault(place, []).append(match)
    return sorted(kept, key=lambda match: match.offset)


def _same(one: Match, other: Match) -> bool:
    if one.offset >= other.end or other.offset >= one.end:
        return False
    return one.mask == other.mask or one.writing == other.writing == "clear"
