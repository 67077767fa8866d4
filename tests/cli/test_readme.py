"""The README's walk-through works, step by step, as it is printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import environment
from tests.support.stack import Stack

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall((ROOT / "README.md").read_text())

_CURL = '''#!{python}
"""What the README uses of curl, for machines that have none."""
import sys, urllib.error, urllib.request

url, headers, data, words = "", {{}}, None, iter(sys.argv[1:])
for word in words:
    if word == "-H":
        name, _, value = next(words).partition(":")
        headers[name] = value.strip()
    elif word == "-d":
        data = next(words).encode()
    elif not word.startswith("-"):
        url = word
try:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as error:
    sys.stdout.write(error.read().decode())
    sys.exit(22)
'''


def walk(script: str, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment(**variables)
    env["PATH"] = f"{programs}:{env['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-eu", "-c", script], env=env, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with `python3`, and with `curl` where the machine has none."""
    (tmp_path / "python3").symlink_to(sys.executable)
    if shutil.which("curl") is None:
        (tmp_path / "curl").write_text(_CURL.format(python=sys.executable))
        (tmp_path / "curl").chmod(0o755)
    return tmp_path


def test_the_walk_through_works(stack: Stack, programs: Path) -> None:
    assert len(BLOCKS) == 5
    done = walk("\n".join(BLOCKS), programs, URL=stack.url, KEY=stack.secret_key)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("token tok_")
    assert lines[1].startswith("payment pay_")
    assert lines[2:4] == ["partially_captured", "succeeded"]
    postings = [line.split() for line in lines if re.match(r"(gateway|merchant)_", line)]
    assert len(postings) == 4 and sum(int(amount) for _, amount, _ in postings) == 0
    assert any(line.startswith("— strongroom.") for line in lines)


def test_a_wrong_key_stops_the_walk_at_its_first_step(stack: Stack, programs: Path) -> None:
    done = walk("\n".join(BLOCKS), programs, URL=stack.url, KEY=stack.secret_key[:-1] + "x")
    assert "payment" not in done.stdout


def test_the_stand_in_for_curl_does_the_same(stack: Stack, programs: Path) -> None:
    (programs / "curl").unlink(missing_ok=True)
    (programs / "curl").write_text(_CURL.format(python=sys.executable))
    (programs / "curl").chmod(0o755)
    done = walk("\n".join(BLOCKS[:3]), programs, URL=stack.url, KEY=stack.secret_key)
    assert done.stdout.splitlines()[2:4] == ["partially_captured", "succeeded"], done.stderr
