"""Keys rotate under cards: nothing is lost, nothing comes back, whoever dies in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.keys import Keyring, SealedFileRoot
from strongroom.keys import records as key_records
from strongroom.keys.rotation import Level, Rotation, steps
from strongroom.keys.rotation import records as job_records
from strongroom.storage import Committer
from strongroom.vault import CardVault, EgressPolicy
from strongroom.vault.rotation import CardRotation, records
from strongroom.vault.rotation.flow import pause_after
from tests.keys.house import House, new_merchant
from tests.vault.callers import AMEX, Operator, Policy, tokenize
from tests.vault.conftest import PAN, a_card

pytestmark = pytest.mark.slow(80)

MERCHANT_LEVELS: tuple[Level, ...] = ("dek", "index")


def vault_of(installed: House, keyring: Keyring) -> CardVault:
    return CardVault(
        installed.database,
        installed.committer,
        keyring,
        egress=EgressPolicy(),
        clock=installed.clock,
    )


async def pans(vault: CardVault, merchant: str, tokens: list[str]) -> list[str]:
    shown = [
        await vault.reveal(
            merchant,
            token,
            principal=Operator(id=f"op_{token}"),
            purpose="dispute_evidence",
            authorize=Policy(),
        )
        for token in tokens
    ]
    return [pan.reveal() for pan in shown]


async def versions(installed: House) -> set[tuple[int, int]]:
    rows = await installed.sql(
        "SELECT DISTINCT key_version, index_version FROM vault.card WHERE ended_at IS NULL"
    )
    return {(row[0], row[1]) for row in rows}


@pytest.mark.parametrize("level", ["dek", "index", "kek"])
async def test_every_card_opens_after_a_rotation(installed: House, level: Level) -> None:
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    one, two = new_merchant(), new_merchant()
    mine = [await tokenize(vault, one, saved=True), await tokenize(vault, one, AMEX)]
    theirs = [await tokenize(vault, two)]
    before = [await vault.describe(one, token) for token in mine]
    commitment = await vault.commitment(one, a_card())

    done = await installed.rotated(keyring, level)

    assert done.total and done.done
    for opener in (vault, vault_of(installed, await installed.keyring())):
        assert await pans(opener, one, mine) == [PAN, AMEX]
        assert await pans(opener, two, theirs) == [PAN]
        assert [await opener.describe(one, token) for token in mine] == before, "fp_ stays too"
        assert await opener.commitment(one, a_card()) == commitment
    expected = {"dek": {(2, 1)}, "index": {(1, 2)}, "kek": {(1, 1)}}
    assert await versions(installed) == expected[level]
    assert {e["subject"] for e in await installed.entries("keys:rotation:finish")}


async def test_a_card_is_found_by_its_number_while_its_index_key_rotates(installed: House) -> None:
    keyring = await installed.keyring()
    vault, cards = vault_of(installed, keyring), CardRotation(installed.database, keyring)
    merchant = new_merchant()
    old = await tokenize(vault, merchant, saved=True)
    other = await tokenize(vault, merchant, AMEX, saved=True)
    installed.clock.move(1)
    await keyring.custody.make_merchant_key("index", uuid_of(merchant, "mer"), 2)
    await keyring.refresh()
    new = await tokenize(vault, merchant, saved=True)
    assert await versions(installed) == {(1, 1), (1, 2)}
    assert await cards.tokens_of(merchant, a_card()) == sorted([old, new])
    await installed.rotated(keyring, "index", merchant=merchant)
    assert await cards.tokens_of(merchant, a_card()) == sorted([old, new])
    assert await cards.tokens_of(merchant, a_card(AMEX)) == [other]


async def test_cards_of_data_subjects_keep_their_keys_and_get_new_fingerprints(
    installed: House,
) -> None:
    keyring = await installed.keyring()
    vault, merchant = vault_of(installed, keyring), new_merchant()
    card = msgspec.structs.replace(a_card(), data_subject=Secret("customer-7"))
    token = (await vault.tokenize(merchant, card, saved=True, actor="key_1")).token
    plain = await tokenize(vault, merchant, saved=True)
    before = await vault.describe(merchant, token)
    await installed.rotated(keyring, "dek")
    (row,) = await installed.sql("SELECT key_version FROM vault.card WHERE subject IS NOT NULL")
    assert row["key_version"] == 1
    for level in ("index", "kek"):
        await installed.rotated(keyring, level)
    assert await pans(vault, merchant, [token, plain]) == [PAN, PAN]
    assert await vault.describe(merchant, token) == before
    cards = CardRotation(installed.database, keyring)
    assert await cards.tokens_of(merchant, a_card()) == sorted([token, plain])


async def test_a_new_root_takes_over_and_the_former_one_may_go(
    installed: House, tmp_path: Any
) -> None:
    merchant = new_merchant()
    token = await tokenize(vault_of(installed, await installed.keyring()), merchant)
    successor = SealedFileRoot.create(
        tmp_path / "next", mode="test", installation=installed.installation, key_file=tmp_path / "k"
    )
    former, installed.root = installed.root, successor
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await installed.keyring()
    both = await installed.keyring(former=[former])
    done = await installed.rotated(both, "root")
    assert done.done == len(await installed.sql("SELECT 1 FROM keys.kek"))
    alone = await installed.keyring()
    assert await pans(vault_of(installed, alone), merchant, [token]) == [PAN]


async def test_two_rotations_started_at_once_are_one(installed: House) -> None:
    keyring = await installed.keyring()
    await tokenize(vault_of(installed, keyring), new_merchant())
    installed.clock.move(1)
    rotations = [installed.rotation(keyring) for _ in range(3)]
    jobs = await asyncio.gather(*(rotation.start("dek") for rotation in rotations))
    assert len({job.id for job in jobs}) == 1
    worked = await asyncio.gather(*(rotation.work() for rotation in rotations))
    assert len([job for job in worked if job is not None]) == 1, "one process works on it"
    assert await versions(installed) == {(2, 1)}


async def test_a_job_rests_goes_on_and_ends_as_told(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ROTATION_CHUNK", 1)
    keyring = await installed.keyring()
    merchant = new_merchant()
    vault = vault_of(installed, keyring)
    tokens = [await tokenize(vault, merchant) for _ in range(4)]
    installed.clock.move(1)
    rotation = installed.rotation(keyring)
    name = id_from("rot", (await rotation.start("dek", rate=10)).id)
    working = asyncio.create_task(rotation.work(name))
    while not (await rotation.job(name)).done:
        await asyncio.sleep(0.01)
    await rotation.pause(name, actor="op_1")
    stopped = await working
    assert stopped is not None and stopped.state == "paused" and 0 < stopped.done < 4
    assert await rotation.work(name) is None, "a paused job is nobody's"
    assert len(await versions(installed)) == 2
    assert await pans(vault, merchant, tokens) == [PAN] * 4
    with pytest.raises(StrongroomError, match="key_state_not_possible"):
        await rotation.pause(name, actor="op_1")
    await rotation.resume(name, actor="op_1")
    done = await rotation.work(name)
    assert done is not None and (done.state, len(await versions(installed))) == ("done", 1)
    with pytest.raises(StrongroomError, match="key_state_not_possible"):
        await rotation.cancel(name, actor="op_1")


async def test_cards_that_change_meanwhile_are_neither_lost_nor_revived(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading and writing a chunk one card is deleted, one purged, one saved."""
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    deleted, saved = [await tokenize(vault, merchant) for _ in range(2)]
    expired = await tokenize(vault, merchant)
    await installed.sql(
        "UPDATE vault.card SET expires_at = now() - interval '3 h', purge_after = now() "
        "- interval '1 h' WHERE id = $1",
        uuid_of(expired, "tok"),
    )
    moving = records.move

    async def late(*args: Any) -> int:
        await vault.delete(merchant, deleted, actor="key_1")
        await vault.mark_saved(merchant, saved, actor="key_1")
        assert await vault.purge_expired() == 1
        monkeypatch.setattr(records, "move", moving)
        return await moving(*args)

    monkeypatch.setattr(records, "move", late)
    done = await installed.rotated(keyring, "dek")
    assert done.done == 1
    assert (await vault.describe(merchant, saved)).saved
    assert await pans(vault, merchant, [saved]) == [PAN]
    for gone in (deleted, expired):
        with pytest.raises(StrongroomError, match=r"token_(not_found|expired)"):
            await vault.describe(merchant, gone)
    rows = await installed.sql("SELECT count(sealed_card) AS n FROM vault.card")
    assert rows[0]["n"] == 1


