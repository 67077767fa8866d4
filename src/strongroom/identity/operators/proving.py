"""Proofs of a person: a passkey's assertion, a password with a code, a step-up for one purpose.

A proof is taken once: its ticket is used up before it is looked at, a code's time step before it
counts. Nothing here starts a session.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from strongroom.identity.model import Principal
from strongroom.identity.operators import decide, errors, passkeys, records, tickets
from strongroom.identity.operators.context import Context, note
from strongroom.identity.operators.model import (
    CODE_AAL,
    PASSKEY_AAL,
    Account,
    Asserted,
    Challenge,
    Passkey,
    Refusal,
    StepUp,
)
from strongroom.identity.operators.passwords import Passwords
from strongroom.identity.operators.sessions import Sessions
from strongroom.identity.operators.tries import Tries, Try
from strongroom.kernel.edge_limits import CEREMONY_S
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Verdict

_STEP_UP = "step-up"
_NOBODY = "nobody"
_STALE_RETRIES = 3


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey that holds, and whose it is."""

    account: Account
    passkey: Passkey
    asserted: Asserted


class Proving:
    """Takes proofs, for signing in and for stepping up."""

    def __init__(
        self, context: Context, passwords: Passwords, tries: Tries, sessions: Sessions
    ) -> None:
        self._context = context
        self._passwords = passwords
        self._tries = tries
        self._sessions = sessions
        self._decoy: bytes | None = None

    async def by_passkey(self, challenge: bytes, response: bytes) -> Proved | Refusal:
        """Return whose passkey answered a challenge, or why none did."""
        credential = passkeys.credential_of(response)
        if credential is None:
            return Refusal.PASSKEY
        stored = await records.passkey_by_credential(self._context.database, credential)
        if stored is None or stored.ended_at is not None:
            return Refusal.PASSKEY
        found = passkeys.asserted(self._context.world.party, challenge, response, stored)
        if found is None:
            return Refusal.PASSKEY
        if found.went_back:
            await self._end_cloned(stored)
            return Refusal.CLONED
        account = await records.account(self._context.database, stored.operator_id)
        if account is None:
            return Refusal.UNKNOWN
        return Proved(account=account, passkey=stored, asserted=found)

    async def by_password(
        self, login: str, password: Secret[str], code: Secret[str], *, device: bytes, source: str
    ) -> Account | Refusal:
        """Return whose password and code these are, or why nobody's.

        A login that does not exist, an account without a password and a wrong code take the same
        steps: one try counted, one password hashed, one code compared.
        """
        account = await records.account_by_login(self._context.database, login)
        counted = await self._count(account, login, device=device, source=source)
        if not counted.allowed:
            return self._refuse(Refusal.LOCKED, account, source)
        known = await self._passwords.matches(
            None if account is None else account.password, password
        )
        step = await self._step(account, code)
        if account is None or not known or step is None:
            await self._failed(account, counted)
            cause = Refusal.UNKNOWN if account is None else Refusal.PASSWORD_OR_CODE
            return self._refuse(cause, account, source)
        if not await self._first_use(account, step):
            await self._failed(account, counted)
            return self._refuse(Refusal.CODE_USED, account, source)
        await self._tries.succeeded(counted)
        return account

    async def begin(self, session: Principal, *, purpose: bytes) -> Challenge:
        """Begin a step-up: the person of this session, for this purpose, with a passkey of theirs.

        The challenge is made of the purpose: the assertion is good for nothing else.
        """
        ticket, text = await tickets.issue(
            self._context, _STEP_UP, about=_about(session), purpose=purpose
        )
        known = await records.passkeys_of(self._context.database, uuid_of(session.id, "opr"))
        usable = [passkey for passkey in known if passkey.ended_at is None]
        options = passkeys.proof_options(self._context.world.party, ticket.challenge, usable)
        return Challenge(ticket=text, options=options)

    async def prove(
        self, ticket: Secret[str], response: bytes, *, session: Principal, purpose: bytes
    ) -> StepUp:
        """Return what a passkey proved for a purpose."""
        begun = await self._redeem(ticket, session=session, purpose=purpose)
        for _ in range(_STALE_RETRIES):
            proved = await self.by_passkey(begun.challenge, response)
            if isinstance(proved, Refusal):
                raise self._step_up_refused(proved, session)
            if proved.account.view.id != session.id:
                raise self._step_up_refused(Refusal.OTHER_PERSON, session)
            self._check_open(proved.account, session)
            change, now = Change(), self._context.clock.now()
            records.set_used(change, proved.passkey, proved.asserted, at=now)
            step_up = self._noted(change, session, aal=PASSKEY_AAL, purpose=purpose)
            if await self._context.committer.submit(change) is Verdict.COMMITTED:
                return step_up
        raise self._step_up_refused(Refusal.PASSKEY, session)

    async def prove_code(
        self,
        ticket: Secret[str],
        code: Secret[str],
        *,
        session: Principal,
        device: Secret[str],
        source: str,
        purpose: bytes,
    ) -> StepUp:
        """Return what a one-time code proved for a purpose; tries are counted as at sign-in."""
        await self._redeem(ticket, session=session, purpose=purpose)
        account = await records.account(self._context.database, uuid_of(session.id, "opr"))
        if account is None:
            raise self._step_up_refused(Refusal.UNKNOWN, session)
        self._check_open(account, session)
        bound = await self._sessions.device(device)
        counted = await self._count(account, account.view.login, device=bound, source=source)
        if not counted.allowed:
            raise self._step_up_refused(Refusal.LOCKED, session)
        step = await self._step(account, code)
        if step is None or not await self._first_use(account, step):
            await self._failed(account, counted)
            cause = Refusal.PASSWORD_OR_CODE if step is None else Refusal.CODE_USED
            raise self._step_up_refused(cause, session)
        await self._tries.succeeded(counted)
        change = Change()
        step_up = self._noted(change, session, aal=CODE_AAL, purpose=purpose)
        await self._context.committer.submit(change)
        return step_up

    async def code_fits(self, account: str, sealed: bytes, code: Secret[str]) -> bool:
        """Return whether a code is one of a fresh secret's, and use it up."""
        step = await self._context.desk.match_one_time_code(account, sealed, code)
        return step is not None and await self._used_first(account, step)

    # --- parts ---

    async def _redeem(
        self, ticket: Secret[str], *, session: Principal, purpose: bytes
    ) -> tickets.Ticket:
        begun = await tickets.redeem(
            self._context, ticket, _STEP_UP, about=_about(session), purpose=purpose
        )
        if begun is None:
            raise self._step_up_refused(Refusal.TICKET, session)
        return begun

    async def _count(
        self, account: Account | None, login: str, *, device: bytes, source: str
    ) -> Try:
        now = self._context.clock.now()
        who, since = (NIL_UUID, now) if account is None else (account.uuid, account.sessions_from)
        known = await self._sessions.knows(who, device, since=since)
        return await self._tries.begin(login, device=device if known else None, source=source)

    async def _step(self, account: Account | None, code: Secret[str]) -> int | None:
        """Return the time step of a code; who has no secret is compared with a decoy."""
        desk = self._context.desk
        if account is not None and account.one_time is not None:
            return await desk.match_one_time_code(account.view.id, account.one_time, code)
        if self._decoy is None:
            self._decoy = (await desk.new_one_time_secret(_NOBODY)).sealed
        await desk.match_one_time_code(_NOBODY, self._decoy, code)
        return None

    async def _first_use(self, account: Account, step: int) -> bool:
        return await self._used_first(account.view.id, step)

    async def _used_first(self, account: str, step: int) -> bool:
        """Use a time step up. A code is a function of it, so every spelling of a code is used."""
        value = f"{account} {step}".encode()
        over = self._context.clock.now() + timedelta(seconds=CEREMONY_S)
        return await self._context.replays.first_use("operator_code", value, expires_at=over)

    async def _failed(self, account: Account | None, counted: Try) -> None:
        """Write that a login rests from now on, be it one or not; the count stands already."""
        if not counted.last:
            return
        change = Change()
        note(
            change,
            "lock",
            "none" if account is None else account.view.id,
            outcome="locked",
            actor="anonymous",
            at=self._context.clock.now(),
            reason=Refusal.LOCKED.value,
        )
        await self._context.committer.submit(change)

    async def _end_cloned(self, passkey: Passkey) -> None:
        """End a passkey of which two exist: one of them is not its owner's."""
        change, now = Change(), self._context.clock.now()
        records.end_passkey(change, passkey, "cloned", at=now)
        note(
            change,
            "end_passkey",
            records.operator_id(passkey.operator_id),
            outcome="ended",
            actor="strongroom",
            at=now,
            reason=Refusal.CLONED.value,
        )
        await self._context.committer.submit(change)

    def _noted(self, change: Change, session: Principal, *, aal: int, purpose: bytes) -> StepUp:
        now = self._context.clock.now()
        note(
            change,
            "step_up",
            session.id,
            outcome="proved",
            actor=session.id,
            at=now,
            facts={"aal": aal, "session": session.session or ""},
        )
        return StepUp(
            operator=session.id, aal=aal, at=now, purpose=purpose, session=session.session or ""
        )

    def _check_open(self, account: Account, session: Principal) -> None:
        refusal = decide.sign_in_refusal(account, now=self._context.clock.now())
        if refusal is not None:
            raise self._step_up_refused(refusal, session)

    def _refuse(self, refusal: Refusal, account: Account | None, source: str) -> Refusal:
        subject = "none" if account is None else account.view.id
        self._context.refuse(refusal, subject=subject, source=source)
        return refusal

    def _step_up_refused(self, refusal: Refusal, session: Principal) -> StrongroomError:
        return errors.step_up_refused(self._context.refuse(refusal, subject=session.id))


def _about(session: Principal) -> str:
    return f"{session.id} {session.session}"
