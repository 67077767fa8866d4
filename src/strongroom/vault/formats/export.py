"""The legacy export: every saved card of a merchant as digits that FF1 made, entries first.

Off by default, two custodians' word each time. Its file is card data for PCI DSS: whoever has the
key turns it back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import NIL_UUID, id_from
from strongroom.kernel.limits import REVEAL_ENTRY_TOKENS_MAX
from strongroom.keys import Keyring
from strongroom.storage import Change, Committer, Database
from strongroom.vault import errors
from strongroom.vault.formats import records
from strongroom.vault.records import StoredCard
from strongroom.vault.tokens import merchant_uuid, open_card

_FIELD = "pan"


class Exporter:
    """Writes token and FF1 digits of a merchant's saved cards into a new private file."""

    def __init__(
        self, database: Database, committer: Committer, keyring: Keyring, *, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    async def run(
        self,
        merchant: str,
        out: Path,
        *,
        actor: str,
        approval: str | None,
        tell: Callable[[int, int], None],
    ) -> int:
        """Write the file and return how many cards are in it.

        Raises:
            StrongroomError: `export_output_unusable`, or why there is no approval.
        """
        owner = merchant_uuid(merchant)
        total = await records.count_saved(self._database, owner)
        await self._keyring.dual_control.redeem(
            "vault:export:ff1", {"merchant": merchant}, approval=approval, requester=actor
        )
        key = await self._keyring.format_key(merchant)
        done, after = 0, NIL_UUID
        with os.fdopen(_new_file(out), "w", encoding="ascii") as file:
            file.write("token,ff1\n")
            while page := await self._page(merchant, owner, after, actor):
                for token, stored in page.items():
                    card = await open_card(self._keyring, merchant, token, stored)
                    file.write(f"{token},{key.encrypt(card.number, field=_FIELD)}\n")
                after = list(page.values())[-1].id
                done += len(page)
                tell(done, max(total, done))
            file.flush()
            os.fsync(file.fileno())
        return done

    async def _page(
        self, merchant: str, owner: UUID, after: UUID, actor: str
    ) -> dict[str, StoredCard]:
        """Return the next cards, after the entry that names them is committed."""
        found = await records.saved_after(
            self._database, owner, after, limit=REVEAL_ENTRY_TOKENS_MAX
        )
        page = {id_from("tok", card.id): card for card in found}
        if page:
            entry = Entry(
                action="vault:card:export_ff1",
                subject=merchant,
                outcome="success",
                merchant=merchant,
                actor=actor,
                facts={"cards": len(page), "tokens": " ".join(page)},
            )
            change = Change()
            record(change, entry, at=self._clock.now())
            await self._committer.submit(change)
        return page


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.export_output_unusable(f"{path}: {error.strerror}.") from None
