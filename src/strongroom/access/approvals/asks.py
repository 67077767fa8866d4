"""What can be asked for: each action that needs four eyes, and how exactly it is described.

The caller who asks and the place that carries out describe the same thing by the same names; what
is described otherwise has another hash and is not what was approved.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from strongroom.access.approvals.model import Parameter
from strongroom.access.model import Value

_TEXT, _COUNT, _LIST = (str,), (int,), (list,)
_NONE = type(None)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One action: what `resource` names, and the type of each parameter.

    `context` are the parameters that policies read under the same name.
    """

    resource: str
    parameters: Mapping[str, tuple[type, ...]]
    context: tuple[str, ...] = ()

    def context_of(self, parameters: Mapping[str, Parameter]) -> dict[str, Value]:
        """Return what policies read of the parameters."""
        found: dict[str, Value] = {}
        for name in self.context:
            value = parameters.get(name)
            if isinstance(value, str | int):
                found[name] = value
        return found

    def words(self) -> str:
        """Return in words how the action is described."""
        names = ", ".join(sorted(self.parameters)) or "none"
        return f"resource: {self.resource}; parameters: {names}"


ASKS: dict[str, Ask] = {
    "token:reveal": Ask(resource="the token", parameters={"purpose": _TEXT}, context=("purpose",)),
    "token:reveal_batch": Ask(
        resource="tokens",
        parameters={"purpose": _TEXT, "tokens": _LIST},
        context=("purpose",),
    ),
    "refund:create": Ask(
        resource="the payment", parameters={"amount": _COUNT, "reason": (str, _NONE)}
    ),
    "api_key:create": Ask(
        resource="api_key",
        parameters={
            "kind": _TEXT,
            "role": _TEXT,
            "owner": _TEXT,
            "scopes": (list, _NONE),
            "expires_days": (int, _NONE),
        },
        context=("role",),
    ),
    "signing_key:add": Ask(
        resource="signing_key",
        parameters={
            "role": _TEXT,
            "owner": _TEXT,
            "public_key": _TEXT,
            "scopes": (list, _NONE),
            "expires_days": (int, _NONE),
        },
        context=("role",),
    ),
    "oauth_client:create": Ask(
        resource="oauth_client",
        parameters={
            "role": _TEXT,
            "owner": _TEXT,
            "jwks_sha256": _TEXT,
            "scopes": _LIST,
            "binding": _TEXT,
            "expires_days": (int, _NONE),
        },
        context=("role",),
    ),
    "oauth_client:rotate_key": Ask(
        resource="the client",
        parameters={"role": _TEXT, "jwks_sha256": _TEXT},
        context=("role",),
    ),
    "operator:invite": Ask(
        resource="operator",
        parameters={"login": _TEXT, "name": _TEXT, "role": _TEXT},
        context=("role",),
    ),
    "operator:change_role": Ask(
        resource="the account", parameters={"role": _TEXT}, context=("role",)
    ),
    "merchant:resume": Ask(resource="the merchant", parameters={}),
}
"""Action → its description. Bulk grants and exports wait for two custodians instead."""
