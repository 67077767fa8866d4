"""The README's walk-through works, step by step, as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack

BLOCKS = blocks("README.md")


def test_the_walk_through_works(stack: Stack, tmp_path: Path) -> None:
    assert len(BLOCKS) == 5
    script = "\n".join(BLOCKS)
    done = walk(script, programs(tmp_path), URL=stack.url, KEY=stack.secret_key)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("token tok_")
    assert lines[1].startswith("payment pay_")
    assert lines[2:4] == ["partially_captured", "succeeded"]
    postings = [line.split() for line in lines if re.match(r"(gateway|merchant)_", line)]
    assert len(postings) == 4 and sum(int(amount) for _, amount, _ in postings) == 0
    assert any(line.startswith("— strongroom.") for line in lines)


def test_a_wrong_key_stops_the_walk_at_its_first_step(stack: Stack, tmp_path: Path) -> None:
    wrong = stack.secret_key[:-1] + ("y" if stack.secret_key.endswith("x") else "x")
    done = walk("\n".join(BLOCKS), programs(tmp_path), URL=stack.url, KEY=wrong)
    assert "payment" not in done.stdout


def test_the_stand_in_for_curl_does_the_same(stack: Stack, tmp_path: Path) -> None:
    path = programs(tmp_path, own_curl=True)
    done = walk("\n".join(BLOCKS[:3]), path, URL=stack.url, KEY=stack.secret_key)
    assert done.stdout.splitlines()[2:4] == ["partially_captured", "succeeded"], done.stderr
