"""What is refused before it is believed: spellings, headers, keys and signatures that are not ours.

Each case is one that verifiers have accepted by mistake: algorithms that the sender chose, keys
that the sender brought, two spellings of one signature, JSON that two readers read in two ways.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from strongroom.identity.oauth import decide, jose
from strongroom.kernel.edge_limits import OAUTH_JWT_MAX_BYTES
from strongroom.kernel.errors import StrongroomError
from tests.identity.oauth_support import KINDS, b64, jwks, new_key, public, signed

MEMBERS = {"alg", "kid", "typ"}
TYPES = (None, "JWT")
KEYS = {algorithm: new_key(algorithm) for algorithm in KINDS}
ES256 = KEYS["ES256"]
GOOD = signed(ES256, {"alg": "ES256", "typ": "JWT"}, {"sub": "me"})
HEAD, BODY, SIGNATURE = GOOD.split(".")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def check(text: str, key: Any = ES256, **more: Any) -> str | None:
    """Return why a JWS is refused, or None when it is taken."""
    given = {"members": MEMBERS, "types": TYPES, **more}
    try:
        jws = jose.read(text, **given)
        jose.verify(jws, jose.public_key(public(key)))
    except jose.Refused as refused:
        return refused.reason
    return None


def with_header(header: Any, *, key: Any = ES256) -> str:
    """Return a JWS whose header is exactly this text, honestly signed all the same."""
    text = header if isinstance(header, str) else json.dumps(header)
    message = f"{b64(text.encode())}.{BODY}"
    private = key.get_op_key("sign")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(private.sign(message.encode(), ECDSA(hashes.SHA256())))
    return f"{message}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.mark.parametrize("algorithm", KINDS)
def test_what_others_sign_is_taken_and_each_bit_counts(algorithm: str) -> None:
    key = KEYS[algorithm]
    text = signed(key, {"alg": algorithm}, {"sub": "me"})
    assert check(text, key) is None
    head, body, signature = text.split(".")
    raw = bytearray(jose.decoded(signature))
    for place in range(0, len(raw), 7):
        raw[place] ^= 1
        assert check(f"{head}.{body}.{b64(bytes(raw))}", key) == "signature"
        raw[place] ^= 1
    for other in KINDS:
        if other != algorithm:
            assert check(text, KEYS[other]) == "algorithm_of_key"
    assert check(text, new_key(algorithm)) == "signature"


def test_the_sender_never_chooses_the_algorithm() -> None:
    unsigned = b64(b'{"alg":"none"}')
    assert check(f"{unsigned}.{BODY}.{SIGNATURE}") == "algorithm"
    assert check(f"{unsigned}.{BODY}.") == "base64url"
    pem = ES256.export_to_pem()
    for secret in (pem, pem.strip(), json.dumps(public(ES256)).encode(), b""):
        head = b64(b'{"alg":"HS256"}')
        tag = hmac.digest(secret, f"{head}.{BODY}".encode(), hashlib.sha256)
        assert check(f"{head}.{BODY}.{b64(tag)}") == "algorithm"
    for name in ("ES384", "RS256", "HS256", "None", "NONE", "nOnE", "es256", "", " ES256", 7, None,
                 ["ES256"], {"ES256": 1}, "ES256\x00", "PS256", "EdDSA"):  # fmt: skip
        told = check(with_header({"alg": name}))
        assert told == ("algorithm_of_key" if name in ("PS256", "EdDSA") else "algorithm"), name
    rs256 = signed(KEYS["PS256"], {"alg": "RS256"}, {"sub": "me"})
    assert check(rs256, KEYS["PS256"]) == "algorithm"
    renamed = b64(b'{"alg":"PS256"}') + rs256[rs256.index(".") :]
    assert check(renamed, KEYS["PS256"]) == "signature"


HEADERS = {
    "jku": "https://evil.example/jwks",
    "x5u": "https://evil.example/cert",
    "jwk": {"kty": "oct", "k": "AAAA"},
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
    "cty": "JWT",
    "enc": "A256GCM",
    "epk": {},
    "p2c": 10_000_000,
    "iss": "me",
    "__proto__": {},
}


@pytest.mark.parametrize("member", HEADERS)
def test_headers_that_fetch_explain_or_nest_are_refused(member: str) -> None:
    header = {"alg": "ES256", member: HEADERS[member]}
    assert check(with_header(header)) == "header_member"
    header = {"alg": "ES256", "crit": [member], member: HEADERS[member]}
    assert check(with_header(header)) == "header_member"


@pytest.mark.parametrize("kind", ["at+jwt", "dpop+jwt", "id_token", "jwt", "JOSE", "", 1, ["JWT"]])
def test_the_type_is_one_of_those_expected(kind: Any) -> None:
    assert check(with_header({"alg": "ES256", "typ": kind})) == "type"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ('{"alg":"none","alg":"ES256"}', "duplicate_name"),
        ('{"alg":"ES256","\\u0061lg":"ES256"}', "duplicate_name"),
        ('{"alg":"ES256"}{}', "json"),
        ('{"alg":"ES256"', "json"),
        ('["ES256"]', "json"),
        ('"ES256"', "json"),
        ("null", "json"),
        ('\ufeff{"alg":"ES256"}', "json"),
        ("{'alg':'ES256'}", "json"),
        ('{"alg":"ES256","kid":1.5}', "number"),
        ('{"alg":"ES256","kid":NaN}', "number"),
        ('{"alg":"ES256","kid":-0}', "number"),
        ('{"alg":"ES256","kid":99999999999999999999}', "number"),
        ('{"alg":"ES256","kid":' + "[" * 100 + "]" * 100 + "}", "nested"),
    ],
)
def test_json_has_one_reading(header: str, reason: str) -> None:
    assert check(with_header(header)) == reason


def test_json_is_utf8() -> None:
    for data in (b'{"alg":"ES256\xff"}', b"\xff\xfe{\x00}\x00", b'{"a":"\xed\xa0\x80"}', b""):
        with pytest.raises(jose.Refused):
            jose.document(data)


def test_one_signature_has_one_spelling() -> None:
    assert check(GOOD) is None
    last = SIGNATURE[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bytes = [
        SIGNATURE[:-1] + c
        for c in alphabet
        if c != last
        and base64.urlsafe_b64decode(SIGNATURE[:-1] + c + "==")
        == base64.urlsafe_b64decode(SIGNATURE + "==")
    ]
    assert same_bytes, "the last character has bits that nobody reads"
    for signature in (*same_bytes, SIGNATURE + "=", SIGNATURE + "==", SIGNATURE + "\n",
                      " " + SIGNATURE, SIGNATURE[:5] + "\n" + SIGNATURE[5:], SIGNATURE + "A",
                      SIGNATURE.replace("-", "+").replace("_", "/") + "+", "",
                      SIGNATURE[:-1], SIGNATURE + "\u0661", SIGNATURE + "%3D"):  # fmt: skip
        assert check(f"{HEAD}.{BODY}.{signature}") in ("base64url", "signature"), signature
    in_json = json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE})
    for text in (f"{HEAD}.{BODY}", f"{GOOD}.", f".{GOOD}", f"{GOOD}.{SIGNATURE}", "", "..",
                 "a.b.c.d.e", in_json):  # fmt: skip
        assert check(text) in ("not_compact", "base64url"), text
    assert check("A" * (OAUTH_JWT_MAX_BYTES + 1)) == "too_long"


def test_numbers_of_a_signature_are_in_range_and_of_full_length() -> None:
    raw = jose.decoded(SIGNATURE)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order, zero = P256_ORDER, bytes(32)

    def both(first: int, second: int) -> bytes:
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")

    longer = both(r, s)
    cases = [
        zero + zero, zero + raw[32:], raw[:32] + zero, both(order, s), both(r, order),
        both(order - 1, order - 1), both(2**256 - 1, 2**256 - 1), both(1, 1),
        longer + b"\x00", b"\x00" + longer, raw[:63], raw[:32] + b"\x00" + raw[32:],
        raw[:32], b"\x30\x45" + raw, (r.to_bytes(33, "big") + s.to_bytes(33, "big")),
    ]  # fmt: skip
    for case in cases:
        assert check(f"{HEAD}.{BODY}.{b64(case)}") == "signature"


def test_a_signature_of_ed25519_beyond_its_order_is_refused() -> None:
    key = KEYS["EdDSA"]
    head, body, signature = signed(key, {"alg": "EdDSA"}, {"sub": "me"}).split(".")
    raw = jose.decoded(signature)
    order = 2**252 + 27742317777372353535851937790883648493
    moved = (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert check(f"{head}.{body}.{b64(raw[:32] + moved)}", key) == "signature"


def off_curve() -> dict[str, Any]:
    made = public(ES256)
    return {**made, "y": b64(bytes(31) + b"\x01")}


RSA = public(KEYS["PS256"])
EC = public(ES256)
OKP = public(KEYS["EdDSA"])


def rsa_of(bits: int, exponent: int = 65537) -> dict[str, Any]:
    numbers = rsa.generate_private_key(public_exponent=exponent, key_size=bits).public_key()
    n, e = numbers.public_numbers().n, numbers.public_numbers().e
    return {
        "kty": "RSA", "n": b64(n.to_bytes((n.bit_length() + 7) // 8, "big")),
        "e": b64(e.to_bytes((e.bit_length() + 7) // 8, "big")),
    }  # fmt: skip


BAD_KEYS: dict[str, tuple[Any, str]] = {
    "nothing": (None, "jwk"),
    "text": ("EC", "jwk"),
    "list": ([EC], "jwk"),
    "private EC": (ES256.export(as_dict=True), "private_key"),
    "private RSA": (KEYS["PS256"].export(as_dict=True), "private_key"),
    "private OKP": (KEYS["EdDSA"].export(as_dict=True), "private_key"),
    "secret": ({"kty": "oct", "k": b64(bytes(32))}, "private_key"),
    "oct": ({"kty": "oct"}, "key_type"),
    "unknown": ({**EC, "kty": "XX"}, "key_type"),
    "kty as list": ({**EC, "kty": ["EC"]}, "key_type"),
    "P-384": ({**EC, "crv": "P-384"}, "curve"),
    "secp256k1": ({**EC, "crv": "secp256k1"}, "curve"),
    "X25519": ({**OKP, "crv": "X25519"}, "curve"),
    "Ed448": ({**OKP, "crv": "Ed448"}, "curve"),
    "no y": ({n: v for n, v in EC.items() if n != "y"}, "jwk_members"),
    "x as number": ({**EC, "x": 1}, "jwk_members"),
    "chain": ({**EC, "x5c": ["MIIB"]}, "jwk_members"),
    "chain by URL": ({**EC, "x5u": "https://evil.example"}, "jwk_members"),
    "off its curve": (off_curve(), "key_value"),
    "zero point": ({**EC, "x": b64(bytes(32)), "y": b64(bytes(32))}, "key_value"),
    "short x": ({**EC, "x": b64(bytes(31))}, "key_value"),
    "long x": ({**EC, "x": b64(b"\x00" + jose.decoded(EC["x"]))}, "key_value"),
    "padded x": ({**EC, "x": EC["x"] + "="}, "base64url"),
    "identity": ({**OKP, "x": b64(b"\x01" + bytes(31))}, "key_value"),
    "small order": ({**OKP, "x": b64(bytes.fromhex(
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))}, "key_value"),
    "small order, other sign": ({**OKP, "x": b64(bytes.fromhex(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"))}, "key_value"),
    "zero in another spelling": ({**OKP, "x": b64(b"\xed" + b"\xff" * 30 + b"\x7f")}, "key_value"),
    "RSA-1024": (rsa_of(1024), "key_size"),
    "exponent 3": (rsa_of(2048, 3), "key_value"),
    "exponent 1": ({**RSA, "e": b64(b"\x01")}, "key_value"),
    "even modulus": ({**RSA, "n": b64(jose.decoded(RSA["n"])[:-1] + b"\x00")}, "key_value"),
    "modulus with zeros": ({**RSA, "n": b64(b"\x00" + jose.decoded(RSA["n"]))}, "key_value"),
    "RSA-8192": ({**RSA, "n": b64(b"\xff" * 1024)}, "key_size"),
    "for encryption": ({**EC, "use": "enc"}, "key_use"),
    "for signing": ({**EC, "key_ops": ["sign"]}, "key_use"),
    "for other things too": ({**EC, "key_ops": ["verify", "sign"]}, "key_use"),
    "RS256": ({**RSA, "alg": "RS256"}, "algorithm_of_key"),
    "RSA as HMAC": ({**RSA, "alg": "HS256"}, "algorithm_of_key"),
    "EC as none": ({**EC, "alg": "none"}, "algorithm_of_key"),
    "path": ({**EC, "kid": "../../etc/passwd"}, "kid"),
    "SQL": ({**EC, "kid": "' OR 1=1 --"}, "kid"),
    "URL": ({**EC, "kid": "https://evil.example/k"}, "kid"),
    "zero byte": ({**EC, "kid": "a\x00b"}, "kid"),
    "line": ({**EC, "kid": "a\n"}, "kid"),
    "long kid": ({**EC, "kid": "a" * 65}, "kid"),
    "empty kid": ({**EC, "kid": ""}, "kid"),
    "kid as number": ({**EC, "kid": 7}, "kid"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_KEYS)
def test_keys_that_are_not_taken(name: str) -> None:
    key, reason = BAD_KEYS[name]
    with pytest.raises(jose.Refused) as refused:
        jose.public_key(key)
    assert refused.value.reason == reason
    with pytest.raises(StrongroomError) as caught:
        decide.client_keys(json.dumps({"keys": [key]}).encode())
    assert caught.value.code == "invalid_parameter"


def test_thumbprints_are_those_of_others_and_kid_is_no_part_of_them() -> None:
    for key in KEYS.values():
        named = jose.public_key({**public(key), "kid": "k-1", "use": "sig"})
        assert named.thumbprint == key.thumbprint()
        assert named.kid == "k-1"
        assert "d" not in named.members and repr(named) == f"PublicKey({named.algorithm})"


def test_a_clients_key_set_is_small_and_each_key_has_its_name() -> None:
    first, second = new_key(kid="a"), new_key(kid="a")
    for document in (
        b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1]}', jwks(first, second),
        jwks(*(new_key(kid=str(n)) for n in range(5))), b" " * 40_000 + jwks(first),
        b'{"keys":[],"keys":[' + json.dumps(public(first)).encode() + b"]}",
    ):  # fmt: skip
        with pytest.raises(StrongroomError) as caught:
            decide.client_keys(document)
        assert caught.value.param == "jwks"
    assert [key.kid for key in decide.client_keys(jwks(first))] == ["a"]


@given(st.binary(min_size=1, max_size=200))
def test_base64url_of_any_bytes_comes_back(data: bytes) -> None:
    assert jose.decoded(jose.encoded(data)) == data


@given(st.text(max_size=40))
def test_any_text_is_base64url_in_its_one_spelling_or_refused(text: str) -> None:
    try:
        data = jose.decoded(text)
    except jose.Refused:
        return
    assert jose.encoded(data) == text


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: f"{b64(b)}.{b64(b)}.{b64(b)}"))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert check(text) is not None


@given(st.text(max_size=80))
def test_a_normalized_uri_normalizes_to_itself(text: str) -> None:
    once = decide.normalized(text)
    assert once is None or decide.normalized(once) == once
