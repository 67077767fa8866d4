"""Every call a vault on its own takes, derived from the annotations of `Vault` and `KeyDesk`.

A verb that is added to one of the two needs no line here: its arguments become a typed request,
its result a typed answer. `peers.py` says who may use it; a test fails while nobody is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from strongroom.kernel.decided import Decided
from strongroom.keys import KeyDesk
from strongroom.vault.egress import OutboundRequest
from strongroom.vault.model import Authorize, Caller, Vault
from strongroom.vault.remote import codec

SERVICES = {"vault": Vault, "keys": KeyDesk}

READS = frozenset(
    {
        "vault.client_keys",
        "vault.commitment_encrypted",
        "vault.describe",
        "vault.resolve",
        "vault.commitment",
        "keys.api_key_hashes",
        "keys.access_token_keys",
        "keys.hash_api_key",
        "keys.inventory",
        "keys.match_one_time_code",
        "keys.new_one_time_secret",
        "keys.trust",
    }
)
"""Calls that change nothing and may be made again when a connection is lost."""


class CallerName(msgspec.Struct, frozen=True, array_like=True):
    """Who asks, by id only: stands for a `Caller` on the vault's side."""

    id: str


class Asked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Stands for an `Authorize`: the vault asks it back over the connection."""


class Call(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The body of a CALL or TELL frame; `decided` is for the vault's journal entries."""

    verb: str
    within_ms: int
    arguments: msgspec.Raw
    decided: Decided | None = None


class Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The body of an ASK frame: what the vault wants the caller's policy to decide."""

    action: str
    merchant: str
    context: dict[str, str | int | bool | None]


class Failure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The body of a FAILURE frame, and of a VERDICT that refuses. `detail` never crosses."""

    kind: str
    code: str
    public: str
    param: str | None = None
    retryable: bool = False
    retry_after_s: int | None = None


_STAND_INS: Mapping[Any, tuple[Any, Callable[[Any], Any]]] = {
    OutboundRequest: (codec.WireRequest, codec.to_wire),
    Caller: (CallerName, lambda caller: CallerName(caller.id)),
    Authorize: (Asked, lambda _: Asked()),
}


class Verb:
    """One call: its name, its request and result types, ready to encode and decode."""

    def __init__(self, service: str, name: str, function: Callable[..., Any]) -> None:
        self.method = name
        self.service = service
        self.name = f"{service}.{name}"
        hints = get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        kinds = {p.name: hints[p.name] for p in parameters}
        self._stand_ins = {n: _STAND_INS[k][1] for n, k in kinds.items() if k in _STAND_INS}
        self._converted = {n for n, k in kinds.items() if k is OutboundRequest}
        self.authorize = next((n for n, k in kinds.items() if k is Authorize), None)
        self.principal = next((n for n, k in kinds.items() if k is Caller), None)
        self.waits = inspect.iscoroutinefunction(function)
        self.request: Any = msgspec.defstruct(
            f"{name}_request",
            [_field(p, kinds[p.name]) for p in parameters],
            frozen=True,
            array_like=True,
            forbid_unknown_fields=True,
        )
        self._arguments = codec.decoder(self.request)
        self._result = codec.decoder(hints["return"])
        self.reads = self.name in READS

    def encode(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[bytes, Any]:
        """Return a call's arguments as bytes, and the arguments themselves by name."""
        given = self.request(*args, **options)
        if self._stand_ins:
            changed = {n: change(getattr(given, n)) for n, change in self._stand_ins.items()}
            return codec.encode(msgspec.structs.replace(given, **changed)), given
        return codec.encode(given), given

    def arguments(self, data: bytes | msgspec.Raw) -> dict[str, Any]:
        """Return the arguments that crossed, by name."""
        read = msgspec.structs.asdict(self._arguments.decode(data))
        for name in self._converted:
            read[name] = codec.from_wire(read[name])
        return read

    def result(self, data: bytes) -> Any:
        """Return the result that crossed."""
        return self._result.decode(data)


def _field(parameter: inspect.Parameter, kind: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind = _STAND_INS[kind][0] if kind in _STAND_INS else kind
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, kind
    return parameter.name, kind, parameter.default


def _all() -> dict[str, Verb]:
    found = {}
    for service, protocol in SERVICES.items():
        for name, function in vars(protocol).items():
            if inspect.isfunction(function) and not name.startswith("_"):
                verb = Verb(service, name, function)
                found[verb.name] = verb
    return found


VERBS: Mapping[str, Verb] = _all()