async def test_a_damaged_card_is_left_as_it_is_and_told(installed: House) -> None:
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    good, bad = await tokenize(vault, merchant), await tokenize(vault, merchant)
    await installed.sql(
        "UPDATE vault.card SET sealed_card = set_byte(sealed_card, 60, get_byte(sealed_card, 60) "
        "# 1) WHERE id = $1",
        uuid_of(bad, "tok"),
    )
    installed.clock.move(1)
    rotation = installed.rotation(keyring)
    await rotation.start("dek", rate=0)
    done = await rotation.work()
    assert done is not None and done.done == 1
    assert done.problem and done.problem.startswith("1 card")
    assert await pans(vault, merchant, [good]) == [PAN]
    (old,) = await installed.sql("SELECT id FROM keys.dek WHERE version = 1")
    installed.clock.move(3_600)
    with pytest.raises(StrongroomError, match="1 rows refer to it"):
        await rotation.destroy(id_from("dek", old["id"]), actor="op_1")


# --- the end of a key ---


async def test_a_compromised_key_serves_its_rotation_only(installed: House) -> None:
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    token = await tokenize(vault, merchant)
    (row,) = await installed.sql("SELECT id FROM keys.dek")
    name = id_from("dek", row["id"])
    rotation = installed.rotation(keyring)
    job = await rotation.compromise(name, actor="op_1")
    assert (job.level, job.rate, job.reason) == ("dek", 0, "compromised")
    fresh = vault_of(installed, await installed.keyring())
    with pytest.raises(StrongroomError, match="key_compromised"):
        await fresh.describe(merchant, token)
    new = await tokenize(vault, merchant)
    assert (await rotation.work()) is not None
    assert await pans(fresh, merchant, [token, new]) == [PAN, PAN]
    assert await versions(installed) == {(2, 1)}
    (entry,) = await installed.entries("keys:dek:compromise")
    assert entry["subject"] == name
    with pytest.raises(StrongroomError, match="it rests until"):
        await rotation.destroy(name, actor="op_1")
    installed.clock.move(3_600)
    gone = await rotation.destroy(name, actor="op_1")
    assert gone.state == "destroyed"
    (row,) = await installed.sql("SELECT wrapped, state FROM keys.dek WHERE version = 1")
    assert (row["wrapped"], row["state"]) == (None, "destroyed")
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await keyring.old_key(merchant, 1)
    await installed.keyring()


