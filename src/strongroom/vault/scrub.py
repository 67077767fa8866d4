"""Takes card data out of a gateway's answer before anyone sees it.

An answer without a run of twelve digits and without the CVC passes in a few microseconds.
Otherwise every run of digits that is the card's number, or that any card could have (brand, length
and Luhn), becomes `424242******4242`; a security code beside a word for it becomes `***`.
Separators and JSON escapes do not hide a number. An encoding that no gateway uses for digits
(base64, percent) is not looked into.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from strongroom.kernel.secret import Cvc, Pan, luhn_valid
from strongroom.outbound.wire import Answer
from strongroom.vault.brands import UNKNOWN, brand_of
from strongroom.vault.decide import shown_digits
from strongroom.vault.egress import GatewayAnswer

_DIGITS_OR_SPACE = bytes(byte if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_SEPARATORS = b" -._/\t"
_RUN = re.compile(r"\d(?:[ \-._/\t]{0,3}\d){11,}")
_NOT_DIGIT = re.compile(r"\D")
_ESCAPED_DIGIT = re.compile(rb"\\u003([0-9])")
_ESCAPED_SEPARATOR = re.compile(rb"\\u00(20|2[dDeEfF]|5[fF]|09)|\\t")
_CVC_WORD = re.compile(
    r"cvc|cvv|cvn|csc|security.{0,3}code|verification.{0,3}(?:value|code)|card.{0,3}code",
    re.IGNORECASE,
)
_CVC_BESIDE = re.compile(
    r"((?:cvc|cvv|cvn|csc|security.{0,3}code|verification.{0,3}(?:value|code)|card.{0,3}code)"
    r"[a-z0-9_]{0,12}?\W{1,12}?)(\d{3,4})(?!\d)",
    re.IGNORECASE,
)
_MAX_DIGITS, _MIN_DIGITS = 19, 12


def scrub(body: bytes, pan: Pan | None, cvc: Cvc | None) -> bytes:
    """Return the body with all card data masked; JSON stays JSON."""
    if rb"\u003" in body:
        body = _ESCAPED_SEPARATOR.sub(_unescape, _ESCAPED_DIGIT.sub(rb"\1", body))
    echoed = cvc is not None and cvc.reveal().encode() in body
    suspect = _suspect(body, pan)
    if not suspect and not echoed:
        return body
    text = body.decode("utf-8", "replace")
    found = (suspect and _has_number(text, pan)) or (echoed and _CVC_WORD.search(text))
    return _masked(body, text, pan, cvc) if found else body


def _suspect(body: bytes, pan: Pan | None) -> bool:
    """Return whether a closer look is needed: separators taken out, is there a card number?"""
    for run in body.translate(_DIGITS_OR_SPACE, _SEPARATORS).split():
        if len(run) >= _MIN_DIGITS:
            digits = run.decode()
            if len(digits) > _MAX_DIGITS or _could_be_card(digits):
                return True
            if pan is not None and pan.reveal() in digits:
                return True
    return False


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return b" " if code is None else bytes([int(code, 16)]).replace(b"\t", b" ")


def _has_number(text: str, pan: Pan | None) -> bool:
    return any(_mask_run(run, pan) != run[0] for run in _RUN.finditer(text))


def _masked(body: bytes, text: str, pan: Pan | None, cvc: Cvc | None) -> bytes:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _mask_text(text, pan, cvc).encode()
    return msgspec.json.encode(_mask_value(value, pan, cvc, beside=False))


def _mask_value(value: Any, pan: Pan | None, cvc: Cvc | None, *, beside: bool) -> Any:
    """Return a JSON value masked; `beside` says that its key is a word for a security code."""
    if isinstance(value, dict):
        return {
            _mask_text(key, pan, cvc): _mask_value(
                item, pan, cvc, beside=_CVC_WORD.search(key) is not None
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_mask_value(item, pan, cvc, beside=beside) for item in value]
    if isinstance(value, str):
        if beside and value.isdigit() and 3 <= len(value) <= 4:
            return "*" * len(value)
        return _mask_text(value, pan, cvc)
    if isinstance(value, bool) or value is None:
        return value
    if beside and cvc is not None and str(value) == cvc.reveal().lstrip("0"):
        return "***"
    masked = _mask_text(f"{value:.0f}" if isinstance(value, float) else str(value), pan, None)
    return masked if "*" in masked else value


def _mask_text(text: str, pan: Pan | None, cvc: Cvc | None) -> str:
    masked = _RUN.sub(lambda run: _mask_run(run, pan), text)
    if cvc is None or cvc.reveal() not in masked:
        return masked
    return _CVC_BESIDE.sub(lambda match: f"{match[1]}{'*' * len(match[2])}", masked)


def _mask_run(match: re.Match[str], pan: Pan | None) -> str:
    """Return a run of digits and separators with every card number in it masked.

    The number of the card at hand is found anywhere. A number that merely could be a card's is
    left alone inside an identifier: masked, the gateway's own references would no longer be its.
    """
    run = match[0]
    digits = _NOT_DIGIT.sub("", run)
    if pan is not None and pan.reveal() in digits:
        return digits.replace(pan.reveal(), _mask_digits(pan.reveal()))
    if _in_identifier(match):
        return run
    groups = [group for group in _NOT_DIGIT.split(run) if group]
    for start in range(len(groups)):
        joined = ""
        for end in range(start, len(groups)):
            joined += groups[end]
            if len(joined) > _MAX_DIGITS:
                break
            if _could_be_card(joined):
                rest = [*groups[:start], _mask_digits(joined), *groups[end + 1 :]]
                return " ".join(rest)
    return run


def _in_identifier(match: re.Match[str]) -> bool:
    around = match.string[max(0, match.start() - 1) : match.start()]
    around += match.string[match.end() : match.end() + 1]
    return any(character.isalnum() or character == "_" for character in around)


def _could_be_card(digits: str) -> bool:
    if not _MIN_DIGITS <= len(digits) <= _MAX_DIGITS:
        return False
    brand = brand_of(digits)
    return brand.name != UNKNOWN and len(digits) in brand.lengths and luhn_valid(digits)


def _mask_digits(digits: str) -> str:
    first, last = shown_digits(digits)
    return f"{first}{'*' * (len(digits) - len(first) - len(last))}{last}"


OF_INTEREST = (
    "content-type",
    "idempotent-replayed",
    "pspreference",
    "request-id",
    "stripe-should-retry",
    "x-request-id",
)
"""Headers of an answer that connectors may read; all others are dropped."""


def scrub_headers(headers: dict[str, str], pan: Pan | None, cvc: Cvc | None) -> dict[str, str]:
    """Return the headers of interest, masked."""
    return {name: _mask_text(headers[name], pan, cvc) for name in OF_INTEREST if name in headers}


def scrubbed(answer: Answer, pan: Pan | None, cvc: Cvc | None) -> GatewayAnswer:
    """Return an answer as connectors may see it."""
    retry = answer.headers.get("retry-after", "")
    return GatewayAnswer(
        status=answer.status,
        body=scrub(b"".join(answer.body), pan, cvc),
        retry_after_s=int(retry) if retry.isdecimal() and len(retry) < 6 else None,
        headers=scrub_headers(answer.headers, pan, cvc),
    )
