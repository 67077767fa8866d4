"""What `doctor` asks the database, the keys and the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from strongroom.app import House, Settings
from strongroom.app.certificate_alarms import certificate_alarms
from strongroom.cli import records
from strongroom.cli.model import Finding, fail, ok, warn
from strongroom.journal import verify_proof, verify_store
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from
from strongroom.kernel.limits import KEY_USES_WARN, KEY_WARN_DAYS
from strongroom.storage import Database
from strongroom.storage.migrate import pending

_OLDEST_ENGINE = 150_000
_MUST_BE_ON = ("fsync", "full_page_writes", "data_checksums")
_CLOCKS_APART_MAX_S = 2
_LAG_MAX_S = 10.0
_VERIFIED_WHOLE = 20_000
"""Journals up to this many entries are checked whole; of larger ones the newest entries are."""

_TAIL = timedelta(minutes=10)
_TAIL_MERCHANTS = 20
_TAIL_ENTRIES = 10


async def engine(database: Database, settings: Settings) -> list[Finding]:
    """Check version, durability, clocks and the separation of roles."""
    found = await records.settings(database)
    findings = [_version(found), _durability(found)]
    apart = abs((await records.now(database) - datetime.now(UTC)).total_seconds())
    if apart > _CLOCKS_APART_MAX_S:
        findings.append(
            fail("database clock", f"{apart:.1f} s from ours", "Use NTP on both (PCI DSS 10.6).")
        )
    findings.append(await _roles(database, settings))
    return findings


def _version(found: dict[str, str]) -> Finding:
    kind = found["server_version"]
    if int(found["server_version_num"]) < _OLDEST_ENGINE:
        return fail("engine", f"PostgreSQL {kind}", "Use PostgreSQL 15 or newer.")
    return ok("engine", f"PostgreSQL {kind}")


def _durability(found: dict[str, str]) -> Finding:
    off = [name for name in _MUST_BE_ON if found[name] != "on"]
    if found["synchronous_commit"] not in ("on", "remote_apply", "remote_write"):
        off.append("synchronous_commit")
    if off == ["data_checksums"]:
        return warn("durability", "no data checksums", "Stop it and run pg_checksums --enable.")
    if off:
        return fail("durability", f"off: {', '.join(off)}", "Switch on: payments can be lost.")
    return ok("durability", "fsync, full pages, synchronous commit and checksums are on")


async def _roles(database: Database, settings: Settings) -> Finding:
    wrong = await records.intrusions(database)
    wrong += [f"{name} has too many rights" for name in await records.overpowered(database)]
    if wrong:
        return fail("roles", "; ".join(wrong), "Revoke it: card data must not be theirs to read.")
    if not settings.embedded and len(settings.database_urls) == 1:
        return warn(
            "roles",
            "separated, but every role shares one login",
            "Give STRONGROOM_PAY_, VAULT_ and JOURNAL_DATABASE_URL logins of their own.",
        )
    return ok("roles", "separated: strongroom_pay cannot read vault or keys")


async def migrations(database: Database, settings: Settings) -> Finding:
    """Check that the schema is this release's."""
    missing = await pending(database)
    if missing:
        mend = f"Run: strongroom migrate --data-dir {settings.data_dir}"
        return fail("migrations", f"{len(missing)} are missing", mend)
    return ok("migrations", "current")


async def keys(house: House) -> Finding:
    """Check that the keys open (the house did) and that none is worn."""
    inventory = await house.keyring.inventory()
    worn = [key.id for key in inventory if (key.uses_reserved or 0) > KEY_USES_WARN]
    if worn:
        return warn("keys", f"worn: {', '.join(worn)}", "Rotate them before 2^31 uses.")
    compromised = [key.id for key in inventory if key.state == "compromised"]
    if compromised:
        told = f"compromised: {', '.join(compromised)}"
        return warn("keys", told, "See docs/operations/key-compromise.md.")
    ending = [
        key.id for key in inventory if key.days_left is not None and key.days_left <= KEY_WARN_DAYS
    ]
    if ending:
        told = f"cryptoperiod ends within {KEY_WARN_DAYS} days: {', '.join(ending[:5])}"
        return warn("keys", told, "See docs/operations/key-rotation.md.")
    return ok("keys", f"{len(inventory)} keys, those of the installation open")


async def certificates(house: House) -> list[Finding]:
    """Check that certificates are renewed and the authority's own is good for long."""
    told, alarms = await certificate_alarms(house)
    if not alarms:
        return [ok("certificates", told)]
    by_status = {"warn": warn, "fail": fail}
    return [by_status[one.status]("certificates", one.told, one.mend) for one in alarms]


async def journal(house: House, *, running: bool) -> list[Finding]:
    """Check signatures, proofs, the witness, and how far sequencing lags."""
    try:
        checkpoint = await house.journal.checkpoint()
    except StrongroomError as error:
        if error.code != "no_checkpoint":
            raise
        return [ok("journal", "empty: nothing was signed yet")]
    if checkpoint.size <= _VERIFIED_WHOLE:
        findings = [await _whole(house)]
    else:
        findings = [await _tail(house, checkpoint.at, checkpoint.size)]
    if checkpoint.at is not None:
        ahead = (checkpoint.at - house.clock.now()).total_seconds()
        if ahead > _CLOCKS_APART_MAX_S:
            told = f"the last checkpoint was signed {ahead:.0f} s from now"
            findings.append(fail("clock went back", told, "Set the clock; use NTP."))
    return [*findings, _lag(await house.journal.lag(), running=running)]


async def _whole(house: House) -> Finding:
    report = await verify_store(
        house.database, public_keys=house.sequencer.public_keys, witness=house.sequencer.witness
    )
    if report.ok:
        return ok("journal", f"{report.size} entries hold under the last checkpoint")
    first = report.problems[0]
    told = f"{report.problem_count} problems; {first.code} {first.where}: {first.message}"
    return fail("journal", told, "Treat it as an incident: keep a copy, then journal verify.")


async def _tail(house: House, at: datetime | None, size: int) -> Finding:
    """Check the proofs of the newest entries of the installation and of some merchants."""
    since = (at or house.clock.now()) - _TAIL
    after = id_from("ent", UUID(int=int(since.timestamp() * 1000) << 80))
    merchants = await house.identity.list_merchants(limit=_TAIL_MERCHANTS)
    checked = 0
    for merchant in (None, *(m.id for m in merchants)):
        for entry in await house.journal.entries(merchant, after=after, limit=_TAIL_ENTRIES):
            try:
                proof = await house.journal.proof(merchant, entry.id)
                verify_proof(proof, public_key=house.sequencer.public_keys[0])
            except StrongroomError as error:
                if error.code == "not_yet_sequenced":
                    continue
                told = f"{entry.id}: {error.public}"
                return fail("journal", told, "Treat it as an incident: run journal verify.")
            checked += 1
    return ok("journal", f"{checked} of the newest of {size} entries hold; journal verify does all")


def _lag(lag_s: float, *, running: bool) -> Finding:
    if lag_s <= _LAG_MAX_S:
        return ok("journal lag", f"{lag_s:.1f} s")
    told = f"entries wait for a checkpoint since {lag_s:.0f} s"
    if running:
        return fail("journal lag", told, "Restart the service; see its log for the sequencer.")
    return warn("journal lag", told, "They are signed at the next start: strongroom up")
