"""Request headers: the idempotency key in both forms, media type, version, duplicates."""

from __future__ import annotations

import pytest

from strongroom.api import headers
from strongroom.kernel.errors import StrongroomError


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ('"a\\"b\\\\c"', 'a"b\\c'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_may_be_quoted_or_bare(value: str, key: str) -> None:
    assert headers.idempotency_key(value) == key


@pytest.mark.parametrize(
    "value",
    ["", '""', '"', '"abc', '"a"b"', '"a\\b"', '"abc\\"', "a b", "ä", "a\tb", "x" * 256,
     '"a";p=1', '"a", "b"'],
)  # fmt: skip
def test_malformed_keys_are_refused(value: str) -> None:
    with pytest.raises(StrongroomError) as caught:
        headers.idempotency_key(value)
    assert caught.value.code == "idempotency_key_invalid"


def test_a_missing_key_has_its_own_code() -> None:
    with pytest.raises(StrongroomError) as caught:
        headers.idempotency_key(None)
    assert caught.value.code == "idempotency_key_missing"


@pytest.mark.parametrize(
    "value",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
def test_json_in_utf8_is_taken(value: str) -> None:
    headers.check_json(value)


@pytest.mark.parametrize(
    "value",
    [None, "", "text/plain", "application/json; charset=latin-1", "application/jsonp",
     "application/x-www-form-urlencoded", "application/json; charset=utf-8; x=1"],
)  # fmt: skip
def test_other_media_types_are_refused(value: str | None) -> None:
    with pytest.raises(StrongroomError) as caught:
        headers.check_json(value)
    assert caught.value.code == "unsupported_media_type"


def test_only_published_versions_exist() -> None:
    headers.check_version(None)
    headers.check_version(headers.VERSIONS[0])
    with pytest.raises(StrongroomError):
        headers.check_version("2020-01-01")


@pytest.mark.parametrize("name", [b"authorization", b"idempotency-key", b"content-type"])
def test_a_header_that_stands_twice_is_refused(name: bytes) -> None:
    with pytest.raises(StrongroomError) as caught:
        headers.read([(name, b"a"), (b"x-other", b"b"), (name, b"a")])
    assert caught.value.code == "duplicate_header"


def test_headers_show_no_credential() -> None:
    found = headers.read([(b"authorization", b"Bearer sr_test_sk_x")])
    assert found.authorization == "Bearer sr_test_sk_x"
    assert "sr_test" not in f"{found!r}{found}"
