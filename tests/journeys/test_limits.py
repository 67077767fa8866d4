"""Limits on the running program: two processes, one count; refused callers leave a trace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.stack import Answer, Stack
from tests.support.valkey import valkey_server

LIMITS = """
[limits]
key = "1/h burst 40"
refused = "1/h burst 5"
"""


def restart_servers(stack: Stack) -> None:
    """End the server processes; the supervisor starts them anew with the settings as they are."""
    before = set(stack.server_pids())
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = set(stack.server_pids())
        if len(now) == len(before) and not now & before and _ready(stack):
            return
        time.sleep(0.05)
    raise AssertionError(f"the servers did not come back:\n{stack.log()}")


def _ready(stack: Stack) -> bool:
    try:
        return stack.call("GET", "/health/ready", key=None, timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture(params=["postgres", "valkey"])
def limited(request: pytest.FixtureRequest, two: Stack) -> Iterator[Stack]:
    settings = two.data_dir / "strongroom.toml"
    text = settings.read_text()
    if request.param == "postgres":
        settings.write_text(text + LIMITS)
        restart_servers(two)
        yield two
    else:
        with valkey_server() as (_, url):
            secret = two.data_dir / "valkey.url"
            secret.write_text(url.reveal())
            secret.chmod(0o600)
            settings.write_text(text + LIMITS + 'valkey_url_file = "valkey.url"\n')
            restart_servers(two)
            yield two
    settings.write_text(text)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("limits"), workers=2).start()
    running.other_merchant, running.other_secret_key = running.add_merchant("Other merchant")
    try:
        yield running
    finally:
        running.stop()


def test_two_processes_count_as_one(limited: Stack) -> None:
    def ask(_: int) -> Answer:
        return limited.call("GET", "/v1/payments?limit=1")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(100)))
    assert sum(answer.status == 200 for answer in answers) == 40
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 60
    assert {answer.json["code"] for answer in refused} == {"rate_limited"}
    assert all(int(answer.headers["retry-after"]) > 60 for answer in refused)
    other = limited.call("GET", "/v1/payments?limit=1", key=limited.other_secret_key)
    assert other.status == 200
    assert other.headers["ratelimit-policy"] == '"key";q=1;w=3600'
    codes = []
    for _ in range(30):  # both learn of it with their next refusal; the key itself has more left
        limited.call("GET", "/v1/payments", key=f"sr_test_sk_{'x' * 36}")
        codes.append(limited.call("GET", "/v1/payments", key=limited.other_secret_key).status)
        if codes[-5:] == [429] * 5:
            return
    pytest.fail(f"nobody was shut out: {codes}")
