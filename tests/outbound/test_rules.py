"""Which URLs and addresses may be called at all: the forms that fool other clients among them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kernel.errors import StrongroomError
from strongroom.outbound import EgressRefused, Origins, Policy
from strongroom.outbound.addresses import Reach, address_allowed, reach
from strongroom.outbound.decide import host_well_formed, locate


@pytest.mark.parametrize(
    "policy",
    [
        Policy(origins=("http://api.example",)),
        Policy(origins=("http://127.0.0.1:1",), plain_loopback=True),
        Policy(private_origins=("http://127.0.0.1:1",)),
        Policy(private_origins=("http://10.0.0.1:1",), plain_loopback=True),
        Policy(private_origins=("http://sandbox:1",), plain_loopback=True),
        Policy(origins=("https://api.example/path",)),
        Policy(origins=("https://user@api.example",)),
        Policy(origins=("https://api.example:99999",)),
        Policy(origins=("https://api.example:0443",)),
        Policy(origins=("https://*.example",)),
        Policy(origins=("https://2130706433",)),
        Policy(origins=("ftp://api.example",)),
        Policy(origins=("",)),
    ],
)
def test_unsafe_origins_stop_the_start(policy: Policy) -> None:
    with pytest.raises(StrongroomError, match="egress_misconfigured"):
        Origins(policy)


def test_an_origin_is_scheme_host_and_port() -> None:
    listed = Origins(Policy(origins=("https://api.example", "https://b.example:8443/")))
    origin, target = listed.find("https://API.example:443/v1?a=b%20c")
    assert (origin.host, origin.port, origin.authority) == ("api.example", 443, "api.example")
    assert target == "/v1?a=b%20c"
    assert listed.find("https://b.example:8443")[1] == "/"
    for url in (
        "https://b.example/",
        "https://api.example:8443/",
        "https://api.example.evil/",
        "https://evilapi.example/",
        "https://api.example./",
        "https://api.example/é",
    ):
        with pytest.raises(EgressRefused):
            listed.find(url)


REFUSED = [
    "http://shop.example/",
    "HTTPS://shop.example/",
    "https:/shop.example/",
    "https:\\\\shop.example/",
    "//shop.example/",
    "https://shop.example:22/",
    "https://shop.example:8443/",
    "https://shop.example:/",
    "https://shop.example:443443/",
    "https://user@shop.example/",
    "https://user:word@shop.example/",
    "https://shop.example@127.0.0.1/",
    "https://shop.example#@127.0.0.1/",
    "https://shop.example/#fragment",
    "https://shop.example\\@127.0.0.1/",
    "https://shop.example/a\r\nHost: inside",
    "https://shop.example /",
    "https://shop.example/%zz",
    "https://shop.example/%",
    "https://shop.example?a=b",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.1./",
    "https://127.0.0.01/",
    "https://1.2.3.4.5/",
    "https://shop.0x7f/",
    "https://①②⑦.0.0.1/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://shop。example/",
    "https://bücher.example/",
    "https://xn--a.example/",
    "https://xn--.example/",
    "https://xn--ASCII-.example/",
    "https://ab--cd.example/",
    "https://-shop.example/",
    "https://shop-.example/",
    "https://shop..example/",
    "https://.example/",
    "https://shop.example./",
    "https://shop_1.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 127 + "example/",
    "https://localhost/",
    "https://localhost.localdomain.localhost/",
    "https://inside/",
    "https://db.internal/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://[::1%25lo]/",
    "https://[::1%lo]/",
    "https://[::ffff:127.0.0.1/",
    "https://[127.0.0.1]/",
    "https://[v1.a]/",
    "https://shop.example/" + "a" * 2_048,
    "file:///etc/passwd",
    "gopher://shop.example/",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("url", REFUSED)
def test_no_form_of_url_that_clients_read_apart(url: str) -> None:
    with pytest.raises(EgressRefused):
        Origins(Policy(any_public=True)).find(url)


def test_any_public_https_origin_when_the_policy_says_so() -> None:
    anyone = Origins(Policy(any_public=True))
    for url, host in {
        "https://shop.example/hook?a=%2F": "shop.example",
        "https://xn--bcher-kva.example": "xn--bcher-kva.example",
        "https://93.184.216.34:443/": "93.184.216.34",
        "https://[2606:2800:220:1::1]/": "[2606:2800:220:1::1]",
    }.items():
        assert anyone.find(url)[0].host == host
    with pytest.raises(EgressRefused):
        Origins(Policy()).find("https://shop.example/")


NOBODY, INSIDE, EVERYBODY = (False, False), (False, True), (True, True)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", EVERYBODY),
        ("2606:2800:220:1::1", EVERYBODY),
        ("127.0.0.1", INSIDE),
        ("127.255.255.254", INSIDE),
        ("::1", INSIDE),
        ("10.1.2.3", INSIDE),
        ("192.168.1.1", INSIDE),
        ("172.16.0.1", INSIDE),
        ("172.31.255.255", INSIDE),
        ("172.32.0.1", EVERYBODY),
        ("100.64.0.1", INSIDE),
        ("100.128.0.1", EVERYBODY),
        ("fd00::1", INSIDE),
        ("::ffff:127.0.0.1", INSIDE),
        ("::ffff:93.184.216.34", EVERYBODY),
        ("64:ff9b::7f00:1", INSIDE),
        ("64:ff9b::a9fe:a9fe", NOBODY),
        ("64:ff9b::5db8:d822", EVERYBODY),
        ("64:ff9b:1::7f00:1", NOBODY),
        ("64:ff9b:1:fffe::5db8:d822", NOBODY),
        ("2002:7f00:1::", NOBODY),
        ("2002:5db8:d822::1", NOBODY),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", NOBODY),
        ("2001:db8::1", NOBODY),
        ("2606:2800:220:1:0:5efe:7f00:1", NOBODY),
        ("2606:2800:220:1:200:5efe:7f00:1", NOBODY),
        ("::127.0.0.1", NOBODY),
        ("::2", NOBODY),
        ("fec0::1", NOBODY),
        ("5f00::1", NOBODY),
        ("100::1", NOBODY),
        ("169.254.169.254", NOBODY),
        ("::ffff:169.254.169.254", NOBODY),
        ("fd00:ec2::254", NOBODY),
        ("100.100.100.200", NOBODY),
        ("168.63.129.16", NOBODY),
        ("fe80::1", NOBODY),
        ("fe80::1%lo", NOBODY),
        ("0.0.0.0", NOBODY),  # noqa: S104
        ("0.1.2.3", NOBODY),
        ("::", NOBODY),
        ("224.0.0.1", NOBODY),
        ("ff02::1", NOBODY),
        ("240.0.0.1", NOBODY),
        ("255.255.255.255", NOBODY),
        ("127.1", NOBODY),
        ("not an address", NOBODY),
    ],
)
def test_addresses(address: str, allowed: tuple[bool, bool]) -> None:
    found = tuple(address_allowed(address, private=private) for private in (False, True))
    assert found == allowed


@given(st.integers(0, 2**32 - 1))
def test_what_python_calls_private_is_never_public(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    carried = [ipaddress.IPv6Address(base + number) for base in (0xFFFF << 32, 0x64FF9B << 96)]
    if not address.is_global or address.is_multicast:
        assert reach(address) is not Reach.PUBLIC
    assert [reach(other) for other in carried] == [reach(address)] * 2


@given(st.integers(0, 2**128 - 1))
def test_what_python_calls_private_is_never_public_in_six(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    if not address.is_global or address.is_multicast:
        assert reach(address) is not Reach.PUBLIC


@given(st.text(max_size=40))
def test_every_text_is_a_host_or_not(text: str) -> None:
    if host_well_formed(text):
        assert text.isascii() and locate(f"https://{text}/") is not None


@given(st.from_regex(r"https://[^/]{1,20}/.{0,10}", fullmatch=True))
def test_what_is_taken_is_what_every_reader_takes(url: str) -> None:
    located = locate(url)
    if located is None:
        return
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    assert (parts.hostname or "") == located.host.strip("[]")
    assert (parts.port or 443) == located.port and parts.username is None
