"""Cards of another vault come in by file: checked like the API's, once each, killed or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.keys import Keyring
from strongroom.storage import Change
from strongroom.vault import CardVault, ImportFiles, VaultDesk
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS
from strongroom.vault.importing import ImportState
from tests.keys.custodians import enrolled
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy

HEADER = "external_id,number,exp_month,exp_year,holder_name"
NUMBERS = sorted(PUBLISHED_TEST_NUMBERS)
ME = "local:operator"


class Killed(Exception):
    """The process is gone."""


@pytest.fixture
async def keyring(installed: House) -> Keyring:
    return await installed.keyring()


@pytest.fixture
def desk(installed: House, keyring: Keyring) -> VaultDesk:
    return VaultDesk(installed.database, installed.committer, keyring, clock=installed.clock)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def files(tmp_path: Path, text: str, format: Any = "csv") -> ImportFiles:
    return ImportFiles(
        source=write(tmp_path / f"cards.{format}", text),
        format=format,
        tokens=tmp_path / "tokens.csv",
        rejects=tmp_path / "rejects.csv",
    )


def rows(count: int) -> str:
    made = (f"c{n},{NUMBERS[n % len(NUMBERS)]},12,2031,Holder {n % 7}" for n in range(count))
    return "\n".join([HEADER, *made]) + "\n"


async def run(
    desk: VaultDesk, merchant: str, given: ImportFiles, name: str = "cards", **more: Any
) -> ImportState:
    options = {"actor": ME, "approval": None, "tell": lambda done, size: None, **more}
    return await desk.imports.run(merchant, name, given, **options)


def mapping(given: ImportFiles) -> dict[str, str]:
    head, *lines = given.tokens.read_text().splitlines()
    assert head == "external_id,token"
    found = dict(line.split(",") for line in lines)
    assert len(found) == len(lines), "an external id stands there once"
    return found


async def numbers(vault: CardVault, merchant: str, tokens: list[str]) -> list[str]:
    found = []
    for n, token in enumerate(tokens):
        pan = await vault.reveal(
            merchant,
            token,
            principal=Operator(f"op_{n}"),
            purpose="gateway_migration",
            authorize=Policy(),
        )
        found.append(pan.reveal())
    return found


async def test_cards_come_in_and_each_has_its_token(
    vault: CardVault, desk: VaultDesk, installed: House, tmp_path: Path
) -> None:
    merchant, given, told = new_merchant(), files(tmp_path, rows(1203)), []
    done = await run(desk, merchant, given, tell=lambda at, size: told.append((at, size)))
    assert (done.imported, done.rejected, done.done_at is not None) == (1203, 0, True)
    found = mapping(given)
    assert set(found) == {f"c{n}" for n in range(1203)}
    asked = [0, 499, 500, 1202]
    seen = await numbers(vault, merchant, [found[f"c{n}"] for n in asked])
    assert seen == [NUMBERS[n % len(NUMBERS)] for n in asked]
    assert (await vault.describe(merchant, found["c0"])).saved
    assert given.tokens.stat().st_mode & 0o777 == given.rejects.stat().st_mode & 0o777 == 0o600
    assert told[-1] == (given.source.stat().st_size,) * 2
    named = [
        token
        for entry in await installed.entries("vault:card:tokenize_batch")
        for token in msgspec.json.decode(entry["body"])["facts"]["tokens"].split()
    ]
    assert sorted(named) == sorted(found.values())


async def test_an_import_that_ended_is_not_done_again(desk: VaultDesk, tmp_path: Path) -> None:
    merchant, given = new_merchant(), files(tmp_path, rows(10))
    first = await run(desk, merchant, given)
    before = given.tokens.read_bytes()
    again = await run(desk, merchant, given)
    assert (again.id, again.imported) == (first.id, 10)
    assert given.tokens.read_bytes() == before


@pytest.mark.parametrize("dies_at", range(1, 8))
@pytest.mark.parametrize("after_commit", [False, True])
async def test_an_import_killed_anywhere_goes_on_where_it_was(
    vault: CardVault,
    desk: VaultDesk,
    installed: House,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies_at: int,
    after_commit: bool,
) -> None:
    """The process ends before or after its n-th commit: nothing twice, nothing missing."""
    merchant, given = new_merchant(), files(tmp_path, rows(2100))
    submit, commits = installed.committer.submit, 0

    async def dying(change: Change) -> Any:
        nonlocal commits
        commits += 1
        if commits == dies_at and not after_commit:
            raise Killed
        verdict = await submit(change)
        if commits == dies_at:
            raise Killed
        return verdict

    with monkeypatch.context() as patch:
        patch.setattr(installed.committer, "submit", dying)
        with pytest.raises(Killed):
            await run(desk, merchant, given)
    if not given.tokens.exists() or not _ready(await _job(installed)):
        given.tokens.unlink(missing_ok=True)  # what the message asks for, see the next test
        given.rejects.unlink(missing_ok=True)
    done = await run(desk, merchant, given)
    assert (done.imported, done.rejected) == (2100, 0)
    found = mapping(given)
    assert set(found) == {f"c{n}" for n in range(2100)}
    (row,) = await installed.sql("SELECT count(*) AS n FROM vault.card")
    assert row["n"] == 2100
    assert await vault.describe(merchant, found["c2099"])


async def _job(installed: House) -> Any:
    found = await installed.sql("SELECT tokens_bytes FROM vault.import_job")
    return found[0] if found else None


def _ready(job: Any) -> bool:
    return job is not None and job["tokens_bytes"] > 0


async def test_results_of_others_are_never_written_over(desk: VaultDesk, tmp_path: Path) -> None:
    merchant, given = new_merchant(), files(tmp_path, rows(3))
    write(given.tokens, "external_id,token\nprecious,tok\n")
    with pytest.raises(StrongroomError, match="import_output_unusable"):
        await run(desk, merchant, given)
    assert "precious" in given.tokens.read_text()
    given.tokens.unlink()
    assert (await run(desk, merchant, given)).imported == 3


async def test_two_programs_with_one_import(
    desk: VaultDesk, installed: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one moved it on meanwhile: this one stops instead of writing a chunk twice."""
    merchant, given = new_merchant(), files(tmp_path, rows(1500))
    submit, commits = installed.committer.submit, 0

    async def overtaken(change: Change) -> Any:
        nonlocal commits
        commits += 1
        if commits > 4:
            await installed.sql("UPDATE vault.import_job SET version = version + 1")
        return await submit(change)

    monkeypatch.setattr(installed.committer, "submit", overtaken)
    with pytest.raises(StrongroomError, match="import_running"):
        await run(desk, merchant, given)


