"""The words of the wire: fields that many bodies share, and the base of all bodies.

`data(...)` puts the class of a field on the data map (`Meta.extra["class"]`) and into OpenAPI as
`x-data-class`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from strongroom.kernel.limits import (
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_KEYS,
    MAX_METADATA_VALUE_CHARS,
    TOKEN_TTL_MAX_S,
    TOKEN_TTL_MIN_S,
)

URL_CHARS_MAX = 2048
ID = "[0-7][0-9a-hjkmnp-tv-z]{25}$"


def data(data_class: str, **checks: Any) -> Meta:
    """Return the mark of a wire field: its data class and the checks msgspec makes."""
    shown: dict[str, Any] = {"x-data-class": data_class}
    return Meta(extra={"class": data_class}, extra_json_schema=shown, **checks)


def text(least: int, most: int) -> str:
    """Return the pattern of text for people; `strict` also wants it printable and in NFC."""
    return rf"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]{{{least},{most}}}$"


Label = Annotated[str, data("internal")]
Reference = Annotated[str, data("confidential", pattern="^[A-Za-z0-9._-]{1,64}$")]
Description = Annotated[str, data("confidential", pattern=text(1, 200))]
Reason = Annotated[str, data("confidential", pattern=text(1, 200))]
Url = Annotated[str, data("confidential", pattern=rf"^https?://[!-~]{{1,{URL_CHARS_MAX - 8}}}$")]
Amount = Annotated[int, data("confidential", description="Minor units of the currency.")]
Currency = Annotated[str, data("public", pattern="^[A-Z]{3}$", description="ISO 4217.")]
Flag = Annotated[bool, data("internal")]
Unix = Annotated[int, data("internal", description="Seconds since 1970-01-01 UTC.")]
PaymentId = Annotated[str, data("internal", pattern=f"^pay_{ID}")]
RefundId = Annotated[str, data("internal", pattern=f"^ref_{ID}")]
MerchantId = Annotated[str, data("internal", pattern=f"^mer_{ID}")]
TokenId = Annotated[str, data("confidential", pattern=f"^tok_{ID}")]
MetadataKey = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9._-]{{1,{MAX_METADATA_KEY_CHARS}}}$")]
MetadataValue = Annotated[str, Meta(pattern=text(0, MAX_METADATA_VALUE_CHARS))]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue], data("confidential", max_length=MAX_METADATA_KEYS)
]

SingleUse = Annotated[bool, data("internal", description="The first payment uses it up.")]
ExpiresIn = Annotated[
    int,
    data("internal", ge=TOKEN_TTL_MIN_S, le=TOKEN_TTL_MAX_S, description="Seconds, not a day."),
]
Format = Annotated[
    Literal["digits"], data("internal", description="Also an alias of digits that fails Luhn.")
]
KeepLast4 = Annotated[bool, data("internal", description="The alias ends like the card.")]


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: frozen, by keyword, nothing unknown."""
