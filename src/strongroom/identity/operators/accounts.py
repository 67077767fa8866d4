"""The verbs of accounts: invite, list, change a role, see people off. One account for one person.

A leave is one step: the account, its sessions and factors, and the person's API keys of operators
end together; every process refuses them within a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from strongroom.identity.decide import check_text
from strongroom.identity.errors import changed_meanwhile, invalid_parameter
from strongroom.identity.operators import errors, names, records
from strongroom.identity.operators.context import Context, note
from strongroom.identity.operators.decide import IDLE_FOR, keys_of
from strongroom.identity.operators.invitations import hash_of, new_code
from strongroom.identity.operators.model import (
    Account,
    OperatorRole,
    OperatorView,
    SessionView,
    Status,
)
from strongroom.identity.operators.recovery import Recoveries
from strongroom.identity.operators.sessions import Sessions
from strongroom.identity.operators.tries import Tries
from strongroom.journal import Entry, record
from strongroom.kernel.edge_limits import INVITATION_HOURS, OPERATORS_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, id_from, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, ConstraintViolated, Verdict

_INVITATION = timedelta(hours=INVITATION_HOURS)
_LAST = "operator_admin_last"
_STALE_RETRIES = 5
_ROLES: tuple[OperatorRole, ...] = ("operator-read", "operator-admin")

Leaver = Callable[[str], Awaitable[object]]
"""What another room does when a person left: called with `opr_…` after the leave is durable."""


class Accounts:
    """Accounts of operators."""

    def __init__(self, context: Context, sessions: Sessions, tries: Tries) -> None:
        self._context = context
        self._sessions = sessions
        self._tries = tries
        self.recoveries = Recoveries(context, sessions)
        self.on_leave: list[Leaver] = []

    async def invite(
        self, login: str, *, name: str, role: OperatorRole, actor: str
    ) -> tuple[OperatorView, Secret[str]]:
        """Make an account for a person; return the code that they enroll with, once.

        Raises:
            StrongroomError: `invalid_parameter`, `operator_exists`.
        """
        code = new_code()
        view = await self._add(login, name=name, role=role, actor=actor, code=code)
        return view, code

    async def invite_again(self, operator: str, *, actor: str) -> tuple[OperatorView, Secret[str]]:
        """Give a person who did not enroll yet another code; the one before ends.

        Raises:
            StrongroomError: `operator_not_found`, `operator_state`, `conflict`.
        """
        for _ in range(_STALE_RETRIES):
            account = await self._stored(operator)
            if account.view.status != "invited":
                raise errors.operator_state(
                    "Only a person who did not enroll yet is invited again."
                )
            code, now, change = new_code(), self._context.clock.now(), Change()
            digest = await hash_of(self._context, code)
            records.set_invitation(change, account, digest, until=now + _INVITATION)
            note(change, "invite", operator, outcome="invited", actor=actor, at=now)
            if await self._context.committer.submit(change) is Verdict.COMMITTED:
                return account.view, code
        raise changed_meanwhile()

    async def list_all(
        self, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[OperatorView]:
        """Return accounts, oldest first; former ones too."""
        start = NIL_UUID if after is None else uuid_of(after, "opr")
        found = await records.accounts(
            self._context.database, after=start, limit=min(limit, PAGE_LIMIT_MAX)
        )
        return [account.view for account in found]

    async def show(self, operator: str) -> OperatorView:
        """Return an account by its id or login.

        Raises:
            StrongroomError: `operator_not_found`.
        """
        if operator.startswith("opr_"):
            return (await self._stored(operator)).view
        found = await records.account_by_login(self._context.database, names.typed(operator))
        if found is None:
            raise errors.operator_not_found()
        return found.view

    async def is_active(self, operator: str) -> bool:
        """Return whether a person still has an account that counts, now."""
        try:
            return (await self._stored(operator)).view.status == "active"
        except StrongroomError as error:
            if error.retryable:
                raise
            return False

    async def administrators(self) -> int:
        """Return how many people can administer now."""
        return await records.other_admins(self._context.database, NIL_UUID)

    async def set_role(self, operator: str, role: OperatorRole, *, actor: str) -> OperatorView:
        """Give a person another role; their sessions end, and keys that could do more than it.

        Raises:
            StrongroomError: `operator_not_found`, `operator_state`, `last_administrator`.
        """
        if role not in _ROLES:
            raise invalid_parameter("role", "The role is operator-read or operator-admin.")

        account = await self._stored(operator)
        if account.view.role == role:
            return account.view
        keys = await self._keys(account, "operator-admin") if role == "operator-read" else []

        def change_role(change: Change, account: Account) -> None:
            now = self._context.clock.now()
            records.set_role(change, account, role, at=now)
            _end_keys(change, keys, "owner changed role", actor=actor, at=now)
            note(
                change,
                "set_role",
                operator,
                outcome=role,
                actor=actor,
                at=now,
                facts={"api_keys": len(keys)},
            )

        await self._change(operator, change_role, but=("left",))
        return msgspec.structs.replace(account.view, role=role)

    async def leave(self, operator: str, *, actor: str, reason: str) -> OperatorView:
        """See a person off: account, sessions, factors, their operators' API keys and approvals.

        Raises:
            StrongroomError: `operator_not_found`, `last_administrator`.
        """
        check_text("reason", reason)
        account = await self._stored(operator)
        if account.view.status == "left":
            return account.view
        keys = await self._keys(account, *_ROLES)

        def let_go(change: Change, account: Account) -> None:
            now = self._context.clock.now()
            records.cut_off(change, account, "left", at=now)
            _end_keys(change, keys, "owner left", actor=actor, at=now)
            note(
                change,
                "leave",
                operator,
                outcome="left",
                actor=actor,
                at=now,
                reason=reason,
                facts={"api_keys": len(keys)},
            )

        await self._change(operator, let_go, but=("left",))
        for leaver in self.on_leave:
            await leaver(operator)
        return msgspec.structs.replace(account.view, status="left")

    async def end_sessions(self, operator: str, *, actor: str, reason: str) -> None:
        """End every session of a person; every process refuses them within a second."""
        check_text("reason", reason)

        def end(change: Change, account: Account) -> None:
            now = self._context.clock.now()
            records.end_sessions(change, account, at=now)
            note(
                change,
                "end_sessions",
                operator,
                outcome="ended",
                actor=actor,
                at=now,
                reason=reason,
            )

        await self._change(operator, end, but=())

    async def sessions(self, operator: str) -> list[SessionView]:
        """Return a person's newest sessions of the last working day."""
        return await self._sessions.of((await self._stored(operator)).uuid)

    async def end_session(self, session: str, *, actor: str, operator: str | None = None) -> None:
        """End one session, of `operator` only when given."""
        await self._sessions.end(session, actor=actor, operator=operator)

    async def unlock(self, operator: str, *, actor: str, reason: str) -> OperatorView:
        """Let a person try again before the half hour is over."""
        check_text("reason", reason)
        account = await self._stored(operator)
        change = Change()
        now = self._context.clock.now()
        note(change, "unlock", operator, outcome="unlocked", actor=actor, at=now, reason=reason)
        await self._context.committer.submit(change)
        await self._tries.unlock(account.view.login, await self._sessions.devices(account.uuid))
        return account.view

    async def close_idle(self) -> int:
        """Close accounts that nobody used for ninety days; return how many were closed.

        The last administrator's stays, and is refused at sign-in all the same.
        """
        now, closed = self._context.clock.now(), 0
        idle = await records.idle(
            self._context.database, since=now - IDLE_FOR, limit=PAGE_LIMIT_MAX
        )
        for account in idle:
            change = Change()
            records.cut_off(change, account, "disabled", at=now)
            note(
                change,
                "disable",
                account.view.id,
                outcome="disabled",
                actor="strongroom",
                at=now,
                reason="idle",
            )
            try:
                closed += await self._context.committer.submit(change) is Verdict.COMMITTED
            except ConstraintViolated as error:
                if error.constraint != _LAST:
                    raise
        return closed

    # --- parts ---

    async def _add(
        self, login: str, *, name: str, role: OperatorRole, actor: str, code: Secret[str]
    ) -> OperatorView:
        if role not in _ROLES:
            raise invalid_parameter("role", "The role is operator-read or operator-admin.")
        if await records.count(self._context.database) >= OPERATORS_MAX:
            raise errors.operator_state(f"An installation has at most {OPERATORS_MAX} accounts.")
        now = self._context.clock.now()
        view = OperatorView(
            id=new_id("opr"),
            login=names.new_login(login),
            name=names.new_name(name),
            role=role,
            status="invited",
            created_at=now,
            created_by=actor,
            seen_at=None,
            passkeys=0,
            has_password=False,
        )
        change = Change()
        records.add_operator(
            change,
            view,
            skeleton=names.skeleton(view.login),
            invite=await hash_of(self._context, code),
            until=now + _INVITATION,
        )
        note(
            change, "invite", view.id, outcome="invited", actor=actor, at=now, facts={"role": role}
        )
        if await self._context.committer.submit(change) is Verdict.CLAIM_LOST:
            raise errors.operator_exists()
        return view

    async def _change(
        self,
        operator: str,
        build: Callable[[Change, Account], None],
        *,
        but: tuple[Status, ...],
    ) -> None:
        """Change an account as it is now, again while others are faster."""
        for _ in range(_STALE_RETRIES):
            account, change = await self._stored(operator), Change()
            if account.view.status in but:
                raise errors.operator_state("The person has left.")
            build(change, account)
            try:
                verdict = await self._context.committer.submit(change)
            except ConstraintViolated as error:
                if error.constraint == _LAST:
                    raise errors.last_administrator() from None
                raise
            if verdict is Verdict.COMMITTED:
                await self._sessions.forget_all(account.uuid)
                return
        raise changed_meanwhile()

    async def _keys(self, account: Account, *roles: OperatorRole) -> list[UUID]:
        return keys_of(account, await records.operator_keys(self._context.database, *roles))

    async def _stored(self, operator: str) -> Account:
        found = await records.account(self._context.database, uuid_of(operator, "opr"))
        if found is None:
            raise errors.operator_not_found()
        return found


def _end_keys(change: Change, keys: list[UUID], reason: str, *, actor: str, at: datetime) -> None:
    """Add the end of a person's API keys of operators to a Change, each with its entry."""
    for key in keys:
        records.revoke_key(change, key, at=at)
        entry = Entry(
            action="identity:api_key:revoke",
            subject=id_from("key", key),
            outcome="revoked",
            reason=reason,
            merchant=None,
            actor=actor,
        )
        record(change, entry, at=at)
