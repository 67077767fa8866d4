"""Each verb of the vault crosses to other processes, and somebody is named who may use it."""

from __future__ import annotations

import inspect

import pytest

from strongroom.kernel.secret import Secret
from strongroom.keys import KeyDesk
from strongroom.vault.egress import OutboundRequest
from strongroom.vault.model import Vault
from strongroom.vault.remote import codec, peers
from strongroom.vault.remote.frames import Kind, Parser, frame
from strongroom.vault.remote.table import READS, VERBS


@pytest.mark.parametrize(("service", "protocol"), [("vault", Vault), ("keys", KeyDesk)])
def test_every_verb_of_the_protocols_is_in_the_table(service: str, protocol: type) -> None:
    names = {
        f"{service}.{name}"
        for name, member in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith("_")
    }
    assert names == {name for name in VERBS if name.startswith(f"{service}.")}


def test_every_verb_is_for_somebody_named() -> None:
    named = peers.HERE_ONLY | peers.REVEALING | frozenset().union(*peers.ROLES.values())
    assert named == set(VERBS), "name new verbs in vault/remote/peers.py"
    assert set(VERBS) >= READS


def test_clear_numbers_are_for_nobody_unless_settings_say_so() -> None:
    for role in (*peers.ROLES, "vault", "console", ""):
        assert not peers.allowed(role) & peers.REVEALING
    assert "vault.reveal" in peers.allowed("api", may_reveal=("api",))
    assert peers.allowed("console", may_reveal=("console",)) == frozenset()
    assert not peers.HERE_ONLY & peers.allowed("api", may_reveal=("api",))


def test_a_worker_takes_no_cards_in() -> None:
    assert not {"vault.tokenize", "vault.tokenize_batch"} & peers.allowed("worker")


def test_what_crosses_shows_nothing_when_it_is_looked_at() -> None:
    request = OutboundRequest(
        method="POST",
        url="https://gateway.example/charge",
        headers=(("authorization", Secret("sk_live_of_nobody")),),
    )
    got = frame(Kind.ANSWER, 7, b"4242424242424242")
    parser = Parser()
    parser.feed(got)
    shown = repr((codec.to_wire(request), parser.next()))
    assert "sk_live" not in shown and "4242" not in shown
