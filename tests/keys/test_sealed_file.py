"""The sealed root file: who may read it, what opens it, what it refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from uuid import UUID

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import SealedFileRoot

HERE = UUID("018f0000-0000-7000-8000-000000000001")
PHRASE = Secret("correct horse battery staple")
AAD = b"aad"


def make(tmp: Path, **options: object) -> SealedFileRoot:
    given = {"mode": "test", "installation": HERE, "key_file": tmp / "key", **options}
    return SealedFileRoot.create(tmp / "root", **given)  # type: ignore[arg-type]


def reopen(tmp: Path, **options: object) -> SealedFileRoot:
    given = {"mode": "test", "installation": HERE, "key_file": tmp / "key", **options}
    return SealedFileRoot.open(tmp / "root", **given)  # type: ignore[arg-type]


async def test_a_passphrase_opens_what_it_sealed(tmp_path: Path) -> None:
    first = make(tmp_path, key_file=None, passphrase=PHRASE)
    wrapped = await first.wrap(Secret(b"k" * 32), aad=AAD)
    again = reopen(tmp_path, key_file=None, passphrase=PHRASE)
    assert (await again.unwrap(wrapped, aad=AAD)).reveal() == b"k" * 32
    assert again.id == first.id
    text = json.loads((tmp_path / "root").read_text())
    assert text["unlock"] | {"salt": ""} == {
        "name": "argon2id",
        "memory_kib": 65536,
        "passes": 3,
        "lanes": 4,
        "salt": "",
    }


async def test_a_key_file_opens_what_it_sealed(tmp_path: Path) -> None:
    wrapped = await make(tmp_path).wrap(Secret(b"k" * 32), aad=AAD)
    assert (await reopen(tmp_path).unwrap(wrapped, aad=AAD)).reveal() == b"k" * 32
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await reopen(tmp_path).unwrap(wrapped, aad=b"other")


def test_a_wrong_passphrase_is_one_clear_line_without_it(tmp_path: Path) -> None:
    make(tmp_path, key_file=None, passphrase=PHRASE)
    wrong = Secret("wrong horse battery staple")
    with pytest.raises(StrongroomError) as failed:
        reopen(tmp_path, key_file=None, passphrase=wrong)
    assert failed.value.code == "root_not_opened"
    assert "\n" not in str(failed.value)
    assert "horse" not in str(failed.value)
    assert failed.value.__cause__ is None and failed.value.__suppress_context__


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StrongroomError, match="passphrase_too_short"):
        make(tmp_path, key_file=None, passphrase=Secret("fourteen chars"))
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("given", [{"key_file": None}, {"passphrase": PHRASE}])
def test_exactly_one_way_to_open(tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises(StrongroomError, match="root_unlock_method"):
        make(tmp_path, **given)


def test_files_are_made_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(tmp_path)
    finally:
        os.umask(before)
    for name in ("root", "key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "root"]


@pytest.mark.parametrize("name", ["root", "key"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    make(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(StrongroomError, match="root_file_unsafe") as failed:
        reopen(tmp_path)
    assert "chmod 600" in failed.value.public


@pytest.mark.parametrize("name", ["root", "key"])
def test_a_link_is_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StrongroomError, match="root_file_unsafe"):
        reopen(tmp_path)


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root", 0o600)
    with pytest.raises(StrongroomError, match="root_file_unsafe"):
        reopen(tmp_path)


def test_a_root_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path)
    before = (tmp_path / "root").read_bytes()
    with pytest.raises(StrongroomError, match="root_file_exists"):
        make(tmp_path)
    assert (tmp_path / "root").read_bytes() == before


def test_a_file_made_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process wins between our look and our link: it stays, nothing is left behind."""
    (tmp_path / "root").write_text("theirs")
    monkeypatch.setattr("os.path.lexists", lambda path: str(path).endswith("/key"))
    (tmp_path / "key").unlink(missing_ok=True)
    monkeypatch.setattr("os.path.lexists", lambda _: False)
    with pytest.raises(StrongroomError, match="root_file_exists"):
        make(tmp_path)
    assert (tmp_path / "root").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "root"]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(StrongroomError, match="root_file_missing"):
        reopen(tmp_path)


@pytest.mark.parametrize(("option", "value"), [("mode", "live"), ("installation", UUID(int=1))])
def test_another_world_is_refused(tmp_path: Path, option: str, value: object) -> None:
    make(tmp_path)
    with pytest.raises(StrongroomError, match="root_other_world"):
        reopen(tmp_path, **{option: value})


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"memory_kib":65536', '"memory_kib":8', "root_file_damaged"),
        ('"passes":3', '"passes":1', "root_file_damaged"),
        ('"lanes":4', '"lanes":1', "root_file_damaged"),
        ('"created_at":"2', '"created_at":"3', "root_not_opened"),
        ('"format":"strongroom-root/1"', '"format":"strongroom-root/2"', "root_file_damaged"),
        ('"wrapped":"', '"wrapped":"AAAA', "root_not_opened"),
        ('"wrapped":"', '"more":1,"wrapped":"', "root_file_damaged"),
    ],
)
def test_a_changed_file_does_not_open(tmp_path: Path, old: str, new: str, code: str) -> None:
    make(tmp_path, key_file=None, passphrase=PHRASE)
    path = tmp_path / "root"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StrongroomError) as failed:
        reopen(tmp_path, key_file=None, passphrase=PHRASE)
    assert failed.value.code == code


def test_changing_mode_and_installation_in_the_file_does_not_help(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "root"
    path.write_text(path.read_text().replace('"mode":"test"', '"mode":"live"'))
    with pytest.raises(StrongroomError, match=r"root_file_damaged|root_not_opened"):
        reopen(tmp_path, mode="live")


@pytest.mark.parametrize("text", ["", "strongroom-root-key/1 AAAA", "x" * 5000, "other/1 AAAA"])
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "key").write_text(text)
    with pytest.raises(StrongroomError, match="root_file_damaged"):
        reopen(tmp_path)


def test_nothing_of_a_root_prints(tmp_path: Path) -> None:
    root = make(tmp_path)
    key = (tmp_path / "key").read_text().split()[1]
    assert key not in repr(root) + str(vars(type(root)))
