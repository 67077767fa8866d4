"""How arguments and results cross between a vault and its callers: typed msgpack, inside TLS only.

Card numbers, security codes and other secrets are written in clear here and nowhere else on this
way, and become `Pan`, `Cvc` and `Secret` again as they are read. What is not of the declared type
is refused whole; an error never repeats the value.
"""

from __future__ import annotations

from typing import Any, get_origin

import msgspec

from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret
from strongroom.vault.egress import Encoding, OutboundRequest, Slot
from strongroom.vault.model import CvcHandle, EncryptedToken


def _written(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, CvcHandle):
        return [value.id, value.sealed]
    raise NotImplementedError(type(value).__name__)


def _read(kind: Any, value: Any) -> Any:
    if kind is Pan:
        return Pan(_text(value))
    if kind is Cvc:
        return Cvc(_text(value))
    if kind is EncryptedCard:
        return EncryptedCard(_text(value))
    if kind is CvcHandle:
        return _handle(value)
    if get_origin(kind) is Secret:
        (inner,) = kind.__args__
        if type(value) is not inner:
            raise msgspec.ValidationError("a secret of another type")
        return Secret(value)
    raise NotImplementedError(str(kind))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise msgspec.ValidationError("card data must be text")
    return value


def _handle(value: Any) -> CvcHandle:
    match value:
        case [bytes() as handle_id, bytes() as sealed] if len(handle_id) == CvcHandle.ID_BYTES:
            return CvcHandle(sealed, handle_id)
    raise msgspec.ValidationError("not a handle of a security code")


_encoder = msgspec.msgpack.Encoder(enc_hook=_written)


def encode(value: Any) -> bytes:
    """Return a value's bytes; secrets stand in them in clear."""
    return _encoder.encode(value)


def decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return a strict decoder of one type, made once for each verb."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_read, strict=True)


def handle_in(result: Any) -> CvcHandle | None:
    """Return the held security code that a result is or brings."""
    found = result.cvc if isinstance(result, EncryptedToken) else result
    return found if isinstance(found, CvcHandle) else None


class WireRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An `OutboundRequest` in types that a decoder can tell apart."""

    method: str
    url: str
    headers: tuple[tuple[str, str, bool], ...]
    body: tuple[tuple[str, str], ...]
    encoding: Encoding
    timeout_ms: int
    repeatable: bool

    def __repr__(self) -> str:
        return f"WireRequest({self.method})"


_TEXT = "text"
"""A piece of a body is `(text, "text")` or `(prefix, slot)`; a bare slot has `alone` for prefix."""

_ALONE = "\0alone"


def to_wire(request: OutboundRequest) -> WireRequest:
    """Return a gateway request as it crosses."""
    return WireRequest(
        request.method,
        request.url,
        tuple(
            (name, value.reveal(), True) if isinstance(value, Secret) else (name, value, False)
            for name, value in request.headers
        ),
        tuple(_piece(piece) for piece in request.body),
        request.encoding,
        request.timeout_ms,
        request.repeatable,
    )


def from_wire(request: WireRequest) -> OutboundRequest:
    """Return the gateway request that crossed."""
    return OutboundRequest(
        method=request.method,
        url=request.url,
        headers=tuple(
            (name, Secret(value) if secret else value) for name, value, secret in request.headers
        ),
        body=tuple(_from_piece(*piece) for piece in request.body),
        encoding=request.encoding,
        timeout_ms=request.timeout_ms,
        repeatable=request.repeatable,
    )


def _piece(piece: str | Slot | tuple[str, Slot]) -> tuple[str, str]:
    if isinstance(piece, str):
        return piece, _TEXT
    if isinstance(piece, Slot):
        return _ALONE, piece.value
    return piece[0], piece[1].value


def _from_piece(text: str, kind: str) -> str | Slot | tuple[str, Slot]:
    if kind == _TEXT:
        return text
    try:
        slot = Slot(kind)
    except ValueError:
        raise msgspec.ValidationError("an unknown slot") from None
    return slot if text == _ALONE else (text, slot)
