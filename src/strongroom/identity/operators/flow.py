"""The verbs of operators: sign in, keep a session, prove to be there, sign out.

Whoever is not signed in gets one answer for every cause; the cause goes to the journal. Accounts
are kept in `accounts.py`, factors are enrolled in `enrolling.py`, both reached from here.
"""

from __future__ import annotations

from datetime import datetime

from strongroom.identity.model import Mode, Principal
from strongroom.identity.operators import decide, errors, passkeys, records, tickets
from strongroom.identity.operators.accounts import Accounts
from strongroom.identity.operators.context import Context, OneTimeDesk, note
from strongroom.identity.operators.enrolling import Enrolling
from strongroom.identity.operators.model import (
    CODE_AAL,
    PASSKEY_AAL,
    Account,
    Challenge,
    Method,
    OperatorRole,
    Outside,
    Refusal,
    RelyingParty,
    SignedIn,
    StepUp,
    World,
)
from strongroom.identity.operators.names import typed
from strongroom.identity.operators.passwords import Passwords
from strongroom.identity.operators.proving import Proving
from strongroom.identity.operators.sessions import Sessions
from strongroom.identity.operators.tries import Tries
from strongroom.identity.refusals import Hasher, Refusals
from strongroom.identity.replays import Replays
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Committer, Database, Verdict

_SIGN_IN = "sign-in"
_STALE_RETRIES = 3


