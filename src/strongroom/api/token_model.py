"""The wire of what is done to tokens beyond making them; `wire` says how fields are declared."""

from __future__ import annotations

from typing import Annotated, Literal

from strongroom.api.wire import TokenId, Wire, data
from strongroom.kernel.limits import BATCH_REVEAL_MAX

REVEAL_BODY_BYTES_MAX = 49_152
"""A thousand token ids of 30 characters."""


class ResolveBody(Wire, frozen=True, kw_only=True):
    """POST /v1/tokens/resolve."""

    alias: Annotated[str, data("confidential", pattern="^9[0-9]{11,18}$")]


class RevealBody(Wire, frozen=True, kw_only=True):
    """POST /v1/tokens/{token_id}/reveal."""

    purpose: Annotated[str, data("internal", pattern="^[a-z_]{1,40}$")]


class RevealBatchBody(Wire, frozen=True, kw_only=True):
    """POST /v1/tokens/reveal."""

    tokens: Annotated[
        list[TokenId], data("confidential", min_length=1, max_length=BATCH_REVEAL_MAX)
    ]
    purpose: Annotated[str, data("internal", pattern="^[a-z_]{1,40}$")]


class RevealedAnswer(Wire, frozen=True, kw_only=True):
    """A card number in clear, or in a batch the code of why there is none."""

    object: Annotated[Literal["card_number"], data("public")] = "card_number"
    token: TokenId
    number: Annotated[str | None, data("cardholder")] = None
    code: Annotated[str | None, data("internal")] = None

    def __repr__(self) -> str:
        return f"RevealedAnswer({self.token})"