async def test_a_compromised_index_key_takes_the_visible_fingerprint_with_it(
    installed: House,
) -> None:
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    token = await tokenize(vault, merchant, saved=True)
    before = (await vault.describe(merchant, token)).fingerprint
    (row,) = await installed.sql("SELECT id FROM keys.index_key")
    rotation = installed.rotation(keyring)
    await rotation.compromise(id_from("idx", row["id"]), actor="op_1")
    assert (await rotation.work()) is not None
    fresh = vault_of(installed, await installed.keyring())
    after = (await fresh.describe(merchant, token)).fingerprint
    assert after != before
    again = await tokenize(fresh, merchant, saved=True)
    assert (await fresh.describe(merchant, again)).fingerprint == after
    cards = CardRotation(installed.database, keyring)
    assert await cards.tokens_of(merchant, a_card()) == sorted([token, again])


async def visible_keys(installed: House) -> list[tuple[int, str]]:
    rows = await installed.sql("SELECT version, state FROM keys.visible_key ORDER BY version")
    return [(row[0], row[1]) for row in rows]


async def test_a_key_is_compromised_once(installed: House) -> None:
    """A command given twice is refused before it changes the fingerprints that callers see."""
    keyring = await installed.keyring()
    await tokenize(vault_of(installed, keyring), new_merchant())
    (row,) = await installed.sql("SELECT id FROM keys.index_key")
    rotation = installed.rotation(keyring)
    await rotation.compromise(id_from("idx", row["id"]), actor="op_1")
    with pytest.raises(StrongroomError, match="is compromised"):
        await rotation.compromise(id_from("idx", row["id"]), actor="op_1")
    assert await visible_keys(installed) == [(1, "active")]


