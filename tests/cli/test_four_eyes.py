"""The commands of four eyes as docs/four-eyes.md prints them, on a test installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import refused, strongroom
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a running installation, so that commands start fast."""
    running = Stack(tmp_path_factory.mktemp("four-eyes")).start()
    try:
        yield running.data_dir
    finally:
        running.stop()


def test_the_pages_run_and_a_demanded_approval_is_demanded(home: Path, tmp_path: Path) -> None:
    shown = blocks("docs/four-eyes.md") + blocks("docs/operations/access-review.md")
    done = walk(
        "".join(shown),
        programs(tmp_path / "bin"),
        cwd=tmp_path,
        timeout_s=240,
        STRONGROOM_DATA_DIR=str(home),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    emergencies = strongroom("break-glass", "list", "--json", data_dir=home).json
    assert [e["reason"] for e in emergencies] == ["payments down, nobody reachable"]
    own = strongroom(
        "break-glass", "review", emergencies[0]["id"], "--verdict=justified", "--note=fine",
        data_dir=home,
    )  # fmt: skip
    assert "(review_own)" in refused(own, 1)
    (asked,) = strongroom("access-approvals", "list", "--json", data_dir=home).json
    assert (asked["state"], asked["needed"]) == ("open", 2), "nobody knows who this shell is"
    doctor = {
        row["check"]: row["status"]
        for row in strongroom("doctor", "--json", data_dir=home).json["checks"]
    }
    assert (doctor["break glass"], doctor["access review"]) == ("warn", "ok")
    (review,) = strongroom("access-reviews", "list", "--json", data_dir=home).json
    assert review["closed_at"] and len(review["decisions"]) == len(review["lines"]) == 4

    with (home / "strongroom.toml").open("a") as settings:
        settings.write("\n[four_eyes]\nin_test = true\n")
    create = ("api-keys", "create", "--owner=ada", "--kind=operator-admin")
    assert "(approval_required)" in refused(strongroom(*create, data_dir=home), 1)
    early = strongroom(*create, f"--approval={asked['id']}", data_dir=home)
    assert "(approval_incomplete)" in refused(early, 1)
    other = strongroom(*create[:2], "--owner=eve", create[3], f"--approval={asked['id']}",
                       data_dir=home)  # fmt: skip
    assert "(approval_mismatch)" in refused(other, 1), "another key than the one that was asked for"
    alone = strongroom("api-keys", "create", "--owner=ada", "--kind=operator-read", data_dir=home)
    assert alone.code == 0, alone.err
