"""Every role against every action, whose thing it is and mode: the table below, and nothing more.

The table was written from the product's rules, not from the policies; a right that a policy gives
or takes by mistake shows here.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest

from strongroom.access import ACTIONS, Authorizer
from strongroom.identity import ROLES, Principal, PrincipalKind
from strongroom.kernel.errors import StrongroomError

OWN, OTHER = "mer_own", "mer_other"

# b backend, p publishable, s service-reveal, r operator-read, a operator-admin, g gateway;
# v, t, m service-backend, -tokens, -monitor; system may do nothing.
WHO_MAY = {
    "payment:create": "b v",
    "payment:read": "b r a v",
    "payment:list": "b r a v",
    "payment:capture": "b v",
    "payment:cancel": "b v",
    "payment:review": "b a",
    "refund:create": "b v",
    "refund:read": "b r a v",
    "token:create": "b p v t",
    "token:read": "b r a v t",
    "token:delete": "b v t",
    "client_key:read": "b p r a v t",
    "data_subject:erase": "b a",
    "token:grant": "a",
    "token:import": "a",
    "token:export": "a",
    "token:reveal": "",  # a and s, with a purpose: tested below
    "token:reveal_batch": "",
    "ledger:read": "b r a v",
    "journal:read": "b r a",
    "journal:verify": "r a",
    "journal:export": "a",
    "checkpoint:read": "b r a",
    "api_key:create": "a",
    "api_key:list": "r a",
    "api_key:revoke": "a",
    "signing_key:add": "a",
    "signing_key:list": "r a",
    "signing_key:revoke": "a",
    "oauth_client:create": "a",
    "oauth_client:list": "r a",
    "oauth_client:rotate_key": "a",
    "oauth_client:revoke": "a",
    "merchant:create": "a",
    "merchant:list": "r a",
    "merchant:level": "a",
    "merchant:suspend": "a",
    "merchant:resume": "a",
    "key:list": "r a",
    "key:rotate": "a",
    "key:compromise": "a",
    "key:destroy": "a",
    "certificate:issue": "a",
    "certificate:list": "r a",
    "certificate:revoke": "a",
    "certificate:rotate": "a",
    "workload:join": "a",
    "workload:register": "a",
    "workload:list": "r a",
    "workload:revoke": "a",
    "custodian:enroll": "a",
    "custodian:list": "r a",
    "custodian:revoke": "a",
    "approval:request": "a",
    "approval:list": "r a",
    "approval:decide": "a",
    "four_eyes:request": "b a",
    "four_eyes:read": "b r a",
    "four_eyes:decide": "",  # a, in a session with a second factor: tested below
    "break_glass:open": "a",
    "break_glass:read": "r a",
    "break_glass:review": "a",
    "access_review:start": "a",
    "access_review:read": "r a",
    "access_review:decide": "a",
    "access_review:close": "a",
    "account:read": "",  # people in a session: tested below
    "account:end_session": "",
    "account:add_passkey": "",
    "account:remove_passkey": "",
    "account:link": "",
    "operator:list": "r a",
    "operator:invite": "a",
    "finding:read": "r a",
    "finding:scan": "a",
    "finding:resolve": "a",
    "ceremony:lead": "a",
    "ceremony:take_part": "a",
    "metrics:read": "r a m",
    "system:doctor": "r a",
    "operator:change_role": "a",
    "operator:end_sessions": "a",
    "operator:leave": "a",
    "operator:recover": "a",
    "operator:unlock": "a",
    "access:explain": "r a",
    "root:change": "a",
    "system:init": "a",
    "system:migrate": "a",
    "system:restore": "a",
    "webhook:receive": "g",
}
LETTER = {
    "merchant-backend": "b",
    "merchant-publishable": "p",
    "service-reveal": "s",
    "operator-read": "r",
    "operator-admin": "a",
    "service-backend": "v",
    "service-tokens": "t",
    "service-monitor": "m",
    "gateway": "g",
    "system": "-",
}
KIND = {
    "merchant-backend": PrincipalKind.MERCHANT,
    "merchant-publishable": PrincipalKind.MERCHANT,
    "service-reveal": PrincipalKind.MERCHANT,
    "operator-read": PrincipalKind.OPERATOR,
    "operator-admin": PrincipalKind.OPERATOR,
    "service-backend": PrincipalKind.SERVICE,
    "service-tokens": PrincipalKind.SERVICE,
    "service-monitor": PrincipalKind.SERVICE,
    "gateway": PrincipalKind.GATEWAY,
    "system": PrincipalKind.SYSTEM,
}
OF_THE_INSTALLATION = {
    action
    for action in WHO_MAY
    if action.split(":")[0]
    in {
        "account",
        "access",
        "approval",
        "certificate",
        "custodian",
        "finding",
        "break_glass",
        "access_review",
        "ceremony",
        "key",
        "merchant",
        "metrics",
        "operator",
        "root",
        "system",
        "webhook",
        "workload",
    }
}
WITH_OR_WITHOUT_MERCHANT = {
    action
    for action in WHO_MAY
    if action.split(":")[0]
    in {"journal", "checkpoint", "api_key", "four_eyes", "signing_key", "oauth_client"}
}
LOOKING = {
    "payment:read", "payment:list", "refund:read", "token:read", "ledger:read", "journal:read",
    "journal:verify", "journal:export", "checkpoint:read", "api_key:list", "merchant:list",
    "signing_key:list", "oauth_client:list",
    "key:list", "metrics:read", "system:doctor", "client_key:read",
    "custodian:list", "approval:list", "finding:read", "certificate:list", "four_eyes:read",
    "break_glass:read", "access_review:read", "account:read", "operator:list",
    "workload:list", "access:explain",
}  # fmt: skip
CONTAINING = {
    "api_key:revoke", "signing_key:revoke", "merchant:suspend", "merchant:resume",
    "four_eyes:request", "operator:leave", "operator:end_sessions",
    "account:end_session", "oauth_client:revoke", "certificate:revoke", "workload:revoke",
}  # fmt: skip

REVEALS = ("token:reveal", "token:reveal_batch")
OF_SERVICES = ("dispute_evidence", "gateway_migration")

AUTHORIZER = Authorizer(mode="test")


def caller(role: str, **changes: object) -> Principal:
    merchant = OWN if KIND[role] is not PrincipalKind.GATEWAY else None
    network = "internal" if KIND[role] is PrincipalKind.SERVICE else "external"
    fields = {"merchant": merchant, "mode": "test", "kind": KIND[role], "network": network}
    fields |= changes
    return Principal(id="key_x", roles=(role,), **fields)  # type: ignore[arg-type]


def allowed(principal: Principal, action: str, merchant: str | None, **context: str) -> bool:
    """Ask both ways, and insist that they agree."""
    if action not in REVEALS:
        context = {}  # no other action takes any: a stray one would deny, and prove nothing
    explained = AUTHORIZER.explain(principal, action=action, merchant=merchant, context=context)
    refused = pytest.raises(StrongroomError, match="permission_denied")
    with nullcontext() if explained.decision.allowed else refused:
        AUTHORIZER.check(principal, action=action, merchant=merchant, context=context)
    return explained.decision.allowed


def may(role: str, action: str) -> bool:
    return LETTER[role] in WHO_MAY[action].split()


def test_the_table_is_complete() -> None:
    assert set(WHO_MAY) == ACTIONS
    assert set(LETTER) == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_own_things(role: str) -> None:
    wrong = [a for a in WHO_MAY if allowed(caller(role), a, OWN) is not may(role, a)]
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_other_merchants_things(role: str) -> None:
    for action in set(WHO_MAY) - OF_THE_INSTALLATION:
        assert not allowed(caller(role), action, OTHER, purpose="dispute_evidence"), action


@pytest.mark.parametrize("role", ROLES)
def test_other_mode(role: str) -> None:
    for action, merchant in itertools.product(WHO_MAY, (OWN, OTHER, None)):
        live = caller(role, mode="live")
        assert not allowed(live, action, merchant, purpose="dispute_evidence"), action


@pytest.mark.parametrize("role", ROLES)
def test_the_installations_own_things(role: str) -> None:
    """Without a named merchant operators reach only what can belong to the installation."""
    reachable = OF_THE_INSTALLATION | WITH_OR_WITHOUT_MERCHANT
    for action in WHO_MAY:
        expected = may(role, action) and action in reachable
        assert allowed(caller(role, merchant=None), action, None) is (
            expected and KIND[role] is not PrincipalKind.MERCHANT
        ), action


@pytest.mark.parametrize("role", ROLES)
def test_a_merchant_without_a_merchant_reaches_no_ones_things(role: str) -> None:
    nobody = caller(role, merchant=None)
    for action in set(WHO_MAY) - OF_THE_INSTALLATION:
        assert not allowed(nobody, action, OWN), action


@pytest.mark.parametrize("role", ROLES)
def test_while_the_merchant_is_suspended(role: str) -> None:
    operator = KIND[role] is PrincipalKind.OPERATOR
    for action in WHO_MAY:
        expected = operator and may(role, action) and action in LOOKING | CONTAINING
        assert allowed(caller(role, suspended=True), action, OWN) is expected, action


@pytest.mark.parametrize("role", ROLES)
def test_a_scope_takes_everything_else_away_and_gives_nothing(role: str) -> None:
    for scope, action in itertools.product(WHO_MAY, WHO_MAY):
        restricted = caller(role, scopes=frozenset({scope}))
        expected = scope == action and may(role, action)
        assert allowed(restricted, action, OWN) is expected, (scope, action)


@pytest.mark.parametrize("role", ROLES)
def test_no_scope_at_all_permits_nothing(role: str) -> None:
    restricted = caller(role, scopes=frozenset())
    assert not any(allowed(restricted, action, OWN) for action in WHO_MAY)


@pytest.mark.parametrize(
    ("role", "kind"), [(r, k) for r in ROLES for k in PrincipalKind if KIND[r] is not k]
)
def test_a_role_is_worth_nothing_to_another_kind_of_caller(role: str, kind: PrincipalKind) -> None:
    imposter = caller(role, kind=kind)
    for action in WHO_MAY:
        assert not allowed(imposter, action, OWN, purpose="law_enforcement"), action


@pytest.mark.parametrize("action", REVEALS)
@pytest.mark.parametrize("role", ROLES)
def test_reveal_needs_a_named_role_and_a_listed_purpose(role: str, action: str) -> None:
    purposes = ("dispute_evidence", "law_enforcement", "gateway_migration", "incident_response")
    may_for = {"operator-admin": purposes, "service-reveal": OF_SERVICES}.get(role, ())
    for purpose in (*purposes, "", "curiosity", "DISPUTE_EVIDENCE"):
        expected = purpose in may_for
        assert allowed(caller(role), action, OWN, purpose=purpose) is expected, purpose
    assert not allowed(caller(role), action, OWN)


@pytest.mark.parametrize("role", ROLES)
def test_deciding_needs_an_administrator_with_a_second_factor(role: str) -> None:
    for aal in (0, 1, 2, 3):
        expected = role == "operator-admin" and aal >= 2
        assert allowed(caller(role, aal=aal), "four_eyes:decide", OWN) is expected, aal


# In live mode: what each role may not do unless so many others approved it.
NEEDS = {
    ("operator-admin", "token:reveal"): 1,
    ("operator-admin", "token:reveal_batch"): 1,
    ("operator-admin", "token:grant"): 2,
    ("operator-admin", "token:export"): 2,
    ("operator-admin", "merchant:resume"): 1,
    ("operator-admin", "api_key:create"): 1,
    ("operator-admin", "signing_key:add"): 1,
    ("operator-admin", "oauth_client:create"): 1,
    ("operator-admin", "oauth_client:rotate_key"): 1,
    ("merchant-backend", "refund:create"): 1,
    ("service-backend", "refund:create"): 1,
}
KEY_MAKING = ("api_key:create", "signing_key:add", "oauth_client:create", "oauth_client:rotate_key")
IN_EMERGENCIES = {"token:reveal", "token:reveal_batch", "merchant:resume", "refund:create"}


def test_live_mode_demands_four_eyes_where_the_table_says() -> None:
    live = Authorizer(mode="live")
    for role, action in itertools.product(LETTER, WHO_MAY):
        if action not in REVEALS and not may(role, action):
            continue
        context = {"purpose": "dispute_evidence"} if action in REVEALS else {}
        for approvals, emergency in itertools.product((0, 1, 2), (False, True)):
            who = caller(role, mode="live", break_glass=emergency)
            given = {**context, "approvals": approvals} if (role, action) in NEEDS else context
            found = live.explain(who, action=action, merchant=OWN, context=given)
            needed = NEEDS.get((role, action), 0)
            expected = approvals >= needed or (emergency and action in IN_EMERGENCIES)
            if action in REVEALS and role not in ("operator-admin", "service-reveal"):
                expected = False
            assert found.decision.allowed is expected, (role, action, approvals, emergency)


@pytest.mark.parametrize(
    ("role", "alone"),
    [
        ("merchant-backend", True),
        ("merchant-publishable", True),
        ("operator-read", True),
        ("operator-admin", False),
        ("service-reveal", False),
        ("something-new", False),
    ],
)
def test_powerful_keys_are_not_made_alone(role: str, alone: bool) -> None:
    live = Authorizer(mode="live")
    who = caller("operator-admin", mode="live", break_glass=True)
    for approvals in (0, 1):
        context = {"role": role, "approvals": approvals}
        for action in KEY_MAKING:
            found = live.explain(who, action=action, merchant=OWN, context=context)
            assert found.decision.allowed is (alone or approvals == 1), action


@pytest.mark.parametrize(
    ("context", "alone"),
    [
        ({"role": "operator-read", "administrators": 5}, True),
        ({"role": "operator-admin", "administrators": 1}, True),
        ({"role": "operator-admin", "administrators": 2}, False),
        ({"role": "operator-admin"}, False),
    ],
)
def test_administrators_are_not_made_alone(context: dict[str, str | int], alone: bool) -> None:
    live = Authorizer(mode="live")
    who = caller("operator-admin", mode="live", merchant=None, break_glass=True)
    for action, approvals in itertools.product(("operator:invite", "operator:change_role"), (0, 1)):
        given = {**context, "approvals": approvals}
        found = live.explain(who, action=action, merchant=None, context=given)
        assert found.decision.allowed is (alone or approvals == 1), action


@pytest.mark.parametrize(
    ("amount", "alone_up_to", "alone"),
    [(500, 500, True), (501, 500, False), (1, 0, False), (2**40, None, True), (None, None, False)],
)
def test_large_refunds_are_not_given_alone(
    amount: int | None, alone_up_to: int | None, alone: bool
) -> None:
    live = Authorizer(mode="live")
    given = {"amount": amount, "alone_up_to": alone_up_to}
    context = {name: value for name, value in given.items() if value is not None}
    who = caller("merchant-backend", mode="live")
    found = live.explain(who, action="refund:create", merchant=OWN, context=context)
    assert found.decision.allowed is alone
    approved = {**context, "approvals": 1}
    assert live.explain(
        who, action="refund:create", merchant=OWN, context=approved
    ).decision.allowed


def test_no_role_no_right() -> None:
    for kind, action in itertools.product(PrincipalKind, WHO_MAY):
        nobody = Principal(id="key_x", kind=kind, merchant=OWN, mode="test", roles=())
        stranger = Principal(id="key_x", kind=kind, merchant=OWN, mode="test", roles=("root",))
        assert not allowed(nobody, action, OWN, purpose="law_enforcement")
        assert not allowed(stranger, action, OWN, purpose="law_enforcement")


def test_people_in_a_session_look_after_their_own_account_and_nobody_else_does() -> None:
    """Whatever the role: it is about the person. A stale second factor is enough to look only."""
    now = datetime.now(UTC)
    mine = [action for action in WHO_MAY if action.startswith("account:")]
    for action, role in itertools.product(mine, ROLES):
        operator = KIND[role] is PrincipalKind.OPERATOR
        fresh = caller(role, merchant=None, session="ses_x", aal=2, mfa_at=now)
        assert allowed(fresh, action, None) is operator, (action, role)
        stale = caller(role, merchant=None, session="ses_x", aal=3)
        calm = action in LOOKING | CONTAINING
        assert allowed(stale, action, None) is (operator and calm), (action, role)
        weak = caller(role, merchant=None, session="ses_x", aal=1, mfa_at=now)
        assert not allowed(weak, action, None), (action, role)


@pytest.mark.parametrize("role", [r for r in ROLES if KIND[r] is PrincipalKind.SERVICE])
def test_a_service_is_one_only_on_the_inside(role: str) -> None:
    """Its rights are its certificate's: a caller from outside has none of them."""
    outside = caller(role, network="external")
    assert not any(allowed(outside, action, OWN) for action in WHO_MAY)
