"""The vault's side: takes calls over mutually authenticated TLS, does them, answers.

Order of checks: certificate, SPIFFE id and revocation, then whether the role may use the verb, then
the arguments' types, then the vault's own. Each refusal is reported, those of TLS by the gate; each
bound ends in back-pressure or a refusal, never in more memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from strongroom.kernel.decided import Decided, decided, run_under
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import (
    VAULT_CALLS_MAX,
    VAULT_CONNECTIONS_MAX,
    VAULT_FRAME_MAX_BYTES,
    VAULT_PEER_BYTES_MAX,
    VAULT_PEER_CALLS_MAX,
)
from strongroom.vault.egress import NotSent, OutcomeUnknown
from strongroom.vault.remote import codec, errors
from strongroom.vault.remote.frames import Frame, Kind, Malformed
from strongroom.vault.remote.peers import allowed
from strongroom.vault.remote.stream import Stream
from strongroom.vault.remote.table import VERBS, Call, Failure, Question, Verb
from strongroom.vault.remote.tls import Peer, PeerRefused, peer_of

Refuse = Callable[[str, str, str], None]
"""Hears of refusals: the peer's name, the reason, its address."""

_WITHIN_MS_MAX = 60_000
_log = logging.getLogger("strongroom.vault")
_call = codec.decoder(Call)
_failure = codec.decoder(Failure)
_decided = codec.decoder(Decided)


