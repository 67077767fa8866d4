"""Commands that look after an installation, with the service stopped."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, refused, strongroom


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test installation with its database up, as a process beside the commands keeps it."""
    data_dir = tmp_path_factory.mktemp("cli") / "data"
    run = strongroom("init", "--mode", "test", "--json", data_dir=data_dir)
    assert run.code == 0, run.err
    assert run.json["mode"] == "test" and run.json["migrations"] > 5
    with EmbeddedPostgres(data_dir):
        yield data_dir


@pytest.fixture(scope="module")
def merchant(made: Path) -> str:
    run = asked("merchants", "create", "Shop", data_dir=made)
    name: str = run.json["id"]
    return name


def asked(*words: object, data_dir: Path) -> Run:
    run = strongroom(*words, "--json", data_dir=data_dir)
    assert run.code == 0, (run.out, run.err)
    return run


def test_init_leaves_private_files(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    for name in ("strongroom.toml", "root.json", "root.key", "sandbox.secret"):
        assert stat.S_IMODE((made / name).stat().st_mode) == 0o600, name


def test_init_twice_is_refused(made: Path) -> None:
    root = (made / "root.json").read_bytes()
    line = refused(strongroom("init", "--mode", "test", data_dir=made), 1)
    assert "(already_initialized)" in line
    assert (made / "root.json").read_bytes() == root


def test_init_refuses_a_passphrase_that_others_can_read(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o640)
    line = refused(
        strongroom(
            "init", "--mode", "test", "--passphrase-file", passphrase, data_dir=tmp_path / "d"
        ),
        1,
    )
    assert f"chmod 600 {passphrase}" in line
    assert not (tmp_path / "d").exists()


def test_a_passphrase_seals_a_live_installation(tmp_path: Path) -> None:
    words = "correct horse battery staple"
    for name, text in (("passphrase", words), ("gateway", "sk_live_made_up")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    data_dir = tmp_path / "d"
    run = strongroom(
        "init",
        "--mode=live",
        f"--passphrase-file={tmp_path / 'passphrase'}",
        "--gateway-connector=stripe",
        f"--gateway-secret-file={tmp_path / 'gateway'}",
        data_dir=data_dir,
    )
    assert run.code == 0, run.err
    assert not (data_dir / "root.key").exists()
    assert words not in run.out + "".join(p.read_text() for p in data_dir.glob("*.*"))
    line = refused(strongroom("run", "--once", data_dir=data_dir), 1)
    assert "(live_mode)" in line
    (tmp_path / "passphrase").write_text("another passphrase, also long\n")
    refused(strongroom("keys", "list", data_dir=data_dir), 1)


def test_merchants(made: Path, merchant: str) -> None:
    found = asked("merchants", "list", data_dir=made).json
    assert merchant in [m["id"] for m in found]
    shown = strongroom("merchants", "list", data_dir=made).out
    assert merchant in shown


def test_api_keys_are_shown_once(made: Path, merchant: str) -> None:
    words = ("api-keys", "create", f"--merchant={merchant}", "--owner=Ada")
    view = asked(*words, data_dir=made).json
    key = view["key"]
    assert key.startswith("sr_test_sk_")
    shown = strongroom("api-keys", "list", f"--merchant={merchant}", data_dir=made).out
    listed = asked("api-keys", "list", f"--merchant={merchant}", data_dir=made)
    assert view["id"] in shown and view["id"] in [k["id"] for k in listed.json]
    for text in (shown, listed.out, strongroom("keys", "list", data_dir=made).out):
        assert key not in text and key[16:] not in text
    _sign(made)
    asked("journal", "export", made / "all.slice", data_dir=made)
    assert key not in (made / "all.slice").read_text()


def test_an_api_key_can_go_into_a_file(made: Path, merchant: str, tmp_path: Path) -> None:
    out = tmp_path / "shop.key"
    words = ("api-keys", "create", f"--merchant={merchant}", "--owner=Ada", f"--out={out}")
    run = asked(*words, data_dir=made)
    key = out.read_text().strip()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert key.startswith("sr_test_sk_") and key not in run.out + run.err
    refused(strongroom(*words, data_dir=made), 2)
    assert out.read_text().strip() == key


def test_a_restricted_key_needs_known_scopes(made: Path, merchant: str) -> None:
    words = ("api-keys", "create", f"--merchant={merchant}", "--owner=Ada", "--kind=restricted")
    assert asked(*words, "--scope=payment:read", data_dir=made).json["scopes"] == ["payment:read"]
    refused(strongroom(*words, "--scope=nothing:known", data_dir=made), 1)


def test_revoked_is_revoked(made: Path, merchant: str) -> None:
    of = f"--merchant={merchant}"
    key = asked("api-keys", "create", of, "--owner=Ada", data_dir=made).json["id"]
    view = asked("api-keys", "revoke", key, of, "--reason=test", data_dir=made).json
    assert view["status"] == "revoked"
    line = refused(
        strongroom("api-keys", "revoke", key.replace("key_", "key_0")[:30], of, "--reason=x",
                   data_dir=made),
        1,
    )  # fmt: skip
    assert "invalid_id" in line or "api_key_not_found" in line


def test_operators_keys_belong_to_no_merchant(made: Path, merchant: str) -> None:
    view = asked("api-keys", "create", "--owner=Ada", "--kind=operator-read", data_dir=made).json
    assert view["role"] == "operator-read" and view["merchant"] is None and view["expires_at"]
    refused(
        strongroom("api-keys", "create", "--owner=Ada", "--kind=operator-read",
                   f"--merchant={merchant}", data_dir=made),
        2,
    )  # fmt: skip


def test_keys_list_tells_use_and_no_material(made: Path) -> None:
    found = asked("keys", "list", data_dir=made).json
    assert {"kek", "service"} <= {key["kind"] for key in found}
    assert not {name for key in found for name in key} & {"wrapped", "key", "secret"}


def test_the_schema_is_current_and_the_books_balance(made: Path) -> None:
    assert asked("migrate", "--check", data_dir=made).json == {"missing": []}
    assert asked("migrate", data_dir=made).json == {"applied": []}
    assert asked("ledger", "verify", data_dir=made).json == {
        "ok": True, "sum_minor": 0, "drift": [],
    }  # fmt: skip


def test_the_data_map_is_whole(made: Path) -> None:
    columns = asked("data-map", data_dir=made).json
    assert "cardholder" in {c["data_class"] for c in columns if c["schema"] == "vault"}
    assert not [c for c in columns if c["data_class"] is None]


def test_the_journal_is_exported_and_checked_without_the_store(
    made: Path, merchant: str, tmp_path: Path
) -> None:
    _sign(made)
    key = strongroom("journal", "key", data_dir=made).out
    (tmp_path / "key").write_text(key)
    slice_file = tmp_path / "all.slice"
    told = asked("journal", "export", slice_file, data_dir=made).json
    assert told["entries"] > 3
    check = ("journal", "verify", slice_file, f"--key-file={tmp_path / 'key'}", "--json")
    assert strongroom(*check).json["ok"] is True

    lines = slice_file.read_text().splitlines()
    changed = json.loads(lines[2])
    changed["body"] = changed["body"].replace("success", "succeSs").replace("key", "kay")
    lines[2] = json.dumps(changed)
    slice_file.write_text("\n".join(lines) + "\n")
    run = strongroom(*check)
    assert run.code == 1
    assert "entry_changed" in [p["code"] for p in run.json["problems"]]
    assert "DOES NOT HOLD" in strongroom(*check[:-1]).out


def test_an_export_is_an_entry_of_the_journal(made: Path, tmp_path: Path) -> None:
    _sign(made)
    asked("journal", "export", tmp_path / "one", data_dir=made)
    _sign(made)
    asked("journal", "export", tmp_path / "two", data_dir=made)
    assert "journal:slice:export" in (tmp_path / "two").read_text()


def test_the_live_store_is_checked(made: Path, merchant: str) -> None:
    _sign(made)
    report = asked("journal", "verify", data_dir=made).json
    assert report["ok"] is True and report["entries"] > 3
    wrong = strongroom("journal", "export", made / "x", "--from=yesterday", data_dir=made)
    assert "--from" in refused(wrong, 2)


def test_a_rollback_is_accepted_with_a_reason_that_is_kept(made: Path, tmp_path: Path) -> None:
    _sign(made)
    words = ("journal", "accept-rollback", "--reason=disk lost, backup of Monday")
    kept = Path(asked(*words, data_dir=made).json["kept"])
    assert "backup of Monday" in kept.read_text()
    assert asked(*words, data_dir=made).json["kept"] is None
    _sign(made)
    asked("journal", "export", tmp_path / "all", data_dir=made)
    assert "journal:witness:override" in (tmp_path / "all").read_text()
    kept.unlink()


def _sign(data_dir: Path) -> None:
    """Let a short-lived service put what was committed under a checkpoint."""
    import asyncio

    from strongroom.app import House, load

    async def step() -> None:
        async with House(load(data_dir, {})) as house:
            await house.sequencer.step()
            await house.sequencer.close()

    asyncio.run(step())


def test_a_copy_without_its_database_secrets_is_3(made: Path, tmp_path: Path) -> None:
    for name in ("strongroom.toml", "root.json", "root.key"):
        shutil.copy(made / name, tmp_path / name)
    (tmp_path / "postgres").write_text("in the way")
    refused(strongroom("keys", "list", data_dir=tmp_path), 3)
