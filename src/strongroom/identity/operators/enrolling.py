"""The verbs of enrolling: accept an invitation, add and remove factors. Secrets are the person's
own: whoever invited never knew one, so there is none to be changed at first use (PCI DSS 8.3.5).
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Literal, Protocol
from urllib.parse import quote

from strongroom.identity.decide import check_text
from strongroom.identity.errors import changed_meanwhile
from strongroom.identity.model import Principal
from strongroom.identity.operators import decide, errors, passkeys, passwords, records, tickets
from strongroom.identity.operators.context import Context, note
from strongroom.identity.operators.invitations import invited, is_waiting
from strongroom.identity.operators.model import (
    CODE_AAL,
    PASSKEY_AAL,
    Account,
    Challenge,
    Method,
    Passkey,
    PasskeyView,
    Refusal,
    SignedIn,
    StepUp,
)
from strongroom.identity.operators.passkeys import Registered
from strongroom.identity.operators.passwords import Passwords
from strongroom.identity.operators.proving import Proving
from strongroom.identity.operators.sessions import Sessions
from strongroom.kernel.edge_limits import PASSKEYS_MAX, PASSWORDS_BARRED
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Verdict

_ACCEPT = "accept-passkey"
_ACCEPT_CODE = "accept-code"
_ADD = "add-passkey"
_ISSUER = "Strongroom"


class SignIn(Protocol):
    """Starts a session with what else a Change holds."""

    def __call__(
        self,
        change: Change,
        account: Account,
        *,
        device: bytes,
        method: Method,
        aal: int,
        source: str,
    ) -> Awaitable[SignedIn | None]: ...


class Enrolling:
    """Enrolls the factors of people."""

    FACTORS = b"strongroom: change the ways to sign in"
    """The purpose of the proof that a person gives before their factors change."""

    def __init__(
        self,
        context: Context,
        passwords: Passwords,
        proving: Proving,
        sessions: Sessions,
        sign_in: SignIn,
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._passwords = passwords
        self._proving = proving
        self._sign_in = sign_in

    # --- an invitation ---

    async def accept(self, code: Secret[str]) -> Challenge:
        """Begin to accept an invitation with a passkey: what the browser is to create.

        Raises:
            StrongroomError: `invitation_refused`.
        """
        account = await self._invited(code)
        return await self._creation(_ACCEPT, account, about=_invitation(account))

    async def accept_passkey(
        self,
        ticket: Secret[str],
        response: bytes,
        *,
        name: str,
        device: Secret[str],
        source: str,
    ) -> SignedIn:
        """Accept an invitation with the passkey that was created; the person is signed in."""
        bound = await self._sessions.device(device)
        begun = await tickets.redeem(self._context, ticket, _ACCEPT)
        account = None if begun is None else await self._waiting(begun.about)
        if begun is None or account is None:
            raise self._refused()
        made = passkeys.registered(self._context.world.party, begun.challenge, response)
        if made is None:
            raise errors.passkey_refused(_NOT_HELD)
        now, change = self._context.clock.now(), Change()
        self._enroll(change, account, "passkey", at=now)
        records.set_enrolled(change, account, at=now)
        records.add_passkey(change, _passkey(account, made, name=name, at=now))
        return await self._finish(change, account, device=bound, method="passkey", source=source)

    async def accept_code(self, code: Secret[str]) -> Challenge:
        """Begin to accept an invitation with a password and one-time codes.

        `options` has the `secret` and the `otpauth_uri` for the person's authenticator app.
        """
        account = await self._invited(code)
        made = await self._context.desk.new_one_time_secret(account.view.id)
        _, text = await tickets.issue(
            self._context, _ACCEPT_CODE, about=_invitation(account), extra=made.sealed
        )
        return Challenge(ticket=text, options=_otpauth(account.view.login, made.secret))

    async def accept_password(
        self,
        ticket: Secret[str],
        password: Secret[str],
        code: Secret[str],
        *,
        device: Secret[str],
        source: str,
    ) -> SignedIn:
        """Accept an invitation with a password and the first code of the app."""
        bound = await self._sessions.device(device)
        begun = await tickets.redeem(self._context, ticket, _ACCEPT_CODE)
        account = None if begun is None else await self._waiting(begun.about)
        if begun is None or account is None:
            raise self._refused()
        await self._check_password(account, password)
        if not await self._proving.code_fits(account.view.id, begun.extra, code):
            raise self._refused()
        stored = await self._passwords.hash(password)
        now, change = self._context.clock.now(), Change()
        self._enroll(change, account, "password", at=now)
        records.set_enrolled_with_codes(change, account, begun.extra, at=now)
        records.add_password(change, account.uuid, stored, at=now)
        return await self._finish(change, account, device=bound, method="password", source=source)

    # --- a person who is signed in ---

    async def passkeys(self, session: Principal) -> list[PasskeyView]:
        """Return a person's own passkeys."""
        found = await records.passkeys_of(self._context.database, uuid_of(session.id, "opr"))
        return [_view(passkey) for passkey in found]

    async def begin_passkey(self, session: Principal, step_up: StepUp) -> Challenge:
        """Begin to add a passkey, after a proof for `FACTORS`."""
        account = await self._own(session, step_up)
        _check_room(account)
        return await self._creation(_ADD, account, about=f"{session.id} {session.session}")

    async def add_passkey(
        self, ticket: Secret[str], response: bytes, *, session: Principal, name: str
    ) -> PasskeyView:
        """Add the passkey that was created.

        Raises:
            StrongroomError: `step_up_refused`, `passkey_refused`; `unauthenticated` when the
                session ended meanwhile, `conflict` when the account changed.
        """
        mine = f"{session.id} {session.session}"
        begun = await tickets.redeem(self._context, ticket, _ADD, about=mine)
        if begun is None:
            raise errors.step_up_refused(Refusal.TICKET.value)
        made = passkeys.registered(self._context.world.party, begun.challenge, response)
        account = await self._living(session)
        if made is None:
            raise errors.passkey_refused(_NOT_HELD)
        _check_room(account)
        now, change = self._context.clock.now(), Change()
        passkey = _passkey(account, made, name=name, at=now)
        records.add_passkey(change, passkey)
        records.keep(change, account)
        note(
            change,
            "add_passkey",
            session.id,
            outcome="added",
            actor=session.id,
            at=now,
            facts={"backup_eligible": passkey.backup_eligible},
        )
        verdict = await self._context.committer.submit(change)
        if verdict is Verdict.STALE:
            raise changed_meanwhile()
        if verdict is not Verdict.COMMITTED:
            raise errors.passkey_refused(_TAKEN)
        return _view(passkey)

    async def remove_passkey(self, session: Principal, step_up: StepUp, passkey: str) -> None:
        """Remove a passkey of the person's own, never the last way to sign in."""
        account = await self._own(session, step_up)
        found = await records.passkeys_of(self._context.database, account.uuid)
        target = next((p for p in found if id_from("psk", p.id) == passkey), None)
        if target is None or target.ended_at is not None:
            raise errors.passkey_refused("There is no such passkey.")
        if account.view.passkeys < 2 and not account.view.has_password:
            raise errors.passkey_refused("This is the last way to sign in. Add another one first.")
        now, change = self._context.clock.now(), Change()
        records.end_passkey(change, target, "removed", at=now)
        note(
            change,
            "end_passkey",
            session.id,
            outcome="ended",
            actor=session.id,
            at=now,
            reason="removed",
        )
        await self._context.committer.submit(change)

    async def change_password(
        self, session: Principal, step_up: StepUp, password: Secret[str]
    ) -> None:
        """Change the password of a person who has one, after a proof for `FACTORS`.

        Raises:
            StrongroomError: `step_up_refused`, `password_refused`, `operator_state`.
        """
        account = await self._own(session, step_up)
        if account.one_time is None:
            raise errors.operator_state("A password counts only together with one-time codes.")
        await self._check_password(account, password)
        stored = await self._passwords.hash(password)
        now, change = self._context.clock.now(), Change()
        records.add_password(change, account.uuid, stored, at=now)
        note(change, "change_password", session.id, outcome="changed", actor=session.id, at=now)
        await self._context.committer.submit(change)

    # --- parts ---

    async def _invited(self, code: Secret[str]) -> Account:
        account = await invited(self._context, code, now=self._context.clock.now())
        if account is None:
            raise self._refused()
        return account

    async def _waiting(self, invitation: str) -> Account | None:
        """Return the account whose invitation this is, while it is the newest one and good."""
        operator = invitation.partition(" ")[0]
        account = await records.account(self._context.database, uuid_of(operator, "opr"))
        if account is None or _invitation(account) != invitation:
            return None
        return account if is_waiting(account, now=self._context.clock.now()) else None

    async def _own(self, session: Principal, step_up: StepUp) -> Account:
        decide.check_step_up(session, step_up, purpose=self.FACTORS, now=self._context.clock.now())
        return await self._living(session)

    async def _living(self, session: Principal) -> Account:
        """Return the account of a session that counts now, asked of the database itself.

        Factors outlast sessions, so nobody changes them in the second that an end takes to show.
        """
        account = await records.account(self._context.database, uuid_of(session.id, "opr"))
        await self._sessions.check_living(session)
        if account is None or account.view.status != "active":
            raise errors.step_up_refused(Refusal.NOT_ACTIVE.value)
        return account

    async def _creation(self, kind: str, account: Account, *, about: str) -> Challenge:
        ticket, text = await tickets.issue(self._context, kind, about=about)
        known = await records.passkeys_of(self._context.database, account.uuid)
        options = passkeys.creation_options(
            self._context.world.party,
            ticket.challenge,
            account=account.uuid,
            login=account.view.login,
            name=account.view.name,
            known=[passkey for passkey in known if passkey.ended_at is None],
        )
        return Challenge(ticket=text, options=options)

    async def _check_password(self, account: Account, password: Secret[str]) -> None:
        passwords.check(password, about=(account.view.login, account.view.name))
        former = await records.passwords(
            self._context.database, account.uuid, limit=PASSWORDS_BARRED
        )
        if await self._passwords.is_any_of(former, password):
            raise errors.password_refused(
                f"The password is one of the last {PASSWORDS_BARRED}. Take another one."
            )

    def _enroll(self, change: Change, account: Account, method: Method, *, at: datetime) -> None:
        note(
            change,
            "enroll",
            account.view.id,
            outcome="enrolled",
            actor=account.view.id,
            at=at,
            facts={"method": method},
        )

    async def _finish(
        self, change: Change, account: Account, *, device: bytes, method: Method, source: str
    ) -> SignedIn:
        aal = PASSKEY_AAL if method == "passkey" else CODE_AAL
        done = await self._sign_in(
            change, account, device=device, method=method, aal=aal, source=source
        )
        if done is None:
            raise self._refused()
        return done

    def _refused(self) -> StrongroomError:
        return errors.invitation_refused(self._context.refuse(Refusal.INVITATION))


