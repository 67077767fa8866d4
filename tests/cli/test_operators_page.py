"""The commands of docs/operators.md, as they are printed, with people who enroll in between."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.app import House, load
from strongroom.identity.operators import new_device
from strongroom.kernel.secret import Secret
from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, strongroom
from tests.support.authenticator import Authenticator
from tests.support.runbook import blocks

pytestmark = [pytest.mark.slow(40), pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test installation with its database up."""
    data_dir = tmp_path_factory.mktemp("operators") / "data"
    done = strongroom("init", "--mode", "test", "--json", data_dir=data_dir)
    assert done.code == 0, done.err
    with EmbeddedPostgres(data_dir):
        yield data_dir


def test_the_page_on_operators(made: Path, tmp_path: Path) -> None:
    def run(block: str) -> list[Run]:
        runs = []
        for line in block.strip().splitlines():
            program, *words = shlex.split(line)
            assert program == "strongroom"
            words = [str(tmp_path / w) if w.endswith(".invitation") else w for w in words]
            runs.append(strongroom(*words, data_dir=made))
            assert runs[-1].code == 0, (line, runs[-1].err)
        return runs

    founding, inviting, changing, leaving, ending, recovering, unlocking = blocks(
        "docs/operators.md"
    )
    (first,) = run(founding)
    code = tmp_path / "ada.invitation"
    assert stat.S_IMODE(os.stat(code).st_mode) == 0o600
    assert code.read_text().strip() not in first.out + first.err
    assert "/console/invitation" in first.err
    *_, listed = run(inviting)
    assert {"ada", "eve", "bob"} <= set(listed.out.split()) and "invited" in listed.out
    asyncio.run(_enroll(made, tmp_path, "ada", "eve", "bob"))
    *_, shown = run(changing)
    assert "operator-read" in shown.out and "1 passkeys" in shown.out
    assert strongroom("operators", "role", "bob", "nobody", data_dir=made).code == 2
    run(leaving)
    sessions, _ = run(ending)
    assert "passkey" in sessions.out
    again = strongroom("operators", "sessions", "ada", "--json", data_dir=made)
    assert [one["status"] for one in again.json] == ["ended"]
    *_, waiting = run(recovering)
    assert "phone lost" in waiting.out
    alone = strongroom("operators", "recover", "ada", "--approve", data_dir=made)
    assert alone.code == 1 and "second_person_needed" in alone.err
    run(unlocking)
    strongroom("operators", "leave", "eve", "--reason", "left", data_dir=made)
    done = strongroom("operators", "recover", "ada", "--approve", "--json", data_dir=made)
    assert done.json["status"] == "recovering" and done.json["invitation"].startswith("sri_")
    last = strongroom("operators", "leave", "ada", "--reason", "left", data_dir=made)
    assert last.code == 1 and "last_administrator" in last.err
    renewed = strongroom("operators", "invite-again", "ada", data_dir=made)
    assert renewed.code == 1 and "operator_state" in renewed.err


async def _enroll(data_dir: Path, codes: Path, *logins: str) -> None:
    """Let each person accept their invitation, as their browser would."""
    async with House(load(data_dir)) as house:
        for login in logins:
            code = Secret((codes / f"{login}.invitation").read_text().strip())
            enrolling = house.operators.enrolling
            begun = await enrolling.accept(code)
            await enrolling.accept_passkey(
                begun.ticket,
                Authenticator("http://localhost:8080").create(begun.options),
                name="phone",
                device=new_device(),
                source="127.0.0.1",
            )
