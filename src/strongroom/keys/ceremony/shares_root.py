"""A root key that opens with m of n shares: its file, its shares, and re-sharing.

A random wrapping key is split; the root key is wrapped under it with the whole file as additional
data. No share and no wrapping key is ever written in clear, shown or logged.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.keys import errors as key_errors
from strongroom.keys.ceremony import errors
from strongroom.keys.ceremony.model import (
    ROOT_FORMAT,
    SHARE_FORMAT,
    Holder,
    RootFile,
    ShareFile,
    share_info,
)
from strongroom.keys.ceremony.shamir import Share, check, split
from strongroom.keys.dual_control import Card, CustodianKey, parse_card
from strongroom.keys.dual_control.custodian_file import decoded, seal_to
from strongroom.keys.envelope import NONCE_BYTES, fresh_key, wrap_key
from strongroom.keys.model import KEY_BYTES, Mode, mode_fits, new_key_id
from strongroom.keys.private_files import create_private, read_private

_MAX_FILE_BYTES = 65_536
_KCV_BYTES = 16


def new_root(
    cards: Sequence[Card], *, threshold: int, mode: Mode, installation: UUID, at: datetime
) -> tuple[Secret[bytes], RootFile, list[ShareFile]]:
    """Make a root key and its shares, one for each card; nothing is written yet.

    Raises:
        StrongroomError: `shares_invalid`, `custodian_file_invalid`.
    """
    root = id_from("root", new_key_id(mode))
    key = fresh_key()
    head = {"root": root, "mode": mode, "installation": str(installation)}
    file, shares = share_out(key, head, cards, threshold=threshold, at=at)
    return key, file, shares


def share_out(
    key: Secret[bytes],
    about: dict[str, str],
    cards: Sequence[Card],
    *,
    threshold: int,
    at: datetime,
) -> tuple[RootFile, list[ShareFile]]:
    """Return a new set of shares of a root key; shares of earlier sets do not fit its file."""
    people = [parse_card(msgspec.json.encode(card), card.name) for card in cards]
    for texts in zip(*((p.custodian, p.name, p.signing_key) for p in people), strict=True):
        if len(set(texts)) != len(people):
            raise errors.shares_invalid("Each share needs another custodian.")
    wrapping = fresh_key()
    public, shares = split(wrapping, threshold=threshold, total=len(people))
    holders = [_holder(index, card) for index, card in enumerate(people, 1)]
    head = {
        "format": ROOT_FORMAT,
        **about,
        "created_at": rfc3339_ms(at),
        "kcv": root_check_value(key, about["root"]),
        "shares": msgspec.to_builtins(public),
        "holders": msgspec.to_builtins(holders),
    }
    wrapped = wrap_key(AESGCM(wrapping.reveal()), key, dumps(head))
    file = msgspec.convert({**head, "wrapped": _b64(wrapped)}, RootFile)
    return file, [_sealed(file, held, share) for held, share in zip(holders, shares, strict=True)]


def opened(file: RootFile, wrapping: Secret[bytes]) -> Secret[bytes]:
    """Return the root key under the combined wrapping key.

    Raises:
        StrongroomError: `root_not_opened` when the file was changed.
    """
    head = msgspec.to_builtins(file)
    wrapped = decoded(head.pop("wrapped"), "of the root")
    try:
        key = Secret(
            AESGCM(wrapping.reveal()).decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], dumps(head)
            )
        )
    except (InvalidTag, ValueError):
        raise key_errors.root_not_opened("of the shares") from None
    require_key(file, key)
    return key


def require_key(file: RootFile, key: Secret[bytes]) -> None:
    """Refuse a key that is not the one this file is about."""
    fits = hmac.compare_digest(root_check_value(key, file.root), file.kcv)
    if len(key.reveal()) != KEY_BYTES or not fits:
        raise key_errors.root_not_opened("of the shares")


def root_check_value(key: Secret[bytes], root: str) -> str:
    """Return what shows that two copies of a root key are one, without showing it."""
    about = f"strongroom shares root\0{root}".encode()
    return hmac.digest(key.reveal(), about, "sha256")[:_KCV_BYTES].hex()


def open_share(share: ShareFile, key: CustodianKey) -> Share:
    """Return a custodian's share, opened with the custodian's key.

    Raises:
        StrongroomError: `share_foreign` when it was made for somebody else or was changed.
    """
    value = None
    if share.custodian == key.card.custodian:
        value = key.open(decoded(share.sealed, "of the share"), info=share_info(share))
    if value is None:
        raise errors.share_foreign()
    return Share(share.set_id, share.index, share.threshold, value)


def prove_share(root: RootFile, share: ShareFile, key: CustodianKey) -> Holder:
    """Check that a custodian's share opens and is the one of the present set; nothing is combined.

    Raises:
        StrongroomError: `share_foreign`, `share_corrupted`.
    """
    held = root.holder(share.index)
    is_of_root = (share.root, share.set_id) == (root.root, root.shares.set_id)
    if held is None or held.custodian != key.card.custodian or not is_of_root:
        raise errors.share_foreign()
    check(root.shares, open_share(share, key))
    return held


def read_root(path: Path, *, mode: Mode, installation: UUID) -> RootFile:
    """Return the root's file of this installation.

    Raises:
        StrongroomError: `root_file_missing`, `root_file_unsafe`, `root_file_damaged`,
            `root_other_world`.
    """
    file = parse_root(read_private(path, limit=_MAX_FILE_BYTES), str(path))
    if file.mode != mode:
        raise key_errors.root_other_world(f"mode ({file.mode})")
    if file.installation != str(installation):
        raise key_errors.root_other_world("installation")
    return file


def create_root_file(path: Path, file: RootFile) -> None:
    """Write a new root's file; an existing one is never overwritten."""
    create_private(path, msgspec.json.encode(file) + b"\n")


def parse_root(text: bytes, where: str) -> RootFile:
    """Return the root file in `text`, checked for consistency."""
    try:
        file = msgspec.json.decode(text, type=RootFile)
        fine = mode_fits(uuid_of(file.root, "root"), file.mode)
    except (msgspec.MsgspecError, StrongroomError):
        raise key_errors.root_file_damaged(where) from None
    shares = file.shares
    fine = fine and file.format == ROOT_FORMAT
    fine = fine and 2 <= shares.threshold <= shares.total == len(shares.commitments)
    fine = fine and [held.index for held in file.holders] == list(range(1, shares.total + 1))
    if not fine:
        raise key_errors.root_file_damaged(where)
    return file


def parse_share(text: bytes, where: str) -> ShareFile:
    """Return the share's file in `text`."""
    try:
        share = msgspec.json.decode(text, type=ShareFile)
    except msgspec.MsgspecError:
        raise errors.share_file_invalid(where) from None
    if share.format != SHARE_FORMAT:
        raise errors.share_file_invalid(where)
    return share


def _holder(index: int, card: Card) -> Holder:
    return Holder(
        index=index,
        custodian=card.custodian,
        name=card.name,
        signing_key=card.signing_key,
        exchange_key=card.exchange_key,
    )


def _sealed(file: RootFile, held: Holder, share: Share) -> ShareFile:
    unsealed = ShareFile(
        format=SHARE_FORMAT,
        root=file.root,
        mode=file.mode,
        installation=file.installation,
        set_id=share.set_id,
        threshold=share.threshold,
        index=share.index,
        custodian=held.custodian,
        name=held.name,
        sealed="",
    )
    sealed = seal_to(decoded(held.exchange_key, held.name), share.value, info=share_info(unsealed))
    return msgspec.structs.replace(unsealed, sealed=_b64(sealed))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
