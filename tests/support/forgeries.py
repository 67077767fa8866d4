"""Encrypted cards that must not open: authentic ones with something forbidden, and broken ones.

`authentic` messages are encrypted to the right key by a client that means harm: only the rules stop
them. Everything here must get one and the same answer.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from tests.support.clients import (
    CARD,
    Document,
    b64url,
    encrypt,
    header,
    hpke_card,
    jwe_card,
    key_of,
    unb64url,
)

Forgery = tuple[str, str]
Head = dict[str, Any]
_OTHERS = {
    "alg": [
        "none", "dir", "RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "A256KW", "A256GCMKW",
        "ECDH-ES+A128KW", "ECDH-ES+A256KW", "PBES2-HS256+A128KW", "ECDH-1PU", "HPKE-0",
        "ecdh-es", "ECDH-ES ",
    ],
    "enc": ["A128GCM", "A192GCM", "A128CBC-HS256", "A256CBC-HS512", "XC20P", "C20P", "a256gcm"],
    "typ": ["JWT", "JOSE", "card+JWE", "application/card+jwe", "card+jwe ", ""],
    "kid": [
        "", "../../etc/passwd", "' OR '1'='1", "A" * 43, "A" * 42, "A" * 44, "%00" * 14, "\u0131",
    ],
    "aud": ["", "strongroom", "strongroom:*", "STRONGROOM"],
    "jti": [
        "", "short", "x" * 15, "x" * 65, "with spaces in the name", "jti\n1234567890123", "ä" * 20,
    ],
}  # fmt: skip
_EXTRA = {
    "zip": "DEF", "crit": ["exp"], "b64": False, "apu": "QQ", "apv": "QQ",
    "jku": "https://a.example", "jwk": {"kty": "oct", "k": "AA"}, "x5u": "https://a.example",
    "x5c": [], "x5t": "AA", "cty": "JWT", "p2s": "AAAA", "p2c": 2**31, "iss": "me", "nbf": 0,
    "sub": "card", "": 1, "ALG": "dir", "skid": "a", "url": "https://a.example",
    "nonce": "AA", "iv": "AAAA", "tag": "AAAA", "__proto__": {},
}  # fmt: skip
_TYPES: list[Any] = [None, True, 0, -1, 1.5, "", [], {}, ["ECDH-ES"], {"a": 1}, "1795564800", 2**70]
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
LOW_ORDER = [
    bytes(32), b"\x01" + bytes(31), b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"), (2**255 - 18).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]  # fmt: skip
"""X25519 points whose shared secret is zero, and their other spellings (RFC 7748 section 6.1)."""


def raw_jwe(
    document: Document,
    edit: Callable[[Head], Head | bytes] = lambda head: head,
    plaintext: bytes | None = None,
    *,
    suite: str = "jwe-p256",
    encoded: Callable[[bytes], str] = b64url,
) -> str:
    """Return an authentic compact JWE whose header `edit` made what it is."""
    public = key_of(document, suite)
    if suite == "jwe-p256":
        ours: Any = ec.generate_private_key(ec.SECP256R1())
        point = ours.public_key().public_numbers()
        x, y = (n.to_bytes(32, "big") for n in (point.x, point.y))
        epk = {"kty": "EC", "crv": "P-256", "x": b64url(x), "y": b64url(y)}
        numbers = [int.from_bytes(unb64url(public[name]), "big") for name in ("x", "y")]
        theirs = ec.EllipticCurvePublicNumbers(*numbers, ec.SECP256R1()).public_key()
        shared = ours.exchange(ec.ECDH(), theirs)
    else:
        ours = x25519.X25519PrivateKey.generate()
        epk = {"kty": "OKP", "crv": "X25519", "x": b64url(ours.public_key().public_bytes_raw())}
        shared = ours.exchange(x25519.X25519PublicKey.from_public_bytes(unb64url(public["x"])))
    made = edit({**header(document, suite), "epk": epk})
    head = encoded(made if isinstance(made, bytes) else json.dumps(made).encode())
    info = b"\0\0\0\7A256GCM" + bytes(8) + (256).to_bytes(4, "big")
    key = ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared)
    clear = json.dumps(CARD).encode() if plaintext is None else plaintext
    sealed = AESGCM(key).encrypt(bytes(12), clear, head.encode())
    return ".".join([head, "", b64url(bytes(12)), b64url(sealed[:-16]), b64url(sealed[-16:])])


def headers(document: Document) -> Iterator[Forgery]:
    """Authentic JWEs whose header breaks one rule."""
    for name, values in _OTHERS.items():
        for value in values:
            yield f"{name}={value!r}", raw_jwe(document, lambda h, n=name, v=value: {**h, n: v})
    for name in ("alg", "enc", "typ", "kid", "aud", "iat", "exp", "jti", "epk"):
        drop = raw_jwe(document, lambda h, n=name: {k: v for k, v in h.items() if k != n})
        yield f"without {name}", drop
        for value in _TYPES:
            yield f"{name}={value!r}", raw_jwe(document, lambda h, n=name, v=value: {**h, n: v})
        yield f"{name} twice", raw_jwe(document, lambda h, n=name: twice(h, n))
        yield f"{name} renamed", raw_jwe(document, lambda h, n=name: renamed(h, n))
    for name, value in _EXTRA.items():
        yield f"with {name}", raw_jwe(document, lambda h, n=name, v=value: {**h, n: v})
    now = document["server_time"]
    for iat, exp in (
        (now, now),
        (now, now - 1),
        (now, now + 601),
        (now, 2**60),
        (-now, now),
        (0, 9),
    ):
        times = {"iat": iat, "exp": exp}
        yield f"{times}", raw_jwe(document, lambda h, t=times: {**h, **t})
    for whole in (
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"1e400",
    ):
        yield f"header {whole!r}", raw_jwe(document, lambda _, w=whole: w)
    yield "float iat", raw_jwe(document, lambda h: replaced(h, b'"iat": ', b'"iat": 1.0, "x": '))
    yield (
        "deep header",
        raw_jwe(document, lambda h: {**h, "kid": json.loads("[" * 200 + "]" * 200)}),
    )
    yield "long header", raw_jwe(document, lambda h: {**h, "jti": "x" * 4_000})


def ephemeral_keys(document: Document) -> Iterator[Forgery]:
    """JWEs with an ephemeral key that is no point, the wrong one, or more than a point."""
    good = {"kty": "EC", "crv": "P-256"}
    zero, one = b64url(bytes(32)), b64url(bytes(31) + b"\x01")
    coordinates = {
        "infinity": (zero, zero), "off curve": (one, one),
        "x = p": (b64url(_P.to_bytes(32, "big")), one),
        "all ones": (b64url(b"\xff" * 32),) * 2, "short": (b64url(bytes(31)), one),
        "long": (b64url(bytes(33)), one), "empty": ("", ""), "padded": (one + "=", one),
        "not base64": ("*" * 43, one), "number": (1, 2),
        "compressed": (b64url(b"\2" + bytes(32)), ""),
    }  # fmt: skip
    for name, (x, y) in coordinates.items():
        epk = {**good, "x": x, "y": y}
        yield f"epk {name}", raw_jwe(document, lambda h, e=epk: {**h, "epk": e})
    changes: list[Head] = [
        {"crv": "P-384"}, {"crv": "P-521"}, {"crv": "secp256k1"}, {"crv": "p-256"}, {"kty": "OKP"},
        {"kty": "oct"}, {"d": zero}, {"kid": "x"}, {"alg": "ECDH-ES"}, {"use": "enc"},
        {"ext": True},
    ]  # fmt: skip
    for change in changes:
        edit: Callable[[Head], Head] = lambda h, c=change: {**h, "epk": {**h["epk"], **c}}  # noqa: E731
        yield f"epk with {change}", raw_jwe(document, edit)
    yield "epk x twice", raw_jwe(document, lambda h: replaced(h, b'"crv"', b'"x": "AA", "crv"'))
    yield "epk of another", raw_jwe(document, lambda h: {**h, "epk": key_epk(document)})
    larger = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    epk = {"kty": "EC", "crv": "P-384", "x": b64url(larger.x.to_bytes(48, "big")),
           "y": b64url(larger.y.to_bytes(48, "big"))}  # fmt: skip
    yield "epk on P-384", raw_jwe(document, lambda h: {**h, "epk": epk})
    for point in LOW_ORDER:
        low = {"kty": "OKP", "crv": "X25519", "x": b64url(point)}
        yield "low order", raw_jwe(document, lambda h, e=low: {**h, "epk": e}, suite="jwe-x25519")
    for suite, other in (("jwe-p256", "jwe-x25519"), ("jwe-x25519", "jwe-p256"),
                         ("jwe-p256", "hpke-xwing"), ("jwe-x25519", "hpke-x25519")):  # fmt: skip
        kid = key_of(document, other)["kid"]
        yield (
            f"{suite} with a key of {other}",
            raw_jwe(document, lambda h, k=kid: {**h, "kid": k}, suite=suite),
        )


def plaintexts(document: Document) -> Iterator[Forgery]:
    """Authentic messages whose plaintext is not exactly a card."""
    text = json.dumps(CARD)
    wholes = [
        b"", b"null", b"[]", b"42", b'"4242424242424242"', b"{}", text.encode()[:-1],
        text.encode() + b"x",
        b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode() + b"\xff",
        text.replace('"cvc"', '"number": "4111111111111111", "cvc"').encode(),
        text.replace("12,", "12.0,").encode(), text.replace("12,", "1e1,").encode(),
        text.replace("12,", "NaN,").encode(), text.replace("12,", "9" * 5_000 + ",").encode(),
        b"[" * 5_000, b'{"a":' * 900 + b"1" + b"}" * 900, zlib.compress(text.encode()),
        jwe_card(document).encode(), b"4242424242424242|12|2031|973",
    ]  # fmt: skip
    cards: list[Any] = [
        {**CARD, "extra": 1}, {**CARD, "Number": "4242424242424242"}, {**CARD, "pin": "1234"},
        [CARD],
        {"card": CARD}, {**CARD, "number": None}, {**CARD, "number": 4242424242424242},
        {**CARD, "number": ["4242424242424242"]}, {**CARD, "exp_month": "12"},
        {**CARD, "exp_month": True},
        {**CARD, "exp_year": None}, {**CARD, "cvc": 973}, {**CARD, "cvc": False},
        {**CARD, "holder_name": {"a": "b"}}, {**CARD, "holder_name": "\ud800"},
    ]  # fmt: skip
    cards += [
        {k: v for k, v in CARD.items() if k != name} for name in ("number", "exp_month", "exp_year")
    ]
    for number, whole in enumerate([*wholes, *(json.dumps(card).encode() for card in cards)]):
        yield f"JWE plaintext {number}", raw_jwe(document, plaintext=whole)
        sealed = hpke_card(document, plaintext=whole or b"\0")
        yield f"HPKE plaintext {number}", sealed
    for card in cards:
        yield f"HPKE card {card!r:.60}", hpke_card(document, card)


def hpke_names(document: Document, suite: str) -> Iterator[Forgery]:
    """HPKE messages that say another version, suite or key than they are of."""
    version, name, kid, body = encrypt(document, suite).split(".")
    for other in ("hpke-x25519", "hpke-xwing", "hpke-p256", "jwe-p256", "HPKE-X25519", "none", " "):
        if other != suite:
            yield f"{suite} called {other}", f"{version}.{other}.{kid}.{body}"
            yield f"{suite} bound to {other}", hpke_card(document, suite=suite, named=other)
    for other in ("v2", "v0", "V1", "1", "", "v1 ", "v1\n"):
        yield f"version {other!r}", f"{other}.{name}.{kid}.{body}"
    for key in document["keys"]:
        if key["kid"] != kid:
            yield f"{suite} with another kid", f"{version}.{name}.{key['kid']}.{body}"
            bound = hpke_card(document, suite=suite, kid=key["kid"])
            yield f"{suite} bound to another kid", bound
    for text in _OTHERS["kid"]:
        yield f"kid {text!r}", f"{version}.{name}.{text}.{body}"


def hpke_bodies(document: Document, suite: str) -> Iterator[Forgery]:
    """HPKE messages for others, and cut ones."""
    version, name, kid, body = encrypt(document, suite).split(".")
    ours = document["audience"]
    for audience in ("\n", ours + " ", ours.replace("test", "live"), ours.upper()):
        yield f"{suite} for {audience!r}", hpke_card(document, suite=suite, audience=audience)
    raw = unb64url(body)
    for size in (0, 1, 15, 31, 32, 47, 48, 1119, 1120, 1135):
        if size < len(raw):
            yield f"{suite} of {size} bytes", f"{version}.{name}.{kid}.{b64url(raw[:size])}"


def hpke_claims(document: Document) -> Iterator[Forgery]:
    """HPKE messages with other claims, and points whose shared secret is zero."""
    now = document["server_time"]
    changes: list[Head] = [
        {"iat": None}, {"exp": None}, {"jti": None}, {"card": None}, {"iat": True},
        {"iat": now + 0.5},
        {"exp": str(now)}, {"exp": now}, {"exp": now + 601}, {"jti": "short"},
        {"jti": 12345678901234567},
        {"extra": 1}, {"aud": document["audience"]}, {"card": []}, {"card": "x"}, {"card": [CARD]},
    ]  # fmt: skip
    for change in changes:
        yield f"claims {change}", hpke_card(document, **change)
    for point in LOW_ORDER:
        kid = key_of(document, "hpke-x25519")["kid"]
        yield "HPKE low order", f"v1.hpke-x25519.{kid}.{b64url(point + bytes(80))}"


def shapes(document: Document) -> Iterator[Forgery]:
    """Texts that are not one of the two forms in their only encoding."""
    for suite in ("jwe-p256", "jwe-x25519", "hpke-x25519", "hpke-xwing"):
        good = encrypt(document, suite)
        parts = good.split(".")
        for number in range(len(parts)):
            yield f"{suite} part {number} left out", ".".join(parts[:number] + parts[number + 1 :])
            if parts[number]:
                yield f"{suite} part {number} emptied", changed(parts, number, "")
            for end in ("=", "==", "A", " ", "\n", "\0", "%3D", "\u200b"):
                yield (
                    f"{suite} part {number} + {end!r}",
                    changed(parts, number, parts[number] + end),
                )
            yield f"{suite} part {number} led", changed(parts, number, " " + parts[number])
            for second in range(number):
                swapped = list(parts)
                swapped[number], swapped[second] = swapped[second], swapped[number]
                if swapped != parts:
                    yield f"{suite} parts {second} and {number} swapped", ".".join(swapped)
        for end in (".", "..", ".AAAA", "\n", " ", "\0", "#", "AAAA"):
            yield f"{suite} + {end!r}", good + end
            yield f"{end!r} + {suite}", end + good
        yield f"{suite} upper", good.upper()
        yield f"{suite} twice", good + good
        yield f"{suite} in base64", b64url(good.encode())
        yield f"{suite} in plain base64", ".".join(plain(part) for part in parts)
        yield f"{suite} too long", changed(parts, len(parts) - 1, parts[-1] + "A" * 8_192)
        yield f"{suite} last bits", noncanonical(good)
    standard = raw_jwe(document, encoded=lambda head: base64.b64encode(head).decode())
    yield "a header in padded base64", standard
    jwe = jwe_card(document).split(".")
    flat = dict(zip(("protected", "iv", "ciphertext", "tag"), (jwe[0], *jwe[2:]), strict=True))
    yield "JSON serialization", json.dumps(flat)
    yield "general JSON", json.dumps({**flat, "recipients": [{"header": {}}]})
    yield "a JWS", ".".join(jwe[:3])
    for junk in ("", ".", "....", "...", "v1...", "v1.hpke-x25519..", "null", "{}", "0",
                 "A" * 8_193, "." * 9_000, "4242424242424242", "\0" * 50,
                 "ｖ１．ａ．ｂ．ｃ"):  # fmt: skip
        yield f"junk {junk[:20]!r}", junk


def structural(document: Document) -> Iterator[Forgery]:
    """Every forgery that is not a single changed character."""
    for family in (headers, ephemeral_keys, plaintexts, hpke_claims, shapes):
        yield from family(document)
    for suite in ("hpke-x25519", "hpke-xwing"):
        yield from hpke_names(document, suite)
        yield from hpke_bodies(document, suite)


def flips(text: str) -> Iterator[Forgery]:
    """A good message with each of its characters exchanged for another of the alphabet."""
    for place, old in enumerate(text):
        new = "B" if old == "A" else "A"
        yield f"character {place}", text[:place] + new + text[place + 1 :]


def cuts(text: str) -> Iterator[Forgery]:
    """A good message cut off after each of its characters, from either end."""
    for place in range(len(text)):
        yield f"the first {place}", text[:place]
        yield f"without the first {place + 1}", text[place + 1 :]


def twice(head: Head, name: str) -> bytes:
    """Return a header with a member that stands twice, the good value last."""
    return b'{"' + name.encode() + b'": "x", ' + json.dumps(head).encode()[1:]


def renamed(head: Head, name: str) -> Head:
    """Return a header with a member spelled in capitals."""
    return {k.upper() if k == name else k: v for k, v in head.items()}


def replaced(head: Head, old: bytes, new: bytes) -> bytes:
    """Return a header's bytes with some exchanged."""
    whole = json.dumps(head).encode()
    assert old in whole
    return whole.replace(old, new, 1)


def changed(parts: list[str], number: int, text: str) -> str:
    """Return the parts joined, one of them another."""
    return ".".join([*parts[:number], text, *parts[number + 1 :]])


def plain(part: str) -> str:
    """Return base64url as plain base64."""
    return part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4)


def noncanonical(text: str) -> str:
    """Return the same bytes in another encoding: a bit set that decoders drop."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    head, _, last = text.rpartition(".")
    if len(last) % 4 == 0:
        return text + "="
    return f"{head}.{last[:-1]}{alphabet[alphabet.index(last[-1]) | 1]}"


def key_epk(document: Document) -> Head:
    """Return the installation's own public key as an ephemeral one."""
    key = key_of(document, "jwe-p256")
    return {name: key[name] for name in ("kty", "crv", "x", "y")}
