"""Bodies and refusals of the OAuth endpoints: strict forms, and errors as RFC 6749 spells them.

A form is UTF-8 in `application/x-www-form-urlencoded`, bounded, with no name twice. Names that mean
nothing here are left out, as the standard wants; an empty value is one that was not sent.
"""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from strongroom.api import errors, strict
from strongroom.kernel.edge_limits import OAUTH_FORM_FIELDS_MAX
from strongroom.kernel.errors import StrongroomError

T = TypeVar("T")

MEDIA = "application/x-www-form-urlencoded"

STATUS = {
    "invalid_client": 401,
    "invalid_dpop_proof": 400,
    "invalid_grant": 400,
    "invalid_request": 400,
    "invalid_scope": 400,
    "invalid_target": 400,
    "unsupported_grant_type": 400,
    "use_dpop_nonce": 400,
}
"""What the standards name, with the status they give it at these endpoints."""

_WELL_FORMED = re.compile(r"(?:[A-Za-z0-9*._+&=~-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_UNWRITABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


class OAuthRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """An error of an OAuth endpoint (RFC 6749 section 5.2)."""

    error: str
    error_description: str


def check_form(content_type: str | None) -> None:
    """Refuse any media type but that of forms, and any charset but UTF-8."""
    media, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media.strip().lower() != MEDIA or charset not in ("", "charset=utf-8"):
        raise _invalid("The body must be application/x-www-form-urlencoded.")


def decode(body: bytes, into: type[T]) -> T:
    """Return a form's values as the type of its endpoint.

    Raises:
        StrongroomError: `invalid_request`, without anything that was sent.
    """
    known = {field.name for field in msgspec.structs.fields(into)}  # type: ignore[arg-type]
    values: dict[str, str] = {}
    for name, value in _pairs(body):
        if name in values:
            raise _invalid("Every parameter may be sent once.")
        values[name] = value
    try:
        for name, value in values.items():
            strict.check_printable(value, param=name)
        given = {name: text for name, text in values.items() if name in known and text}
        return strict.convert(given, into)
    except StrongroomError:
        pass
    raise _invalid("A parameter has an invalid form.")


def refusal(error: StrongroomError, status: int) -> tuple[int, bytes]:
    """Return status and body of a refusal; what no standard names keeps its own status."""
    named = STATUS.get(error.code)
    if named is not None:
        code, status = error.code, named
    elif status >= 500:
        code = "temporarily_unavailable" if error.retryable else "server_error"
    else:
        code = "invalid_request"
    told = OAuthRefusal(error=code, error_description=_UNWRITABLE.sub(" ", error.public))
    return status, _encoder.encode(told)


_encoder = msgspec.json.Encoder()


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode("ascii")
        if _WELL_FORMED.fullmatch(text):
            return parse_qsl(
                text,
                keep_blank_values=True,
                strict_parsing=bool(text),
                errors="strict",
                max_num_fields=OAUTH_FORM_FIELDS_MAX,
            )
    except ValueError:
        pass
    raise _invalid("The form is malformed.")


def _invalid(public: str) -> StrongroomError:
    return errors.invalid_form(public)