class Host:
    """What all connections of one listening vault share.

    Args:
        services: the objects behind the verbs: `vault` and `keys`.
        trust_domain: whose certificates are taken.
        may_reveal: roles that may ask for clear card numbers.
        refuse: hears of each refused peer or call.
    """

    def __init__(
        self,
        services: Mapping[str, Any],
        *,
        trust_domain: str,
        may_reveal: Collection[str] = (),
        refuse: Refuse,
    ) -> None:
        self.services = services
        self.trust_domain = trust_domain
        self.may_reveal = frozenset(may_reveal)
        self.refuse = refuse
        self.connections: set[PeerConnection] = set()
        self.revoked: frozenset[bytes] = frozenset()
        self.blind = False
        self.draining = False

    def connection(self) -> PeerConnection:
        """Return the protocol of a new connection."""
        return PeerConnection(self)

    def end_revoked(self, revoked: frozenset[bytes]) -> None:
        """Take nothing more from peers with one of these serial numbers in their chain."""
        self.revoked = revoked
        self.blind = False
        for connection in list(self.connections):
            connection.end_if_revoked()

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls, wait for those under way, close."""
        self.draining = True
        for connection in list(self.connections):
            connection.say_goodbye()
        tasks = [task for c in self.connections for task in c.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
            await asyncio.sleep(0)
        for connection in list(self.connections):
            connection.close()


class PeerConnection(Stream):
    """One authenticated peer."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._peer: Peer | None = None
        self._address = ""
        self._allowed: frozenset[str] = frozenset()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._questions: dict[int, asyncio.Future[Decided | None]] = {}
        self._told: set[asyncio.Task[None]] = set()
        self._end: asyncio.TimerHandle | None = None
        self._turns = asyncio.Semaphore(VAULT_PEER_CALLS_MAX)
        self._bytes = 0

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The calls under way."""
        return [*self._calls.values(), *self._told]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who it is before anything is read."""
        super().connection_made(transport)
        host = self._host
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        try:
            peer = peer_of(transport.get_extra_info("ssl_object"), host.trust_domain)
            if host.blind:  # nobody new is let in while revocations cannot be read
                raise PeerRefused("revocations_unknown", peer.name)
            if not host.revoked.isdisjoint(peer.serials):
                raise PeerRefused("revoked", peer.name)
            self._allowed = allowed(peer.role, may_reveal=host.may_reveal)
            if not self._allowed:
                raise PeerRefused("role", peer.name)
            if len(host.connections) >= VAULT_CONNECTIONS_MAX:
                raise PeerRefused("connections", peer.name)
        except PeerRefused as refused:
            self._refuse(refused.reason, name=refused.name)
            self.abort()
            return
        self._peer = peer
        host.connections.add(self)
        self._end = self._loop.call_later(peer.seconds_left(), self.abort)
        self.send(Kind.GOODBYE if host.draining else Kind.HELLO)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what nobody waits for any more."""
        super().connection_lost(exc)
        self._host.connections.discard(self)
        if self._end is not None:
            self._end.cancel()
        for task in self._calls.values():
            task.cancel()

    def pause_writing(self) -> None:
        """Hear no more from a peer that does not take its answers."""
        super().pause_writing()
        self.pause_frames()

    def resume_writing(self) -> None:
        """Hear it again."""
        super().resume_writing()
        self.resume_frames()

    def end_if_revoked(self) -> None:
        """End at once when the peer's certificate was revoked: its calls are not answered."""
        if self._peer is not None and not self._host.revoked.isdisjoint(self._peer.serials):
            self._refuse("revoked")
            self.abort()

    def say_goodbye(self) -> None:
        """Tell the peer to take its next calls elsewhere."""
        if self.usable:
            self.send(Kind.GOODBYE)

    def close(self) -> None:
        """Close after what is queued has left."""
        self._flush()
        if self.transport is not None:
            self.transport.close()

    def on_malformed(self, reason: str) -> None:
        """Report nonsense from a peer that has a certificate."""
        self._refuse(f"malformed_{reason}")

    def on_frame(self, got: Frame) -> None:
        """Take a call, a cancellation, a verdict or a ping."""
        if self._peer is None:
            return
        if got.kind == Kind.PING:
            self.send(Kind.PONG, got.call)
        elif got.kind in (Kind.CALL, Kind.TELL):
            self._take(got)
        elif got.kind == Kind.CANCEL:
            task = self._calls.get(got.call)
            if task is not None:
                task.cancel()
        elif got.kind == Kind.VERDICT:
            self._judged(got)
        else:
            raise Malformed("direction")

    def _take(self, got: Frame) -> None:
        if got.call in self._calls:
            raise Malformed("call_id")
        try:
            call = _call.decode(got.body)
        except (msgspec.DecodeError, RecursionError):
            raise Malformed("call") from None
        verb = VERBS.get(call.verb)
        if verb is None or verb.name not in self._allowed:
            self._turn_away(got, call.verb if verb is not None else "unknown")
            return
        if self._host.draining:
            self._fail(got, "not_started", errors.vault_unavailable("draining"))
            return
        if self._too_many(got):
            self._fail(got, "not_started", errors.overloaded("calls of one peer"))
            return
        task = self._loop.create_task(self._in_turn(got, verb, call))
        self._bytes += len(got.body)
        if got.kind == Kind.TELL:
            self._told.add(task)
        else:
            self._calls[got.call] = task
        task.add_done_callback(lambda _: self._done(got, task))

    def _done(self, got: Frame, task: asyncio.Task[None]) -> None:
        self._bytes -= len(got.body)
        self._told.discard(task)
        if got.kind == Kind.CALL:
            self._calls.pop(got.call, None)

    def _too_many(self, got: Frame) -> bool:
        under_way = len(self._calls) + len(self._told)
        if under_way < VAULT_PEER_CALLS_MAX:
            return False
        held = self._bytes + len(got.body)
        return under_way >= VAULT_CALLS_MAX or held > VAULT_PEER_BYTES_MAX

    async def _in_turn(self, got: Frame, verb: Verb, call: Call) -> None:
        """Do a call when few enough are at work; its time runs from its arrival.

        What is not a call is never held up by one: verdicts, cancellations, pings, the end.
        """
        run_under(call.decided)
        until = self._loop.time() + max(1, min(call.within_ms, _WITHIN_MS_MAX)) / 1000
        try:
            async with asyncio.timeout_at(until):
                await self._turns.acquire()
        except TimeoutError:
            self._fail(got, "not_started", errors.vault_unavailable("deadline"))
            return
        try:
            await self._do(got, verb, call, until)
        finally:
            self._turns.release()

    def _turn_away(self, got: Frame, verb: str) -> None:
        self._refuse("verb")
        role = "" if self._peer is None else self._peer.role
        self._fail(got, "not_started", errors.verb_refused(verb, role))

    async def _do(self, got: Frame, verb: Verb, call: Call, until: float) -> None:
        try:
            arguments = verb.arguments(call.arguments)
        except StrongroomError as error:
            self._fail(got, "refused", error)
            return
        except (msgspec.DecodeError, RecursionError):
            self._refuse("arguments")
            self._fail(got, "not_started", errors.call_invalid(f"arguments of {verb.name}"))
            return
        if verb.authorize is not None:
            arguments[verb.authorize] = self._asker(got.call)
        try:
            async with asyncio.timeout_at(until):
                result = await self._run(verb, arguments)
        except TimeoutError:
            self._fail(got, "unknown", errors.vault_unavailable("deadline"))
        except NotSent as error:
            self._fail(got, "not_sent", error)
        except OutcomeUnknown as error:
            self._fail(got, "unknown", error)
        except StrongroomError as error:
            self._fail(got, "refused", error)
        except Exception as error:  # noqa: BLE001 (the peer must hear of any failure)
            _log.error("%s failed: %s", verb.name, type(error).__name__)
            self._fail(got, "unknown", errors.vault_unavailable("internal"))
        else:
            self._answer(got, result)

    async def _run(self, verb: Verb, arguments: dict[str, Any]) -> Any:
        method = getattr(self._host.services[verb.service], verb.method)
        result = method(**arguments)
        return await result if verb.waits else result

    def _answer(self, got: Frame, result: Any) -> None:
        if got.kind != Kind.CALL or not self.usable:
            return
        try:
            self.send(Kind.ANSWER, got.call, codec.encode(result))
        except Malformed:
            limit = f"more than {VAULT_FRAME_MAX_BYTES} bytes"
            self._fail(got, "refused", errors.call_invalid(f"the answer has {limit}"))
            return
        handle = codec.handle_in(result)
        if handle is not None:
            handle.entrust()

    def _fail(self, got: Frame, kind: str, error: StrongroomError) -> None:
        if got.kind != Kind.CALL or not self.usable:
            return
        told = Failure(
            kind, error.code, error.public, error.param, error.retryable, error.retry_after_s
        )
        self.send(Kind.FAILURE, got.call, codec.encode(told))

    def _asker(self, call: int) -> Callable[..., Any]:
        """Return what stands for the caller's policy: a question over the connection."""

        async def ask(_: object, /, *, action: str, merchant: str, context: dict[str, Any]) -> None:
            asked: asyncio.Future[Decided | None] = self._loop.create_future()
            self._questions[call] = asked
            try:
                self.send(Kind.ASK, call, codec.encode(Question(action, merchant, context)))
                run_under(await asked or decided())
            finally:
                self._questions.pop(call, None)

        return ask

    def _judged(self, got: Frame) -> None:
        asked = self._questions.get(got.call)
        if asked is None or asked.done():
            return
        if not got.body:
            asked.set_result(None)
            return
        verdict = _verdict(got.body)
        if isinstance(verdict, Decided):
            asked.set_result(verdict)
        else:
            asked.set_exception(verdict)

    def _refuse(self, reason: str, *, name: str = "") -> None:
        known = name or ("unknown" if self._peer is None else self._peer.name)
        self._host.refuse(known, reason, self._address)


def _verdict(body: bytes) -> Decided | StrongroomError:
    """Return what a policy said: the decision that permits, or the refusal."""
    with suppress(msgspec.DecodeError):
        permitted: Decided = _decided.decode(body)
        return permitted
    try:
        refusal = _failure.decode(body)
    except msgspec.DecodeError:
        raise Malformed("verdict") from None
    return StrongroomError(
        refusal.code,
        refusal.public,
        param=refusal.param,
        retryable=refusal.retryable,
        retry_after_s=refusal.retry_after_s,
    )
