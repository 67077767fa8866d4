"""Whose word on the caller's address and certificate counts, and how little of it is believed."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.api.proxies import Proxies
from strongroom.api.settings import ApiSettings
from strongroom.identity import Peer
from strongroom.kernel.errors import StrongroomError

PROXY, INNER, CALLER = "10.0.0.1", "10.9.9.9", "198.51.100.7"
OWN = Peer(thumbprint=b"own", spiffe_id="spiffe://test.example/svc/proxy")


def proxies(**more: Any) -> Proxies:
    given = {"proxy_networks": ("10.0.0.0/8", "fd00::/64"), "proxy_certificates": True, **more}
    return Proxies(ApiSettings(mode="test", **given))


def said(value: str, name: str = "x-forwarded-for") -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode())]


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (CALLER, CALLER),
        (f"1.2.3.4, {CALLER}", CALLER),
        (f"1.2.3.4, {CALLER}, {INNER}", CALLER),
        (f"junk!, 127.0.0.1, {CALLER},{INNER}", CALLER),
        (f"{CALLER}:4711", CALLER),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        (f"::ffff:{CALLER}", CALLER),
        (f"{INNER}, {PROXY}", INNER),
    ],
)
def test_the_right_most_hop_that_is_no_proxy(value: str, source: str) -> None:
    assert proxies().source(PROXY, said(value)) == source
    assert proxies().source(f"::ffff:{PROXY}", said(value)) == source


def test_several_headers_are_one_list() -> None:
    both = [*said("1.2.3.4"), *said(CALLER)]
    assert proxies().source(PROXY, both) == CALLER


@pytest.mark.parametrize(
    "value", ["unknown", "", ",", f"{CALLER}, unknown", f"{CALLER},", "127.1", "0x7f000001",
              "fe80::1%eth0", f"{CALLER}:port", "a" * 3_000],
)  # fmt: skip
def test_a_proxy_that_names_no_address_gets_no_answer(value: str) -> None:
    found = said(value)
    if not value:
        assert proxies().source(PROXY, found) == PROXY
        return
    with pytest.raises(StrongroomError, match="forwarding_invalid"):
        proxies().source(PROXY, found)


def test_everybody_else_may_say_what_they_like() -> None:
    for value in ("127.0.0.1", "junk!", "10.0.0.1", "a" * 9_000):
        for name in ("x-forwarded-for", "forwarded", "x-real-ip"):
            assert proxies().source(CALLER, said(value, name)) == CALLER
    none = Proxies(ApiSettings(mode="test"))
    assert none.source("127.0.0.1", said(CALLER)) == "127.0.0.1"


def test_only_the_header_that_is_configured_counts() -> None:
    """A proxy sets one of them and lets the other through as the caller wrote it."""
    both = [*said("127.0.0.1", "forwarded"), *said(CALLER)]
    assert proxies().source(PROXY, both) == CALLER
    assert proxies().source(PROXY, said("for=127.0.0.1", "forwarded")) == PROXY


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (f"for={CALLER}", CALLER),
        (f'For="{CALLER}:80";proto=https;by={PROXY}', CALLER),
        ('for=1.2.3.4;proto=http, for="[2001:db8::7]:4711"', "2001:db8::7"),
        (f'for="a, for=127.0.0.1", for={CALLER}, for={INNER};host="x, y"', CALLER),
    ],
)
def test_forwarded(value: str, source: str) -> None:
    ours = proxies(proxy_header="forwarded")
    assert ours.source(PROXY, said(value, "forwarded")) == source


@pytest.mark.parametrize(
    "value",
    ["for=unknown", "for=_hidden", "proto=https", f"for={CALLER};for=127.0.0.1",
     f'for={CALLER}, for="127.0.0.1', "for=[::1]", f"for={CALLER} for=127.0.0.1", ";;", "="],
)  # fmt: skip
def test_forwarded_that_cannot_be_read(value: str) -> None:
    with pytest.raises(StrongroomError, match="forwarding_invalid"):
        proxies(proxy_header="forwarded").source(PROXY, said(value, "forwarded"))


@given(st.lists(st.ip_addresses(), max_size=4), st.text(alphabet='for=,; "[]:.1\\', max_size=60))
def test_what_the_caller_writes_never_moves_the_source(hops: list[Any], junk: str) -> None:
    """Whatever stands left of what the trusted proxy appended."""
    text = junk.replace(",", " ") + "".join(f",{hop}" for hop in hops)
    assert proxies().source(PROXY, said(f"{text},{CALLER}")) == CALLER


def test_a_certificate_is_taken_from_trusted_proxies_only() -> None:
    header = ":" + base64.b64encode(b"certificate").decode() + ":"
    taken = proxies().peer(PROXY, OWN, header)
    assert taken is not None and taken.spiffe_id is None
    assert taken.thumbprint == hashlib.sha256(b"certificate").digest()
    for address, ours in (
        (CALLER, proxies()),
        (PROXY, proxies(proxy_certificates=False)),
        (PROXY, proxies(proxy_networks=())),
    ):
        with pytest.raises(StrongroomError, match="forwarding_invalid"):
            ours.peer(address, None, header)


def test_a_proxy_never_lends_its_own_certificate_to_callers() -> None:
    assert proxies().peer(PROXY, OWN, None) is None
    assert proxies().peer(CALLER, OWN, None) is OWN


@pytest.mark.parametrize(
    "header", ["", ":", "::", ":YQ==", "YQ==", ":YQ:", ":YR==:", ":YQ==:;a=b", ":Y Q==:",
               ":YQ==:, :YQ==:", ':"a":', ":-_-_:", ":" + "A" * 8_192 + ":"],
)  # fmt: skip
def test_a_certificate_in_any_other_form_is_refused(header: str) -> None:
    with pytest.raises(StrongroomError, match="forwarding_invalid"):
        proxies().peer(PROXY, None, header)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy.example", ""])
def test_networks_that_mean_too_much_or_nothing_stop_the_start(network: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        proxies(proxy_networks=(network,))
