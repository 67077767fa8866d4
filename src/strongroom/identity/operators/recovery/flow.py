"""The verbs of recovery: one administrator asks, another approves, the person enrolls anew.

With the approval every session and factor of the account ends; what is left is one code that the
approver hands over. Whoever asks never sees it.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from strongroom.identity.decide import check_text
from strongroom.identity.errors import changed_meanwhile
from strongroom.identity.model import Principal
from strongroom.identity.operators import errors
from strongroom.identity.operators import records as accounts
from strongroom.identity.operators.context import Context, note
from strongroom.identity.operators.decide import check_person, check_second, is_shell
from strongroom.identity.operators.invitations import hash_of, new_code
from strongroom.identity.operators.model import Account, RecoveryView
from strongroom.identity.operators.names import typed
from strongroom.identity.operators.recovery import records
from strongroom.identity.operators.sessions import Sessions
from strongroom.kernel.edge_limits import RECOVERY_HOURS
from strongroom.kernel.ids import new_id, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Verdict

_LASTS = timedelta(hours=RECOVERY_HOURS)
_RECOVERABLE = ("active", "recovering", "disabled")
_ADMINISTERS = ("active", "operator-admin")
_STALE_RETRIES = 5


class Recoveries:
    """Recoveries of accounts."""

    def __init__(self, context: Context, sessions: Sessions) -> None:
        self._context = context
        self._sessions = sessions

    async def ask(self, operator: str, *, actor: Principal, reason: str) -> RecoveryView:
        """Ask for a recovery; nothing of the account changes yet.

        Raises:
            StrongroomError: `operator_not_found`, `operator_state`, `second_person_needed`.
        """
        check_person(actor)
        check_text("reason", reason)
        account = await self._recoverable(operator)
        if actor.id == operator:
            raise errors.second_person()
        now = self._context.clock.now()
        recovery = RecoveryView(
            id=new_id("rcv"),
            operator=account.view.id,
            asked_by=actor.id,
            asked_at=now,
            reason=reason,
            until=now + _LASTS,
            approved_by=None,
            approved_at=None,
        )
        change = Change()
        records.ask(change, recovery)
        note(
            change,
            "ask_recovery",
            operator,
            outcome="asked",
            actor=actor.id,
            at=now,
            reason=reason,
            facts={"recovery": recovery.id},
        )
        await self._context.committer.submit(change)
        return recovery

    async def waiting(self) -> list[RecoveryView]:
        """Return the recoveries that wait for a second person."""
        return await records.open_recoveries(self._context.database, now=self._context.clock.now())

    async def approve(self, operator: str, *, actor: Principal) -> tuple[RecoveryView, Secret[str]]:
        """Approve the recovery of an account; return the code that its person enrolls with.

        Raises:
            StrongroomError: `recovery_not_found`, `second_person_needed`, `conflict`.
        """
        check_person(actor)
        for _ in range(_STALE_RETRIES):
            now = self._context.clock.now()
            account = await self._recoverable(operator)
            waiting = await records.open_recovery(self._context.database, account.uuid, now=now)
            if waiting is None:
                raise errors.recovery_not_found()
            others = await accounts.other_admins(self._context.database, account.uuid)
            asked_by, approver = await self._people(waiting.asked_by, actor.id)
            check_second(operator, asked_by=asked_by, approver=approver, others=others)
            code, change = new_code(), Change()
            accounts.cut_off(
                change,
                account,
                "recovering",
                at=now,
                invite=await hash_of(self._context, code),
                until=now + _LASTS,
            )
            links = await accounts.open_links(self._context.database, account.uuid)
            accounts.end_links(change, links, at=now)
            records.approve(change, waiting, actor.id, at=now)
            note(
                change,
                "recover",
                operator,
                outcome="recovering",
                actor=actor.id,
                at=now,
                reason=waiting.reason,
                facts={
                    "recovery": waiting.id,
                    "asked_by": waiting.asked_by,
                    "links_ended": len(links),
                },
            )
            if await self._context.committer.submit(change) is Verdict.COMMITTED:
                await self._sessions.forget_all(account.uuid)
                approved = msgspec.structs.replace(waiting, approved_by=actor.id, approved_at=now)
                return approved, code
        raise changed_meanwhile()

    async def _people(self, asked_by: str, approver: str) -> tuple[str, str]:
        """Return who asked and who approves; a shell user is the account of the same login.

        Two shells stay as they are: `check_second` takes them only where nobody else administers.

        Raises:
            StrongroomError: `second_person_needed` when who asked administers no longer.
        """
        if not (is_shell(asked_by) and is_shell(approver)):
            asked_by, approver = await self._person(asked_by), await self._person(approver)
        if not is_shell(asked_by):
            asker = await accounts.account(self._context.database, uuid_of(asked_by, "opr"))
            if asker is None or (asker.view.status, asker.view.role) != _ADMINISTERS:
                raise errors.second_person()
        return asked_by, approver

    async def _person(self, actor: str) -> str:
        if not is_shell(actor):
            return actor
        login = typed(actor.removeprefix("local:"))
        found = await accounts.account_by_login(self._context.database, login)
        return actor if found is None else found.view.id

    async def _recoverable(self, operator: str) -> Account:
        account = await accounts.account(self._context.database, uuid_of(operator, "opr"))
        if account is None:
            raise errors.operator_not_found()
        if account.view.status not in _RECOVERABLE:
            raise errors.operator_state(
                "Only an account that was enrolled before, and whose person did not leave, is "
                "recovered. Invite anew instead."
            )
        return account
