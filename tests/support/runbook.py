"""Runs the commands that a page of the documentation shows, as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cli.support import environment

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)

_CURL = '''#!{python}
"""What the pages use of curl, for machines that have none."""
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


def blocks(page: str) -> list[str]:
    """Return the shell blocks of a page (path from the root) that stand under `<!-- run -->`."""
    return _BLOCK.findall((ROOT / page).read_text())


def programs(folder: Path, *, own_curl: bool = False) -> Path:
    """Put `python3`, `strongroom` and, where there is none, `curl` into a folder for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in (("python3", sys.executable), ("strongroom", _beside("strongroom"))):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    if own_curl or shutil.which("curl") is None:
        (folder / "curl").write_text(_CURL.format(python=sys.executable))
        (folder / "curl").chmod(0o755)
    return folder


def walk(
    script: str,
    path: Path,
    *,
    cwd: Path | None = None,
    timeout_s: float = 60,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run shell lines with `path` first on PATH and the variables set; stops at a failure."""
    env = environment(**variables)
    env["PATH"] = f"{path}:{env['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-eu", "-c", script], env=env, capture_output=True, text=True, check=False,
        cwd=cwd, timeout=timeout_s,
    )  # fmt: skip


def _beside(name: str) -> Path:
    return Path(sys.executable).parent / name
