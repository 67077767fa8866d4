"""Leads ceremonies: makes a root in shares, makes a new set, notes dry runs; all in the transcript.

Nothing of a share is seen here: each is encrypted to its custodian when it comes to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from strongroom.app.settings import Settings, write_private
from strongroom.app.unsealing import TRANSCRIPT, Unsealing
from strongroom.kernel.clock import SystemClock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.keys.ceremony import (
    Holder,
    RootFile,
    ShareFile,
    Transcript,
    create_root_file,
    hold,
    new_root,
    new_set,
    read_root,
    share_out,
    verified_statement,
)
from strongroom.keys.dual_control import Card, CustodianKey
from strongroom.keys.roots import SharesSpec


def make_shares_root(
    settings: Settings, cards: Sequence[Card], *, threshold: int, name: str
) -> tuple[RootFile, list[ShareFile]]:
    """Make a root in shares and its file; this process may open it, the shares are yet to write.

    Raises:
        StrongroomError: `shares_invalid`, `root_file_exists`.
    """
    clock = SystemClock()
    key, file, shares = new_root(
        cards,
        threshold=threshold,
        mode=settings.mode,
        installation=settings.installation,
        at=clock.now(),
    )
    create_root_file(settings.path(name), file)
    transcript = Transcript(settings.path(TRANSCRIPT), "init", clock=clock)
    transcript.add("begin", _about(file))
    _write_set(transcript, cards, shares)
    hold(file.root, key)
    return file, shares


def new_shares(
    settings: Settings,
    cards: Sequence[Card],
    *,
    threshold: int,
    keep: Callable[[Sequence[ShareFile]], object],
) -> tuple[RootFile, list[ShareFile]]:
    """Wait for enough present custodians, then make a new set of shares of the same root.

    `keep` writes the new shares; only when it returns does the root's file change to the new set.

    Raises:
        StrongroomError: `root_misconfigured` when the root has no shares, `shares_invalid`.
    """
    present = shares_file(settings)
    about = {"root": present.root, "mode": present.mode, "installation": present.installation}
    after = new_set(cards, threshold)
    with Unsealing(settings.data_dir, [present], purpose="reshare", after=after) as waiting:
        key = waiting.wait()
        now = SystemClock().now()
        file, shares = share_out(key, about, cards, threshold=threshold, at=now)
        keep(shares)
        text = msgspec.json.encode(file).decode() + "\n"
        write_private(settings.path(_spec(settings).file), text)
        waiting.transcript.add("new set", _about(file))
        _write_set(waiting.transcript, cards, shares)
    return file, shares


def shares_file(settings: Settings) -> RootFile:
    """Return the file of the present root, which must be one of shares."""
    return read_root(
        settings.path(_spec(settings).file),
        mode=settings.mode,
        installation=settings.installation,
    )


def write_verified(settings: Settings, root: RootFile, held: Holder, key: CustodianKey) -> None:
    """Write to the transcript, signed by the custodian, that a share was found good."""
    clock = SystemClock()
    statement = verified_statement(
        root, index=held.index, custodian=held.custodian, at=rfc3339_ms(clock.now())
    )
    transcript = Transcript(settings.path(TRANSCRIPT), "verify", clock=clock)
    transcript.add("begin", _about(root))
    transcript.add_statement("verified", held.custodian, statement, key.sign(statement))


def _write_set(transcript: Transcript, cards: Sequence[Card], shares: Sequence[ShareFile]) -> None:
    for card in cards:
        transcript.add_card(card)
    for share in shares:
        sealed = hashlib.sha256(share.sealed.encode()).hexdigest()
        transcript.add(
            "share made",
            {"index": share.index, "holder": share.custodian, "sealed_sha256": sealed},
        )
    transcript.add("end", {"outcome": f"{len(shares)} shares made"})


def _about(file: RootFile) -> dict[str, str | int]:
    return {
        "installation": file.installation,
        "mode": file.mode,
        "root": file.root,
        "set": file.shares.set_id,
        "threshold": file.shares.threshold,
        "total": file.shares.total,
    }


def _spec(settings: Settings) -> SharesSpec:
    spec = settings.root_spec
    if not isinstance(spec, SharesSpec):
        raise StrongroomError(
            "root_misconfigured",
            "The root of this installation has no shares. Make one: strongroom ceremony init",
        )
    return spec