_NOT_HELD = "The passkey was not accepted. Try again, with verification of yourself switched on."
_TAKEN = "This passkey is known already. A passkey belongs to one person and is added once."


def _invitation(account: Account) -> str:
    """Return what names an account's newest invitation: whatever changes the account ends it."""
    return f"{account.view.id} {account.version}"


def _check_room(account: Account) -> None:
    if account.view.passkeys >= PASSKEYS_MAX:
        raise errors.passkey_refused(f"A person has at most {PASSKEYS_MAX} passkeys.")


def _passkey(account: Account, made: Registered, *, name: str, at: datetime) -> Passkey:
    return Passkey(
        id=new_uuid7(),
        operator_id=account.uuid,
        credential_id=made.credential_id,
        public_key=made.public_key,
        name=check_text("name", name),
        sign_count=made.sign_count,
        backup_eligible=made.backup_eligible,
        backed_up=made.backed_up,
        aaguid=made.aaguid,
        created_at=at,
        used_at=None,
        ended_at=None,
        ended_reason=None,
        version=1,
    )


def _view(passkey: Passkey) -> PasskeyView:
    return PasskeyView(
        id=id_from("psk", passkey.id),
        name=passkey.name,
        backup_eligible=passkey.backup_eligible,
        backed_up=passkey.backed_up,
        aaguid=passkey.aaguid,
        created_at=passkey.created_at,
        used_at=passkey.used_at,
        status="active" if passkey.ended_at is None else _status(passkey.ended_reason),
    )


def _status(reason: str | None) -> Literal["removed", "cloned"]:
    return "cloned" if reason == "cloned" else "removed"


def _otpauth(login: str, secret: Secret[str]) -> dict[str, str]:
    """Return what an authenticator app is given: the secret, and the address that its code has."""
    text = secret.reveal()
    label = f"{_ISSUER}:{quote(login)}"
    return {
        "secret": text,
        "otpauth_uri": f"otpauth://totp/{label}?secret={text}&issuer={_ISSUER}&digits=6&period=30",
    }
