"""A root of shares from the first ceremony to the next set, through the commands people use."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import PROGRAM, Run, environment, processes, refused, strongroom
from tests.cli.test_running import wait_for
from tests.support.stack import http

pytestmark = pytest.mark.slow(70)

NAMES = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three custodians' own folders in one: key, public card, passphrase."""
    folder = tmp_path_factory.mktemp("people")
    for name in (*NAMES, "dave"):
        passphrase = folder / f"{name}.pass"
        passphrase.write_text(f"{name} keeps the lighthouse\n")
        passphrase.chmod(0o600)
        fine("custodian", "create", "--name", name, "--acknowledge", *key_of(folder, name))
    return folder


def key_of(folder: Path, name: str) -> list[object]:
    return ["--key-file", folder / name, "--passphrase-file", folder / f"{name}.pass"]


def part(folder: Path, name: str, shares: Path) -> list[object]:
    return ["--share-file", shares / f"{name}.share", *key_of(folder, name)]


def fine(*words: object, data_dir: Path | None = None) -> Run:
    run = strongroom(*words, "--json", data_dir=data_dir)
    assert run.code == 0, (run.out, run.err)
    return run


@pytest.fixture(scope="module")
def made(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test installation whose root any two of three custodians open; never started yet."""
    base = tmp_path_factory.mktemp("shared")
    fine("init", "--mode", "test", data_dir=base / "data")
    cards = [word for name in NAMES for word in ("--custodian", people / f"{name}.pub")]
    told = fine(
        "ceremony", "init", "--threshold", "2", *cards, "--out-dir", base / "shares",
        data_dir=base / "data",
    ).json  # fmt: skip
    assert told["threshold"] == 2 and set(told["shares"]) == set(NAMES)
    for path in told["shares"].values():
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    return base


class Up:
    """`strongroom up` in the background."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self.data_dir, self.port = data_dir, free_port()
        self.ready, self.log = folder / "ready.json", folder / "up.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "up", f"--data-dir={data_dir}", f"--port={self.port}",
                 f"--ready-file={self.ready}"],
                stdout=log, stderr=log, env=environment(),
            )  # fmt: skip
        wait_for(lambda: "Session" in self.log.read_text(), "nothing waits for shares")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fingerprint(self) -> str:
        return self.log.read_text().split("Session ")[1].split(",")[0]


@contextmanager
def up(data_dir: Path, folder: Path) -> Iterator[Up]:
    folder.mkdir()
    service = Up(data_dir, folder)
    try:
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(timeout=30)
        assert not (data_dir / "unseal.sock").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def health(service: Up) -> tuple[int, dict[str, Any]]:
    answer = http("GET", service.url + "/health/ready")
    return answer.status, answer.json