async def test_refused_lines_are_told_by_number_code_and_mask(
    desk: VaultDesk, installed: House, tmp_path: Path
) -> None:
    lines = {
        "ok1,4242424242424242,12,2031,": None,
        "bad-luhn,4242424242424241,12,2031,": ("incorrect_number", "424242******4241"),
        "live,4539148803436467,12,2031,": ("live_card_in_test_mode", "453914******6467"),
        "old,4242424242424242,12,2020,": ("expired_card", "424242******4242"),
        "month,4242424242424242,13,2031,": ("invalid_expiry_month", "424242******4242"),
        "year,4242424242424242,12,31,": ("invalid_expiry_year", "424242******4242"),
        "text,4242424242424242,xx,2031,": ("invalid_expiry_month", ""),
        "4242424242424242,4242424242424242,12,2031,": (
            "card_number_in_text", "424242******4242",
        ),
        "bad id,4242424242424242,12,2031,": ("invalid_parameter", "424242******4242"),
        "spaced,4242 4242 4242 4242,12,2031,": ("incorrect_number", ""),
        "few,4242424242424242,12": ("malformed_line", ""),
        'quote,"4242424242424242,12,2031,': ("malformed_line", ""),
        "name,4242424242424242,12,2031," + "A" * 101: (
            "invalid_holder_name", "424242******4242",
        ),
        "long," + "4" * 3000 + ",12,2031,": ("line_too_long", ""),
        "": None,
        "ok2,4242424242424242,12,2031,Ada": None,
    }  # fmt: skip
    given = files(tmp_path, "\n".join([HEADER, *lines]))
    done = await run(desk, merchant := new_merchant(), given)
    wanted = [
        f"{number},{told[0]},{told[1]}"
        for number, told in enumerate(lines.values(), 2)
        if told is not None
    ]
    assert given.rejects.read_text().splitlines() == ["line,code,number", *wanted]
    assert (done.imported, done.rejected) == (2, len(wanted))
    assert set(mapping(given)) == {"ok1", "ok2"}
    for text in (given.rejects.read_text(), given.tokens.read_text()):
        assert not any(number in text for number in ("4242424242424242", "4539148803436467"))
    bodies = await installed.sql("SELECT convert_from(body, 'UTF8') AS t FROM journal.entry")
    assert not any("4242424242424242" in row["t"] for row in bodies)
    assert merchant


