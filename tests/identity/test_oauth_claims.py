"""Claims of assertions and tokens that are refused, each for one reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom.identity.oauth.decide import assertion_fault, token_fault

NOW = datetime(2030, 1, 1, tzinfo=UTC)
S = int(NOW.timestamp())
ISSUER = "https://pay.example"
CLIENT = "ocl_" + "0" * 26
ASSERTION: dict[str, Any] = {
    "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "jti": "a-fresh-id", "iat": S, "exp": S + 60,
}  # fmt: skip
TOKEN: dict[str, Any] = {
    "iss": ISSUER, "aud": f"{ISSUER}/v1", "sub": CLIENT, "client_id": CLIENT, "mode": "test",
    "merchant": "mer_" + "0" * 26, "scope": "payment:read", "iat": S, "exp": S + 300,
    "jti": "oat_" + "0" * 26, "cnf": {"jkt": "A" * 43},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("sub", None, "subject"),
        ("sub", "admin", "subject"),
        ("sub", CLIENT + "\n", "subject"),
        ("sub", [CLIENT], "subject"),
        ("iss", "ocl_" + "1" * 26, "issuer"),
        ("iss", None, "issuer"),
        ("aud", None, "audience"),
        ("aud", [ISSUER], "audience"),
        ("aud", [ISSUER, "https://evil.example"], "audience"),
        ("aud", ISSUER + "/", "audience"),
        ("aud", ISSUER + "/oauth/token", "audience"),
        ("aud", ISSUER + "/v1", "audience"),
        ("aud", ISSUER.upper(), "audience"),
        ("jti", None, "id"),
        ("jti", "short", "id"),
        ("jti", "a" * 257, "id"),
        ("jti", 12345678, "id"),
        ("exp", None, "expiry"),
        ("exp", str(S + 60), "expiry"),
        ("exp", True, "expiry"),
        ("exp", S, "expired"),
        ("exp", S - 1, "expired"),
        ("exp", S + 311, "lifetime"),
        ("exp", 2**53 - 1, "lifetime"),
        ("iat", S + 11, "not_yet"),
        ("iat", "now", "not_yet"),
        ("iat", S - 300, "lifetime"),
        ("nbf", S + 11, "not_yet"),
        ("nbf", True, "not_yet"),
    ],
)
def test_an_assertion_is_for_us_now_and_for_minutes(name: str, value: Any, fault: str) -> None:
    assert assertion_fault(ASSERTION, issuer=ISSUER, now=NOW) is None
    changed = {**ASSERTION, name: value}
    given = {key: claim for key, claim in changed.items() if claim is not None}
    assert assertion_fault(given, issuer=ISSUER, now=NOW) == fault


def test_ten_seconds_of_skew_are_allowed() -> None:
    for changes in ({"iat": S + 10}, {"nbf": S + 10}, {"iat": S + 10, "exp": S + 310}):
        assert assertion_fault({**ASSERTION, **changes}, issuer=ISSUER, now=NOW) is None


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("iss", "https://other.example", "issuer"),
        ("aud", ISSUER, "audience"),
        ("aud", [f"{ISSUER}/v1"], "audience"),
        ("mode", "live", "mode"),
        ("mode", None, "mode"),
        ("jti", "key_" + "0" * 26, "id"),
        ("sub", "somebody", "subject"),
        ("client_id", "ocl_" + "1" * 26, "subject"),
        ("cnf", None, "binding"),
        ("cnf", {}, "binding"),
        ("cnf", {"jkt": "A" * 43, "x5t#S256": "A" * 43}, "binding"),
        ("cnf", {"jwk": {}}, "binding"),
        ("scope", None, "scope"),
        ("scope", ["payment:read"], "scope"),
        ("exp", S, "expired"),
        ("exp", None, "time"),
        ("iat", S + 11, "time"),
    ],
)
def test_a_token_is_ours_for_this_service_and_mode_and_bound(
    name: str, value: Any, fault: str
) -> None:
    assert token_fault(TOKEN, issuer=ISSUER, mode="test", now=NOW) is None
    changed = {**TOKEN, name: value}
    given = {key: claim for key, claim in changed.items() if claim is not None}
    assert token_fault(given, issuer=ISSUER, mode="test", now=NOW) == fault


def test_an_assertion_is_no_token_and_a_token_no_assertion() -> None:
    assert token_fault(ASSERTION, issuer=ISSUER, mode="test", now=NOW) == "issuer"
    assert assertion_fault(TOKEN, issuer=ISSUER, now=NOW) == "issuer"
