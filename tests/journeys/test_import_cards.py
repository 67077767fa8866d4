"""The pages of tokens and imports, as they are printed; and an import that is really killed."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS
from tests.cli.support import strongroom
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack

WRITE, ASK, APPROVE, IMPORT, AGAIN, DESTROY = blocks("docs/operations/import-cards.md")
GRANT, EXPORT = blocks("docs/tokens.md")
NUMBERS = sorted(PUBLISHED_TEST_NUMBERS)
LINES = 15_000
pytestmark = [pytest.mark.slow(60), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("own")).start()
    yield made
    made.stop()


class Operator:
    """Walks blocks of a page against one installation, in a folder of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._path = programs(folder / "bin")
        self.folder = folder
        self.variables = {
            "STRONGROOM_DATA_DIR": str(stack.data_dir),
            "MERCHANT": stack.merchant,
            "CALLER": "key_01hzzzzzzzzzzzzzzzzzzzzzzz",
            "UNTIL": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        }

    def walk(self, *scripts: str) -> str:
        done = ""
        for script in scripts:
            ran = walk(script, self._path, cwd=self.folder, timeout_s=120, **self.variables)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            done += ran.stdout
        return done


def mapping(file: Path) -> dict[str, str]:
    with file.open() as text:
        rows = list(csv.DictReader(text))
    found = {row["external_id"]: row["token"] for row in rows}
    assert len(found) == len(rows), "no external id stands there twice"
    return found


def test_an_import_that_is_killed_goes_on(own: Stack, tmp_path: Path) -> None:
    source, tokens, rejects = (tmp_path / n for n in ("big.csv", "tokens.csv", "rejects.csv"))
    lines = (f"c{n},{NUMBERS[n % len(NUMBERS)]},12,2031" for n in range(LINES))
    source.write_text("\n".join(["external_id,number,exp_month,exp_year", *lines]))
    source.chmod(0o600)
    words = [
        "vault", "import", str(source), "--merchant", own.merchant, "--out", str(tokens),
        "--rejects", str(rejects), "--data-dir", str(own.data_dir), "--json",
    ]  # fmt: skip
    kills = 0
    for at_least in (2_000, 200_000):
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom", *words], stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not _grown(tokens, at_least):
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills == 2, "the import was faster than this test"
    done = strongroom(*words, timeout=120)
    assert done.code == 0, done.err
    assert (done.json["imported"], done.json["rejected"]) == (LINES, 0)
    found = mapping(tokens)
    assert set(found) == {f"c{n}" for n in range(LINES)}
    for n in (0, 499, 500, LINES - 1):
        shown = own.call("GET", f"/v1/tokens/{found[f'c{n}']}").json["card"]
        assert shown["last4"] == NUMBERS[n % len(NUMBERS)][-4:]


def _grown(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size >= size


def test_the_page_of_tokens(own: Stack, tmp_path: Path) -> None:
    settings = own.data_dir / "strongroom.toml"
    operator = Operator(own, tmp_path)
    assert "may see 5000 card numbers" in operator.walk(GRANT)
    refused = strongroom(
        "vault", "export-ff1", "--merchant", own.merchant, "--out", tmp_path / "off.csv",
        data_dir=own.data_dir,
    )  # fmt: skip
    assert refused.code == 1 and "(export_off)" in refused.err
    settings.write_text(f"ff1_export = true\n{settings.read_text()}")
    assert "cards are in ff1.csv" in operator.walk(EXPORT)
    assert (tmp_path / "ff1.csv").stat().st_mode & 0o777 == 0o600


def test_the_page_of_imports(own: Stack, tmp_path: Path) -> None:
    """Last in this module: from here on custodians are enrolled."""
    for name in ("alice", "bob", "carol"):
        (tmp_path / f"{name}.pass").write_text(f"{name} walks to the old harbor\n")
        (tmp_path / f"{name}.pass").chmod(0o600)
        made = strongroom(
            "custodian", "create", "--name", name, "--acknowledge", "--key-file", tmp_path / name,
            "--passphrase-file", tmp_path / f"{name}.pass",
        )  # fmt: skip
        assert made.code == 0, made.err
        enrolled = strongroom(
            "custodian", "enroll", tmp_path / f"{name}.pub", data_dir=own.data_dir
        )
        assert enrolled.code == 0, enrolled.err
    operator = Operator(own, tmp_path)
    operator.walk(WRITE, ASK)
    assert "two custodians" in (tmp_path / "asked.txt").read_text()
    shown = operator.walk(APPROVE, IMPORT)
    assert "4,incorrect_number,424242******4241" in shown
    found = mapping(tmp_path / "tokens.csv")
    assert set(found) == {"cus_1", "cus_2"}
    again = json.loads(operator.walk(AGAIN))
    assert (again["imported"], again["rejected"]) == (2, 1)
    assert mapping(tmp_path / "tokens.csv") == found
    operator.walk(DESTROY)
    token = own.call("GET", f"/v1/tokens/{found['cus_1']}").json
    assert (token["saved"], token["card"]["last4"]) == (True, "4242")