async def test_lines_of_json(vault: CardVault, desk: VaultDesk, tmp_path: Path) -> None:
    card = {"external_id": "a", "number": "4242424242424242", "exp_month": 12, "exp_year": 2031}
    lines = [
        json.dumps({**card, "holder_name": "Zoë"}),
        json.dumps({**card, "exp_month": "12"}),
        json.dumps({**card, "cvc": "123"}),
        json.dumps({**card, "number": 4242424242424242}),
        "[]",
        '{"external_id": "deep", "number": ' + "[" * 2_000,
        json.dumps({**card, "external_id": "b", "holder_name": None}),
    ]
    given = files(tmp_path, "\n".join(lines), "jsonl")
    merchant = new_merchant()
    done = await run(desk, merchant, given)
    assert (done.imported, done.rejected) == (2, 5)
    assert given.rejects.read_text().splitlines()[1:] == [
        f"{n},malformed_line," for n in (2, 3, 4, 5, 6)
    ]
    assert await numbers(vault, merchant, [mapping(given)["a"]]) == ["4242424242424242"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
async def test_a_file_that_others_can_read_is_refused(
    desk: VaultDesk, tmp_path: Path, mode: int
) -> None:
    given = files(tmp_path, rows(1))
    given.source.chmod(mode)
    with pytest.raises(StrongroomError, match="import_file_unusable"):
        await run(desk, new_merchant(), given)


@pytest.mark.parametrize("head", ["", "number,exp_month", HEADER + ",cvc", HEADER + ",number"])
async def test_columns_are_named(desk: VaultDesk, tmp_path: Path, head: str) -> None:
    given = files(tmp_path, f"{head}\nx,4242424242424242,12,2031,\n")
    with pytest.raises(StrongroomError, match="import_file_unusable"):
        await run(desk, new_merchant(), given)


async def test_a_name_stands_for_one_file(desk: VaultDesk, tmp_path: Path) -> None:
    merchant = new_merchant()
    await run(desk, merchant, files(tmp_path, rows(2)))
    with pytest.raises(StrongroomError, match="import_file_changed"):
        await run(desk, merchant, files(tmp_path, rows(3)))
    for name in ("", "a b", "4242424242424242", "x" * 61):
        with pytest.raises(StrongroomError, match="invalid_parameter"):
            await run(desk, merchant, files(tmp_path, rows(2)), name)


async def test_an_import_begins_with_two_custodians_and_goes_on_without(
    desk: VaultDesk, keyring: Keyring, installed: House, tmp_path: Path
) -> None:
    merchant, control = new_merchant(), keyring.dual_control
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    given = files(tmp_path, rows(5))
    with pytest.raises(StrongroomError, match="approval_required") as refused:
        await run(desk, merchant, given)
    told = refused.value.public
    payload = json.loads(told[told.index("{") : told.rindex("}") + 1])
    assert payload["merchant"] == merchant and payload["bytes"] == given.source.stat().st_size
    made = await control.request("vault:import", payload, requester=ME, reason="move")
    for one in (alice, bob):
        await one.approve(control, made, installed.clock.now())
    assert (await run(desk, merchant, given, approval=made.id)).imported == 5
    assert (await run(desk, merchant, given)).imported == 5