async def test_compromised_bytes_that_a_rotation_just_kept_are_replaced(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, other = await installed.keyring(), await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    token = await tokenize(vault, merchant, saved=True)
    before = (await vault.describe(merchant, token)).fingerprint
    (row,) = await installed.sql("SELECT id FROM keys.index_key")
    newest = key_records.newest

    async def read_too_early(*args: Any) -> Any:
        monkeypatch.undo()
        found = await newest(*args)
        await steps.keep_visible(other.custody, uuid_of(merchant, "mer"))
        return found

    monkeypatch.setattr(key_records, "newest", read_too_early)
    rotation = installed.rotation(keyring)
    await rotation.compromise(id_from("idx", row["id"]), actor="op_1")
    assert await visible_keys(installed) == [(1, "compromised"), (2, "active")]
    assert (await rotation.work()) is not None
    fresh = vault_of(installed, await installed.keyring())
    assert (await fresh.describe(merchant, token)).fingerprint != before


async def test_an_active_or_needed_key_is_not_destroyed(installed: House) -> None:
    keyring = await installed.keyring()
    await tokenize(vault_of(installed, keyring), new_merchant())
    rotation = installed.rotation(keyring)
    for key in await keyring.inventory():
        if key.kind in ("kek", "dek", "index"):
            with pytest.raises(StrongroomError, match="it is active"):
                await rotation.destroy(key.id, actor="op_1")
    with pytest.raises(StrongroomError, match="key_not_found"):
        await rotation.destroy(id_from("dek", uuid_of(new_merchant(), "mer")), actor="op_1")


async def test_overdue_keys_rotate_by_themselves(installed: House) -> None:
    keyring = await installed.keyring()
    vault = vault_of(installed, keyring)
    merchant = new_merchant()
    token = await tokenize(vault, merchant, saved=True)
    rotation = installed.rotation(keyring)
    assert await rotation.start_overdue() == 0
    installed.clock.move((limits.CRYPTOPERIOD_DAYS["dek"] + 1) * 86_400)
    assert await rotation.start_overdue() == 2
    assert await rotation.start_overdue() == 1, "a KEK job that is open is the same job"
    while await rotation.work() is not None:
        pass
    assert await rotation.start_overdue() == 0
    assert await versions(installed) == {(2, 1)}
    assert await pans(vault, merchant, [token]) == [PAN]


# --- a process that dies at any point ---


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Fate:
    """Lets everything pass until a chosen step; there the process dies, before it or after it."""

    def __init__(self, step: int, *, after: bool) -> None:
        self.left = step
        self.after = after
        self.dead = False

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(*args: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            self.left -= 1
            if self.left == 0 and not self.after:
                self.dead = True
                raise Killed
            result = await function(*args, **options)
            if self.left == 0:
                self.dead = True
                raise Killed
            return result

        return guarded


STEPS = (
    (Committer, "submit"),
    (records, "move"),
    (key_records, "rewrap"),
    (job_records, "take"),
    (job_records, "advance"),
    (job_records, "set_total"),
    (job_records, "let_go"),
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("level", ["dek", "index", "kek", "root"])
async def test_a_rotation_killed_at_any_step_is_gone_on_with(
    installed: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, level: Level, after: bool
) -> None:
    monkeypatch.setattr(limits, "ROTATION_CHUNK", 2)
    merchant = new_merchant()
    vault = vault_of(installed, await installed.keyring())
    tokens = [await tokenize(vault, merchant, saved=True) for _ in range(3)]
    step, died = 0, True
    while died:
        step += 1
        former = _next_root(installed, tmp_path, step) if level == "root" else []
        installed.clock.move(1)
        died = await _killed(installed, monkeypatch, level, Fate(step, after=after), former)
        keyring = await installed.keyring(former=former)
        rotation = installed.rotation(keyring, lease_s=0.05)
        await asyncio.sleep(0.06)
        await rotation.start(level, rate=0)
        while await rotation.work() is not None:
            pass
        fresh = await installed.keyring()
        (row,) = await installed.sql(
            "SELECT count(*) AS n, count(sealed_card) AS m FROM vault.card"
        )
        assert (row["n"], row["m"]) == (3, 3), "none lost, none double"
        assert await pans(vault_of(installed, fresh), merchant, tokens) == [PAN] * 3, step
        assert len(await versions(installed)) == 1
        await installed.sql("DELETE FROM vault.reveal_hour")
    assert step > 4


def _next_root(installed: House, tmp_path: Any, step: int) -> list[Any]:
    former = installed.root
    installed.root = SealedFileRoot.create(
        tmp_path / f"root-{step}",
        mode="test",
        installation=installed.installation,
        key_file=tmp_path / f"key-{step}",
    )
    return [former]


async def _killed(
    installed: House,
    monkeypatch: pytest.MonkeyPatch,
    level: Level,
    fate: Fate,
    former: list[Any],
) -> bool:
    """Rotate in a process that dies at a step; return whether it came to that step."""
    keyring = await installed.keyring(former=former)
    rotation: Rotation = installed.rotation(keyring, lease_s=0.05)
    with monkeypatch.context() as patched:
        for home, name in STEPS:
            patched.setattr(home, name, fate.wrap(getattr(home, name)))
        try:
            await rotation.start(level, rate=0)
            await rotation.work()
        except Killed:
            return True
    return False


def test_a_rotation_rests_longer_where_the_machine_is_busy() -> None:
    assert pause_after(0.01, 0.25) == pytest.approx(0.24)
    assert pause_after(0.10, 0.25) == pytest.approx(1.40)
