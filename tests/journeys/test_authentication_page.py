"""docs/authentication.md: every command of it, as printed, with openssl and curl."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack


@pytest.mark.timeout(300)
def test_the_page_runs_as_printed(stack: Stack, tmp_path: Path) -> None:
    merchant, _ = stack.add_merchant("Shop of the page")
    done = walk(
        "\n".join(blocks("docs/authentication.md")),
        programs(tmp_path / "bin"),
        cwd=tmp_path,
        timeout_s=240,
        STRONGROOM_DATA_DIR=str(stack.data_dir),
        STRONGROOM_URL=stack.url,
        MERCHANT=merchant,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"captured"' in done.stdout
    assert '{"object":"leak_report","received":true}' in done.stdout
    assert "takes signed-request or more" in done.stdout
    ended = stack.call("GET", "/v1/payments", key=(tmp_path / "new-shop.key").read_text().strip())
    assert ended.status == 401
    kept = stack.call("GET", "/v1/payments", key=(tmp_path / "shop.key").read_text().strip())
    assert kept.status == 200
