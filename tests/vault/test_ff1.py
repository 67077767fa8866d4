"""The legacy export: FF1 as NIST writes it, off by default, two custodians, entries first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import Keyring
from strongroom.keys.format_key import encrypt_digits
from strongroom.vault import CardVault, VaultDesk
from tests.keys.custodians import enrolled
from tests.keys.house import House, new_merchant
from tests.vault.callers import tokenize
from tests.vault.ff1_reference import ff1_encrypt

ME = "local:operator"
SAMPLES = [
    # NIST SP 800-38G, FF1 samples 1, 2 (AES-128), 4, 5 (AES-192), 7, 8 (AES-256); radix 10
    ("2B7E151628AED2A6ABF7158809CF4F3C", "", "0123456789", "2433477484"),
    ("2B7E151628AED2A6ABF7158809CF4F3C", "39383736353433323130", "0123456789", "6124200773"),
    ("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F", "", "0123456789", "2830668132"),
    ("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F", "39383736353433323130", "0123456789",
     "2496655549"),
    ("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94", "", "0123456789",
     "6657667009"),
    ("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94", "39383736353433323130",
     "0123456789", "1001623463"),
]  # fmt: skip


def ours(key: bytes, tweak: bytes, digits: str) -> str:
    return "".join(map(str, ff1_encrypt(key, tweak, [int(d) for d in digits], 10)))


@pytest.mark.parametrize(("key", "tweak", "plain", "wanted"), SAMPLES)
def test_samples_of_nist(key: str, tweak: str, plain: str, wanted: str) -> None:
    clear, bound = bytes.fromhex(key), bytes.fromhex(tweak)
    assert encrypt_digits(Secret(clear), bound, Secret(plain)) == wanted
    assert ours(clear, bound, plain) == wanted


@given(
    key=st.binary(min_size=32, max_size=32),
    tweak=st.binary(max_size=60),
    digits=st.text("0123456789", min_size=6, max_size=19),
)
def test_library_and_reference_agree(key: bytes, tweak: bytes, digits: str) -> None:
    made = encrypt_digits(Secret(key), tweak, Secret(digits))
    assert made == ours(key, tweak, digits)
    assert len(made) == len(digits)


def test_small_domains_are_refused() -> None:
    with pytest.raises(StrongroomError, match="key_not_usable"):
        encrypt_digits(Secret(os.urandom(32)), b"", Secret("12345"))


@pytest.fixture
async def keyring(installed: House) -> Keyring:
    return await installed.keyring()


def desk_of(installed: House, keyring: Keyring, *, allowed: bool = True) -> VaultDesk:
    return VaultDesk(
        installed.database,
        installed.committer,
        keyring,
        clock=installed.clock,
        ff1_export=allowed,
    )


async def export(desk: VaultDesk, merchant: str, out: Path, **more: Any) -> dict[str, str]:
    options = {"actor": ME, "approval": None, "tell": lambda done, total: None, **more}
    count = await desk.exporter.run(merchant, out, **options)
    head, *lines = out.read_text().splitlines()
    assert head == "token,ff1" and len(lines) == count
    assert out.stat().st_mode & 0o777 == 0o600
    return dict(line.split(",") for line in lines)


async def test_it_is_off(installed: House, keyring: Keyring, tmp_path: Path) -> None:
    desk = desk_of(installed, keyring, allowed=False)
    with pytest.raises(StrongroomError, match="export_off"):
        await export(desk, new_merchant(), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


async def test_saved_cards_of_one_merchant_under_a_key_of_its_own(
    vault: CardVault, installed: House, keyring: Keyring, tmp_path: Path
) -> None:
    merchant, other = new_merchant(), new_merchant()
    mine = [await tokenize(vault, merchant, saved=True) for _ in range(3)]
    await tokenize(vault, merchant)
    await tokenize(vault, other, saved=True)
    desk = desk_of(installed, keyring)
    found = await export(desk, merchant, tmp_path / "a.csv")
    assert set(found) == set(mine)
    assert len(set(found.values())) == 1, "the same card gives the same digits"
    (digits,) = set(found.values())
    assert len(digits) == 16 and digits != "4242424242424242"
    again = await export(
        desk_of(installed, await installed.keyring()), merchant, tmp_path / "b.csv"
    )
    assert again == found, "the key is kept"
    theirs = await export(desk, other, tmp_path / "c.csv")
    assert digits not in theirs.values(), "no correlation between merchants"
    entries = [
        msgspec.json.decode(e["body"]) for e in await installed.entries("vault:card:export_ff1")
    ]
    assert sorted(entries[0]["facts"]["tokens"].split()) == sorted(mine)
    with pytest.raises(StrongroomError, match="export_output_unusable"):
        await export(desk, merchant, tmp_path / "a.csv")


async def test_no_entry_no_line(
    vault: CardVault, installed: House, keyring: Keyring, tmp_path: Path
) -> None:
    merchant = new_merchant()
    await tokenize(vault, merchant, saved=True)
    await keyring.format_key(merchant)
    desk = desk_of(installed, keyring)

    async def passed(*_: object, **__: object) -> None:
        return None

    keyring.dual_control.redeem = passed  # type: ignore[method-assign]
    await installed.sql("REVOKE INSERT ON journal.entry FROM strongroom_vault")
    with pytest.raises(StrongroomError, match="storage_unavailable"):
        await export(desk, merchant, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "token,ff1\n"


async def test_two_custodians_approve_each_export(
    installed: House, keyring: Keyring, tmp_path: Path
) -> None:
    merchant, control = new_merchant(), keyring.dual_control
    alice, bob, _ = await enrolled(control, "alice", "bob", "carol")
    desk, out = desk_of(installed, keyring), tmp_path / "out.csv"
    with pytest.raises(StrongroomError, match="approval_required"):
        await export(desk, merchant, out)
    assert not out.exists()
    made = await control.request(
        "vault:export:ff1", {"merchant": merchant}, requester=ME, reason="legacy billing"
    )
    for one in (alice, bob):
        await one.approve(control, made, installed.clock.now())
    assert await export(desk, merchant, out, approval=made.id) == {}
    with pytest.raises(StrongroomError, match="approval_used"):
        await export(desk, merchant, tmp_path / "again.csv", approval=made.id)