def test_sealed_until_two_custodians_came(people: Path, made: Path, tmp_path: Path) -> None:
    data_dir, shares = made / "data", made / "shares"
    with up(data_dir, tmp_path / "up") as service:
        assert health(service) == (
            503,
            {"status": "sealed", "checks": [{"name": "root", "ok": False, "code": "sealed"}]},
        )
        assert http("GET", service.url + "/health/live").status == 200
        assert http("POST", service.url + "/v1/payments").json["code"] == "sealed"
        assert stat.S_IMODE((data_dir / "unseal.sock").stat().st_mode) == 0o600
        line = refused(strongroom("merchants", "list", data_dir=data_dir), 3)
        assert "(sealed)" in line

        seen = ["--fingerprint", service.fingerprint()]
        alice = part(people, "alice", shares)
        wrong = ["--fingerprint", "0000-0000-0000-0000-0000"]
        line = refused(strongroom("ceremony", "unseal", *alice, *wrong, data_dir=data_dir), 1)
        assert "(unseal_other_session)" in line
        told = fine("ceremony", "unseal", *alice, *seen, data_dir=data_dir).json
        assert told["missing"] == 1
        line = refused(strongroom("ceremony", "unseal", *alice, *seen, data_dir=data_dir), 1)
        assert "(share_repeated)" in line
        stolen = ["--share-file", shares / "carol.share", *key_of(people, "bob")]
        line = refused(strongroom("ceremony", "unseal", *stolen, *seen, data_dir=data_dir), 1)
        assert "(share_foreign)" in line
        spoil = json.loads((shares / "carol.share").read_text())
        (tmp_path / "spoiled").write_text(json.dumps({**spoil, "index": 2}))
        spoiled = ["--share-file", tmp_path / "spoiled", *key_of(people, "carol")]
        line = refused(strongroom("ceremony", "unseal", *spoiled, *seen, data_dir=data_dir), 1)
        assert "(share_foreign)" in line
        assert health(service)[0] == 503

        bob_elsewhere(people, shares, data_dir, tmp_path, seen)
        wait_for(service.ready.exists, "not ready after two shares")
        assert health(service)[0] == 200
        fine("merchants", "list", data_dir=data_dir)
        line = refused(strongroom("ceremony", "submit", tmp_path / "answer", data_dir=data_dir), 1)
        assert "(unseal_not_waiting)" in line

        servers = [p for p, c in processes(data_dir).items() if "app.serving" in c]
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: any(
                p not in servers for p, c in processes(data_dir).items() if "app.serving" in c
            ),
            "the server did not come back",
        )
        wait_for(lambda: answers(service), "the new server has no keys")
        nothing_secret_is_shown(service, data_dir)


def bob_elsewhere(
    people: Path, shares: Path, data_dir: Path, tmp_path: Path, seen: list[str]
) -> None:
    """Bob works on his own machine: the session goes to him, his answer comes back."""
    session = tmp_path / "session.json"
    session.write_text(fine("ceremony", "session", data_dir=data_dir).out)
    bob = part(people, "bob", shares)
    fine("ceremony", "answer", session, *bob, *seen, "--out", tmp_path / "answer")
    told = fine("ceremony", "submit", tmp_path / "answer", data_dir=data_dir).json
    assert told["missing"] == 0


def answers(service: Up) -> bool:
    try:
        return health(service)[0] == 200
    except OSError:
        return False


def nothing_secret_is_shown(service: Up, data_dir: Path) -> None:
    """Arguments, environment and output of every process: a descriptor's number and no key."""
    for pid in processes(data_dir):
        environ = Path(f"/proc/{pid}/environ")
        try:
            text = environ.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue  # hardened: not even its own user may read it
        for pair in text.split("\0"):
            if pair.startswith("STRONGROOM_ROOT_FD="):
                assert pair.split("=")[1].isdigit()
    log = service.log.read_text()
    assert "alice gave a share" in log and "lighthouse" not in log
    assert not re.search(r"[A-Za-z0-9+=]{40}", log), "a key or share is at least that long"