class Operators:
    """The people of one installation. One per process.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        mode: the world of this installation.
        party: who passkeys are made for.
        hasher: the keyed hash under the pepper, as `Identity` has it.
        refusals: counts refused callers for the journal.
        replays: what may be used once.
        desk: the narrow side of the keys.
        clock: time.
    """

    CONFIRM = b"strongroom: confirm the session"
    """The purpose of a proof that makes a session fresh again (`confirm`)."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        mode: Mode,
        party: RelyingParty,
        hasher: Hasher,
        refusals: Refusals,
        replays: Replays,
        desk: OneTimeDesk,
        clock: Clock,
    ) -> None:
        self._context = context = Context(
            database=database,
            committer=committer,
            hasher=hasher,
            refusals=refusals,
            replays=replays,
            desk=desk,
            clock=clock,
            world=World(mode=mode, party=party),
        )
        self._sessions = Sessions(context)
        self._passwords = Passwords()
        self._tries = Tries(context)
        self._proving = Proving(context, self._passwords, self._tries, self._sessions)
        self.accounts = Accounts(context, self._sessions, self._tries)
        self.enrolling = Enrolling(
            context, self._passwords, self._proving, self._sessions, self._signed_in
        )

    async def close(self) -> None:
        """End threads and background reads. Call `flush_usage` before."""
        self._passwords.close()
        await self._sessions.close()

    # --- signing in ------------------------------------------------------------------------------

    async def begin(self, login: str, *, source: str) -> Challenge:
        """Begin to sign in. Nothing is read or written: the answer is alike for every login.

        Args:
            login: what the person typed; empty when their passkey is to say who they are.
            source: the caller's address.
        """
        ticket, text = await tickets.issue(self._context, _SIGN_IN, about=typed(login))
        options = passkeys.sign_in_options(self._context.world.party, ticket.challenge)
        return Challenge(ticket=text, options=options)

    async def finish_passkey(
        self, ticket: Secret[str], response: bytes, *, device: Secret[str], source: str
    ) -> SignedIn:
        """Sign in with a passkey's assertion.

        Raises:
            StrongroomError: `sign_in_refused` for every cause alike.
        """
        bound = await self._sessions.device(device)
        begun = await tickets.redeem(self._context, ticket, _SIGN_IN)
        if begun is None:
            raise self._refused(Refusal.TICKET, source=source)
        for _ in range(_STALE_RETRIES):
            proved = await self._proving.by_passkey(begun.challenge, response)
            if isinstance(proved, Refusal):
                raise self._refused(proved, source=source)
            account = proved.account
            if begun.about not in ("", account.view.login):
                raise self._refused(Refusal.OTHER_PERSON, account, source=source)
            self._check_open(account, source=source)
            change = Change()
            records.set_used(change, proved.passkey, proved.asserted, at=self._context.clock.now())
            done = await self._signed_in(
                change, account, device=bound, method="passkey", aal=PASSKEY_AAL, source=source
            )
            if done is not None:
                return done
        raise self._refused(Refusal.PASSKEY, source=source)

    async def finish_password(
        self,
        ticket: Secret[str],
        password: Secret[str],
        code: Secret[str],
        *,
        device: Secret[str],
        source: str,
    ) -> SignedIn:
        """Sign in with a password and a one-time code; both are always looked at.

        Raises:
            StrongroomError: `sign_in_refused` for every cause alike; `overloaded`.
        """
        bound = await self._sessions.device(device)
        begun = await tickets.redeem(self._context, ticket, _SIGN_IN)
        if begun is None:
            raise self._refused(Refusal.TICKET, source=source)
        account = await self._proving.by_password(
            begun.about, password, code, device=bound, source=source
        )
        if isinstance(account, Refusal):
            raise errors.sign_in_refused(account.value)
        self._check_open(account, source=source)
        done = await self._signed_in(
            Change(), account, device=bound, method="password", aal=CODE_AAL, source=source
        )
        if done is None:
            raise self._refused(Refusal.NOT_ACTIVE, account, source=source)
        return done

    async def finish_external(
        self,
        operator: str,
        *,
        aal: int,
        role: OperatorRole,
        mfa_at: datetime | None,
        device: Secret[str],
        source: str,
    ) -> SignedIn:
        """Start the session of a person whom a trusted identity provider has just named.

        Args:
            operator: the account that the provider's subject is linked to.
            aal: what the provider proved: 1 without a second factor, else 2.
            role: what the provider's groups are worth; the weaker of it and the account's counts.
            mfa_at: when the person showed their factors there, if the provider says so.
            device: the browser's secret.
            source: the caller's address.

        Raises:
            StrongroomError: `sign_in_refused`.
        """
        bound = await self._sessions.device(device)
        account = await records.account(self._context.database, uuid_of(operator, "opr"))
        if account is None:
            raise self._refused(Refusal.UNKNOWN, source=source)
        self._check_open(account, source=source)
        done = await self._signed_in(
            Change(),
            account,
            device=bound,
            method="oidc",
            aal=min(aal, CODE_AAL),
            source=source,
            outside=Outside(role=role, mfa_at=mfa_at),
        )
        if done is None:
            raise self._refused(Refusal.NOT_ACTIVE, account, source=source)
        return done

    # --- sessions --------------------------------------------------------------------------------

    async def session(self, token: Secret[str], *, device: Secret[str], source: str) -> Principal:
        """Return who a session belongs to, and note its use.

        Raises:
            StrongroomError: `unauthenticated` for every cause alike; `storage_unavailable` or
                `overloaded` when it cannot be known now.
        """
        return await self._sessions.accept(token, device=device, source=source)

    async def sign_out(self, session: Principal) -> None:
        """End the caller's own session."""
        await self._sessions.end(session.session or "", actor=session.id, operator=session.id)

    async def end_sessions(self, operator: str, *, actor: str, reason: str = "asked") -> None:
        """End every session of a person; every process refuses them within a second."""
        await self.accounts.end_sessions(operator, actor=actor, reason=reason)

    async def challenge(self, session: Principal, *, purpose: bytes) -> Challenge:
        """Begin to prove that the person of a session is there, for one purpose."""
        return await self._proving.begin(session, purpose=purpose)

    async def prove(
        self, ticket: Secret[str], response: bytes, *, session: Principal, purpose: bytes
    ) -> StepUp:
        """Return the proof that a passkey gave for a purpose. It makes no session.

        Raises:
            StrongroomError: `step_up_refused` for every cause alike.
        """
        return await self._proving.prove(ticket, response, session=session, purpose=purpose)

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
        """Return the proof that a one-time code gave for a purpose. It makes no session.

        Raises:
            StrongroomError: `step_up_refused` for every cause alike.
        """
        return await self._proving.prove_code(
            ticket, code, session=session, device=device, source=source, purpose=purpose
        )

    async def confirm(self, session: Principal, step_up: StepUp) -> Secret[str]:
        """Make a session fresh again by a proof for `CONFIRM`; return its new token.

        The old token ends: whoever copied it before has nothing now.

        Raises:
            StrongroomError: `step_up_refused`, `unauthenticated`.
        """
        now = self._context.clock.now()
        decide.check_step_up(session, step_up, purpose=self.CONFIRM, now=now)
        return await self._sessions.renew(session, aal=step_up.aal, mfa_at=step_up.at)

    # --- housekeeping ----------------------------------------------------------------------------

    async def flush_usage(self) -> int:
        """Write when sessions were last used; call every few seconds and when stopping."""
        return await self._sessions.flush()

    async def work(self) -> None:
        """Close idle accounts and forget what no longer counts; call every few minutes."""
        now = self._context.clock.now()
        await self.accounts.close_idle()
        await self._tries.purge(now=now)
        await self._sessions.purge(now=now)

    # --- parts -----------------------------------------------------------------------------------

    async def _signed_in(
        self,
        change: Change,
        account: Account,
        *,
        device: bytes,
        method: Method,
        aal: int,
        source: str,
        outside: Outside | None = None,
    ) -> SignedIn | None:
        """Start a session with what else a Change holds; None when somebody was faster."""
        now = self._context.clock.now()
        started = await self._sessions.start(
            change, account.uuid, device=device, method=method, aal=aal, outside=outside
        )
        records.set_seen(change, account.uuid, at=now)
        facts: dict[str, str | int | bool] = {"method": method, "aal": aal, "session": started.id}
        if source:
            facts["source"] = await self._context.refusals.commitment(source)
        note(
            change,
            "sign_in",
            account.view.id,
            outcome="signed_in",
            actor=account.view.id,
            at=now,
            facts=facts,
        )
        if await self._context.committer.submit(change) is not Verdict.COMMITTED:
            return None
        return SignedIn(session=started.token, operator=account.view, aal=aal)

    def _check_open(self, account: Account, *, source: str) -> None:
        refusal = decide.sign_in_refusal(account, now=self._context.clock.now())
        if refusal is not None:
            raise self._refused(refusal, account, source=source)

    def _refused(
        self, refusal: Refusal, account: Account | None = None, *, source: str
    ) -> StrongroomError:
        subject = "none" if account is None else account.view.id
        return errors.sign_in_refused(self._context.refuse(refusal, subject=subject, source=source))
