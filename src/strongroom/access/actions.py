"""Every action of the house and the kind of thing it is done to.

A route or command declares one of these names when it is registered; an unknown name stops the
start. `access/schema.cedarschema` declares the same names for the policies, and `Authorizer`
refuses to start when the two disagree.
"""

from __future__ import annotations

from strongroom.access import errors

RESOURCE_OF = {
    "payment:create": "Payment",
    "payment:read": "Payment",
    "payment:list": "Payment",
    "payment:capture": "Payment",
    "payment:cancel": "Payment",
    "payment:review": "Payment",
    "refund:create": "Refund",
    "refund:read": "Refund",
    "token:create": "Token",
    "token:read": "Token",
    "token:delete": "Token",
    "token:grant": "Token",
    "token:import": "Token",
    "token:export": "Token",
    "token:reveal": "Token",
    "data_subject:erase": "Token",
    "token:reveal_batch": "Token",
    "client_key:read": "Token",
    "ledger:read": "Ledger",
    "journal:read": "Journal",
    "journal:verify": "Journal",
    "journal:export": "Journal",
    "checkpoint:read": "Journal",
    "api_key:create": "ApiKey",
    "api_key:list": "ApiKey",
    "api_key:revoke": "ApiKey",
    "signing_key:add": "ApiKey",
    "signing_key:list": "ApiKey",
    "signing_key:revoke": "ApiKey",
    "oauth_client:create": "ApiKey",
    "oauth_client:list": "ApiKey",
    "oauth_client:rotate_key": "ApiKey",
    "oauth_client:revoke": "ApiKey",
    "merchant:create": "Installation",
    "merchant:list": "Installation",
    "merchant:level": "Installation",
    "merchant:suspend": "Installation",
    "merchant:resume": "Installation",
    "key:list": "Installation",
    "key:rotate": "Installation",
    "key:compromise": "Installation",
    "key:destroy": "Installation",
    "certificate:issue": "Installation",
    "certificate:list": "Installation",
    "certificate:revoke": "Installation",
    "certificate:rotate": "Installation",
    "workload:join": "Installation",
    "workload:register": "Installation",
    "workload:list": "Installation",
    "workload:revoke": "Installation",
    "custodian:enroll": "Installation",
    "custodian:list": "Installation",
    "custodian:revoke": "Installation",
    "approval:request": "Installation",
    "approval:list": "Installation",
    "approval:decide": "Installation",
    "four_eyes:request": "Approval",
    "four_eyes:read": "Approval",
    "four_eyes:decide": "Approval",
    "break_glass:open": "Installation",
    "break_glass:read": "Installation",
    "break_glass:review": "Installation",
    "access_review:start": "Installation",
    "access_review:read": "Installation",
    "access_review:decide": "Installation",
    "access_review:close": "Installation",
    "account:read": "Installation",
    "account:end_session": "Installation",
    "account:add_passkey": "Installation",
    "account:remove_passkey": "Installation",
    "account:link": "Installation",
    "operator:list": "Installation",
    "operator:invite": "Installation",
    "finding:read": "Installation",
    "finding:scan": "Installation",
    "finding:resolve": "Installation",
    "ceremony:lead": "Installation",
    "ceremony:take_part": "Installation",
    "metrics:read": "Installation",
    "operator:change_role": "Installation",
    "operator:end_sessions": "Installation",
    "operator:leave": "Installation",
    "operator:recover": "Installation",
    "operator:unlock": "Installation",
    "root:change": "Installation",
    "system:doctor": "Installation",
    "access:explain": "Installation",
    "system:init": "Installation",
    "system:migrate": "Installation",
    "system:restore": "Installation",
    "webhook:receive": "Installation",
}

ACTIONS = frozenset(RESOURCE_OF)
"""The names that `Authorizer.check` takes, and that scopes of restricted keys are made of."""

MERCHANTS_ONLY = frozenset({"Payment", "Refund", "Token", "Ledger"})
"""Kinds of things that always belong to a merchant, never to the installation."""

PUBLIC = "public"
"""What a route declares that needs no caller: health, documentation. Never passed to `check`."""


def require_known(action: str) -> str:
    """Return the action of a route or command that is being registered.

    Raises:
        StrongroomError: `unknown_action`; the program must not start.
    """
    if action not in RESOURCE_OF and action != PUBLIC:
        raise errors.unknown_action(action)
    return action
