"""Custodians and approvals as people use them: own machines, own keys, files between them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, refused, strongroom

pytestmark = [pytest.mark.slow(25), pytest.mark.timeout(300)]

PAYLOAD = '{"key":"dek_1","version":2}'


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("custody")
    for name in ("alice", "bob", "carol"):
        (folder / f"{name}.pass").write_text(f"{name} walks to the old harbor\n")
        (folder / f"{name}.pass").chmod(0o600)
    return folder


def with_key(places: Path, name: str) -> list[object]:
    return ["--key-file", places / name, "--passphrase-file", places / f"{name}.pass"]


def fine(*words: object, data_dir: Path | None = None) -> Run:
    run = strongroom(*words, "--json", data_dir=data_dir)
    assert run.code == 0, (run.out, run.err)
    return run


def test_from_creation_to_a_used_approval(places: Path, tmp_path: Path) -> None:
    for name in ("alice", "bob", "carol"):
        made = fine("custodian", "create", "--name", name, "--acknowledge", *with_key(places, name))
        assert made.json["public_file"] == str(places / f"{name}.pub")
        assert stat.S_IMODE((places / name).stat().st_mode) == 0o600
    again = ["custodian", "create", "--name", "alice", "--acknowledge", *with_key(places, "alice")]
    assert "exists already" in refused(strongroom(*again), 2)
    data_dir = tmp_path / "data"
    fine("init", "--mode", "test", data_dir=data_dir)
    with EmbeddedPostgres(data_dir):
        for name in ("alice", "bob", "carol"):
            fine("custodian", "enroll", places / f"{name}.pub", data_dir=data_dir)
        listed = fine("custodian", "list", data_dir=data_dir).json
        assert [c["name"] for c in listed] == ["alice", "bob", "carol"]
        made = fine(
            "approvals", "request", "keys:destroy", "--payload", PAYLOAD, "--reason", "leaked",
            "--requester", "key_1", data_dir=data_dir,
        )  # fmt: skip
        request = made.json["id"]
        wrong = ["--key-file", places / "alice", "--passphrase-file", places / "bob.pass"]
        line = refused(strongroom("approvals", "approve", request, *wrong, data_dir=data_dir), 1)
        assert "(custodian_not_opened)" in line and "harbor" not in line
        fine("approvals", "approve", request, *with_key(places, "alice"), data_dir=data_dir)
        sign_elsewhere(places, tmp_path, made, decision="approve")
        submitted = fine("approvals", "submit", tmp_path / "statement", data_dir=data_dir)
        assert submitted.json["state"] == "approved" and len(submitted.json["approved_by"]) == 2
        line = refused(
            strongroom("approvals", "submit", tmp_path / "statement", data_dir=data_dir), 1
        )
        assert "(approval_repeated)" in line
        fine("approvals", "reject", request, *with_key(places, "carol"), data_dir=data_dir)
        shown = fine("approvals", "list", data_dir=data_dir).json
        assert [a["state"] for a in shown] == ["rejected"]
        fine("custodian", "revoke", "carol", "--reason", "left", data_dir=data_dir)
        listed = fine("custodian", "list", data_dir=data_dir).json
        assert [c["revoked_at"] is None for c in listed] == [True, True, False]


def sign_elsewhere(places: Path, tmp_path: Path, shown: Run, *, decision: str) -> None:
    """What Bob does on his own machine: he has the request's file, no installation."""
    (tmp_path / "request.json").write_text(shown.out)
    fine(
        "approvals", "sign", tmp_path / "request.json", "--decision", decision,
        "--out", tmp_path / "statement", *with_key(places, "bob"),
    )  # fmt: skip
    told = json.loads(json.loads((tmp_path / "statement").read_text())["statement"])
    assert told["decision"] == decision and told["requester"] == "key_1"


def test_create_refuses_what_is_weak(places: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("too short\n")
    (tmp_path / "short").chmod(0o600)
    create = ["custodian", "create", "--acknowledge", "--key-file", tmp_path / "dave"]
    short = ["--name", "dave", "--passphrase-file", tmp_path / "short"]
    assert "(passphrase_too_short)" in refused(strongroom(*create, *short), 1)
    name = ["--name", "Dave!", "--passphrase-file", places / "alice.pass"]
    assert "(custodian_name_invalid)" in refused(strongroom(*create, *name), 1)
    assert not (tmp_path / "dave").exists()


def test_files_that_are_none_of_ours_are_refused(places: Path, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text('{"a": 1}')
    (tmp_path / "junk").chmod(0o600)
    key = ["--key-file", tmp_path / "junk", "--passphrase-file", places / "alice.pass"]
    out = ["--out", tmp_path / "statement"]
    line = refused(strongroom("approvals", "sign", tmp_path / "junk", *key, *out), 1)
    assert "(approval_invalid)" in line
    line = refused(
        strongroom("custodian", "enroll", tmp_path / "junk", data_dir=tmp_path / "nowhere"), 1
    )
    assert "(custodian_file_invalid)" in line
