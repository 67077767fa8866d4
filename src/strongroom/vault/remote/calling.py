"""The vault as its callers see it: the same verbs, done by a process somewhere else.

A connection lost after a `forward` left this process is OutcomeUnknown, never NotSent; whatever
fails before is NotSent. Calls that only read are made again once when their connection ends.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from weakref import finalize

import msgspec

from strongroom.kernel.decided import decided, run_under
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import (
    VAULT_CALL_TIMEOUT_MS,
    VAULT_CALLS_MAX,
    VAULT_FORWARD_GRACE_MS,
)
from strongroom.keys import KeyDesk
from strongroom.vault.egress import NotSent, OutcomeUnknown
from strongroom.vault.model import CvcHandle, Vault
from strongroom.vault.remote import codec, errors
from strongroom.vault.remote.dialing import Dialer, Judge, Lost
from strongroom.vault.remote.frames import Frame, Kind, Malformed
from strongroom.vault.remote.table import VERBS, Call, Failure, Question, Verb

_FORWARD = "vault.forward"
_DROP = VERBS["vault.drop_cvc"]
_ANSWER_GRACE_S = 1.0
"""The vault ends a call at its deadline; its word about that is waited for a little longer."""

_failure = codec.decoder(Failure)
_question = codec.decoder(Question)


class Caller:
    """Makes the calls of one process; `vault` and `keys` are what the rooms get."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._under_way = 0

    @property
    def vault(self) -> Vault:
        """The remote vault."""
        return cast(Vault, _Service(self, "vault"))

    @property
    def keys(self) -> KeyDesk:
        """The remote desk of the keys."""
        return cast(KeyDesk, _Service(self, "keys"))

    async def close(self) -> None:
        """Close the connections."""
        await self._dialer.close()

    async def ping(self) -> None:
        """Raise `vault_unavailable` unless there is a greeted connection or one can be made."""
        await self._dialer.line(asyncio.get_running_loop().time() + 1)

    def tell(self, verb: Verb, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Say what needs no answer; lost when there is no connection, for it ends by itself."""
        line = self._dialer.free()
        if line is not None:
            line.tell(_body(verb, verb.encode(args, options)[0], VAULT_CALL_TIMEOUT_MS))

    def drop(self, verb: Verb, handle: CvcHandle) -> None:
        """Have the key of a security code destroyed, unless it is gone already."""
        if handle.watch is None or handle.watch.detach() is not None:
            self.tell(verb, (handle,), {})

    async def call(self, verb: Verb, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Make a call and return its result."""
        try:
            result = await self._call(verb, args, options)
        except Lost as lost:
            raise _lost(verb, sent=lost.sent) from None
        handle = codec.handle_in(result)
        if handle is not None:
            self._watch(handle)
        return result

    def _watch(self, handle: CvcHandle) -> None:
        """Have the key destroyed when the handle is garbage, as within one process."""
        copy = CvcHandle(handle.sealed, handle.id)
        handle.watch = finalize(handle, self._forgotten, copy)
        handle.watch.atexit = False

    def _forgotten(self, handle: CvcHandle) -> None:
        with suppress(RuntimeError):  # no loop runs any more: the vault's own clock ends the key
            asyncio.get_running_loop().call_soon(self.tell, _DROP, (handle,), {})

    async def _call(self, verb: Verb, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        arguments, given = verb.encode(args, options)
        within_ms = VAULT_CALL_TIMEOUT_MS
        if verb.name == _FORWARD:
            within_ms = given.request.timeout_ms + VAULT_FORWARD_GRACE_MS
        body = _body(verb, arguments, within_ms)
        judge = None if verb.authorize is None else _judge(verb, given)
        if self._under_way >= VAULT_CALLS_MAX:
            raise _before(verb, errors.overloaded("calls to the vault"))
        self._under_way += 1
        try:
            try:
                got = await self._exchange(verb, body, judge, within_ms)
            except Lost:
                if not verb.reads:
                    raise
                got = await self._exchange(verb, body, judge, within_ms)
        finally:
            self._under_way -= 1
        if got.kind == Kind.FAILURE:
            raise _raised(verb, got.body)
        if verb.name == _FORWARD and given.cvc is not None:
            given.cvc.entrust()  # spent: the vault destroyed its key with the answer
        try:
            return verb.result(got.body)
        except (msgspec.DecodeError, StrongroomError):
            raise _unreadable(verb) from None

    async def _exchange(
        self, verb: Verb, body: bytes, judge: Judge | None, within_ms: int
    ) -> Frame:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_ms / 1000
        try:
            line = await self._dialer.line(deadline)
            async with asyncio.timeout_at(deadline):
                await line.writable()
            if not line.takes_calls:
                raise Lost(sent=False)
            number, pending = line.call(body, judge)
        except StrongroomError as error:
            raise _before(verb, error) from None
        except Malformed:
            raise _before(verb, errors.call_invalid("the call is too large")) from None
        except TimeoutError:
            raise _before(verb, errors.vault_unavailable("the vault reads nothing")) from None
        try:
            async with asyncio.timeout_at(deadline + _ANSWER_GRACE_S):
                return await pending.answer
        except TimeoutError:
            raise Lost(sent=True) from None
        finally:
            line.cancel(number)


class _Service:
    """Looks like a service of the table: each of its verbs is a function that calls."""

    def __init__(self, caller: Caller, service: str) -> None:
        self._caller = caller
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., Any]:
        verb = VERBS.get(f"{self._service}.{name}")
        if verb is None:
            raise AttributeError(name)
        caller = self._caller

        async def call(*args: Any, **options: Any) -> Any:
            return await caller.call(verb, args, options)

        def drop(cvc: CvcHandle) -> None:
            caller.drop(verb, cvc)

        made = call if verb.waits else drop
        setattr(self, name, made)
        return made

    def __repr__(self) -> str:
        return f"Remote({self._service})"


def _body(verb: Verb, arguments: bytes, within_ms: int) -> bytes:
    return codec.encode(Call(verb.name, within_ms, msgspec.Raw(arguments), decided()))


def _judge(verb: Verb, given: Any) -> Judge:
    """Return what answers the vault's question about policy, by the caller's own policies."""
    principal = getattr(given, verb.principal or "")
    authorize = getattr(given, verb.authorize or "")

    async def judge(body: bytes) -> bytes:
        asked = _question.decode(body)
        run_under(None)  # the connection may have been made under another decision
        try:
            allowed = authorize(
                principal, action=asked.action, merchant=asked.merchant, context=asked.context
            )
            if inspect.isawaitable(allowed):
                await allowed
        except StrongroomError as error:
            return codec.encode(_told("refused", error))
        except Exception:  # noqa: BLE001 (what cannot be decided is not allowed)
            return codec.encode(_told("refused", errors.vault_unavailable("policy")))
        now = decided()
        return b"" if now is None else codec.encode(now)

    return judge


def _told(kind: str, error: StrongroomError) -> Failure:
    return Failure(
        kind, error.code, error.public, error.param, error.retryable, error.retry_after_s
    )


def _raised(verb: Verb, body: bytes) -> StrongroomError:
    """Return the error a FAILURE frame stands for."""
    try:
        told = _failure.decode(body)
    except msgspec.DecodeError:
        return _unreadable(verb)
    error = StrongroomError(
        told.code,
        told.public,
        param=told.param,
        retryable=told.retryable,
        retry_after_s=told.retry_after_s,
        detail="said by the vault",
    )
    if verb.name != _FORWARD:
        return error
    if told.kind in ("not_sent", "not_started"):
        return NotSent(f"said by the vault: {told.code}")
    if told.kind == "unknown":
        return OutcomeUnknown(f"said by the vault: {told.code}")
    return error


def _before(verb: Verb, error: StrongroomError) -> StrongroomError:
    """Return what to raise when a call certainly did not leave."""
    return NotSent(f"{error.code}: {error.detail}") if verb.name == _FORWARD else error


def _lost(verb: Verb, *, sent: bool) -> StrongroomError:
    if verb.name == _FORWARD:
        what = "the connection to the vault ended"
        return OutcomeUnknown(f"{what} before the answer") if sent else NotSent(what)
    return errors.vault_unavailable("the connection ended before the answer")


def _unreadable(verb: Verb) -> StrongroomError:
    if verb.name == _FORWARD:
        return OutcomeUnknown("the vault's answer cannot be read")
    return errors.call_invalid(f"the answer to {verb.name}")