def test_a_new_set_makes_the_old_shares_void(people: Path, made: Path, tmp_path: Path) -> None:
    data_dir, old, new = made / "data", made / "shares", made / "shares-2"
    cards = [word for name in ("alice", "carol", "dave") for word in
             ("--custodian", people / f"{name}.pub")]  # fmt: skip
    before = (data_dir / "root-shares.json").read_bytes()
    leading = subprocess.Popen(
        [*PROGRAM, "ceremony", "reshare", "--threshold", "2", *map(str, cards),
         f"--out-dir={new}", f"--data-dir={data_dir}", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        wait_for((data_dir / "reshare.sock").exists, "nothing waits")
        told = fine("ceremony", "session", "--reshare", data_dir=data_dir).json
        assert told["after"].startswith("2 of 3: ") and " cus_" in told["after"]
        for name in ("bob", "carol"):
            fine("ceremony", "unseal", "--reshare", *part(people, name, old), data_dir=data_dir)
        out, err = leading.communicate(timeout=30)
    finally:
        leading.kill()
    assert leading.returncode == 0, err
    assert set(json.loads(out)["shares"]) == {"alice", "carol", "dave"}
    assert (data_dir / "root-shares.json").read_bytes() != before
    fine("ceremony", "verify", *part(people, "dave", new), data_dir=data_dir)
    copy = ["--root-file", data_dir / "root-shares.json"]
    fine("ceremony", "verify", *part(people, "alice", new), *copy)
    line = refused(strongroom("ceremony", "verify", *part(people, "bob", old), *copy), 1)
    assert "(share_foreign)" in line
    with up(data_dir, tmp_path / "up") as service:
        line = refused(
            strongroom("ceremony", "unseal", *part(people, "bob", old), data_dir=data_dir), 1
        )
        assert "(share_foreign)" in line
        for name in ("dave", "alice"):
            fine("ceremony", "unseal", *part(people, name, new), data_dir=data_dir)
        wait_for(service.ready.exists, "not ready")
        head = transcript_is_whole(service, data_dir)
    whole = (data_dir / "ceremony.transcript").read_bytes()
    (tmp_path / "forged").write_bytes(whole + b"{}\n")
    run = strongroom("ceremony", "transcript", tmp_path / "forged", "--head", head)
    assert run.code == 1 and "PROBLEM" in run.out


def transcript_is_whole(service: Up, data_dir: Path) -> str:
    told = fine("ceremony", "transcript", data_dir=data_dir).json
    kinds = [ceremony.split(" ")[0] for ceremony in told["ceremonies"]]
    assert kinds[0] == "init" and {"unseal", "reshare", "verify"} <= set(kinds)
    lines = [json.loads(x) for x in (data_dir / "ceremony.transcript").read_text().splitlines()]
    refusals = [line["facts"]["code"] for line in lines if line["step"] == "refused"]
    assert "share_repeated" in refusals
    keys = json.loads((data_dir / "test-credentials.json").read_text())
    root = json.loads((data_dir / "root-shares.json").read_text())["root"]
    entries = http(
        "GET",
        f"{service.url}/v1/journal/entries?subject={root}&limit=100",
        key=keys["operator_read_key"],
    ).json["data"]
    facts = [e["facts"] for e in entries if e["action"] == "keys:ceremony:record"]
    heads = [fact["transcript_head"] for fact in facts]
    assert heads, "the transcript's head is in the journal"
    fine("ceremony", "transcript", "--head", heads[-1], data_dir=data_dir)
    return heads[-1]


def test_a_socket_of_somebody_else_gets_nothing(people: Path, made: Path) -> None:
    data_dir = made / "data"
    path = data_dir / "unseal.sock"
    alice = part(people, "alice", made / "shares")
    line = refused(strongroom("ceremony", "unseal", *alice, data_dir=data_dir), 1)
    assert "(unseal_not_waiting)" in line
    path.write_text("")
    line = refused(strongroom("ceremony", "unseal", *alice, data_dir=data_dir), 1)
    assert "(unseal_unsafe)" in line and "no socket" in line
    line = refused(strongroom("up", data_dir=data_dir), 1)
    assert "(unseal_unsafe)" in line
    path.unlink()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        path.chmod(0o666)
        line = refused(strongroom("ceremony", "unseal", *alice, data_dir=data_dir), 1)
        assert "(unseal_unsafe)" in line
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, 12_345, -1)
            line = refused(strongroom("ceremony", "unseal", *alice, data_dir=data_dir), 1)
            assert "(unseal_unsafe)" in line and "another user" in line
    path.unlink()


def test_a_killed_service_leaves_a_socket_that_the_next_one_replaces(
    people: Path, made: Path, tmp_path: Path
) -> None:
    data_dir = made / "data"
    (tmp_path / "a").mkdir()
    first = Up(data_dir, tmp_path / "a")
    first.process.kill()
    first.process.wait()
    begun = time.monotonic()
    with up(data_dir, tmp_path / "b") as service:
        assert health(service)[0] == 503
        assert first.fingerprint() != service.fingerprint()
        line = refused(strongroom("up", data_dir=data_dir), 3)
        assert "(start_failed)" in line
    assert time.monotonic() - begun < 60
