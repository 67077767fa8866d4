"""kill -9 of everything, and of PostgreSQL, in the middle of a load."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import truth
from tests.support.crashes import again, await_ready, load_until
from tests.support.postgres import postmaster_pid
from tests.support.stack import Stack

pytestmark = pytest.mark.slow(35)


def test_kill_9_of_the_whole_tree_under_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(tmp_path_factory.mktemp("tree"), patience_s=1.0).start()
    try:
        sent = load_until(stack, stack.kill)
        stack.start()
        for key, given in sent:
            final = again(stack, "/v1/payments", given, key)
            assert final.status in (201, 402), final.body
        truth.check(stack)
    finally:
        stack.stop()


def test_kill_9_of_postgresql_under_load(tmp_path_factory: pytest.TempPathFactory) -> None:

    stack = Stack(tmp_path_factory.mktemp("engine"), patience_s=1.0).start()
    try:

        def kill_engine() -> None:
            os.kill(postmaster_pid(stack.data_dir), signal.SIGKILL)

        sent = load_until(stack, kill_engine, linger_s=2.0)
        await_ready(stack)
        for key, given in sent:
            final = again(stack, "/v1/payments", given, key)
            assert final.status in (201, 402), final.body
        truth.check(stack)
    finally:
        stack.stop()
