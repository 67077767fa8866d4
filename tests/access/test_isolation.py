"""For any request that can be made up: no permit across merchants, across modes, beyond scopes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.access import ACTIONS, Authorizer
from strongroom.access.actions import RESOURCE_OF
from strongroom.identity import ROLES, Principal, PrincipalKind

pytestmark = pytest.mark.slow(30)

AUTHORIZERS = {mode: Authorizer(mode=mode) for mode in ("test", "live")}  # type: ignore[arg-type]

merchants = st.one_of(
    st.none(),
    st.sampled_from(["mer_a", "mer_b", "", "None", 'mer_a" == "', "mer_a ", "MER_A", "mer_а"]),
    st.text(max_size=12),
)
modes = st.sampled_from(["test", "live"])
names = st.sampled_from(sorted(ACTIONS))
contexts = st.dictionaries(
    st.sampled_from(["purpose", "action", "merchant", "mode", "role", "scopes"]),
    st.one_of(
        st.sampled_from(["law_enforcement", "mer_a", "live", "token:reveal"]),
        st.booleans(),
        st.integers(-(2**40), 2**40),
    ),
    max_size=3,
)
principals = st.builds(
    Principal,
    id=st.just("key_x"),
    kind=st.sampled_from(PrincipalKind),
    merchant=merchants,
    mode=modes,
    roles=st.lists(st.sampled_from([*ROLES, "", "admin"]), max_size=6).map(tuple),
    scopes=st.one_of(st.none(), st.frozensets(st.one_of(names, st.text(max_size=8)), max_size=6)),
    suspended=st.booleans(),
)


@settings(max_examples=1500, deadline=None)
@given(principal=principals, action=names, merchant=merchants, mode=modes, context=contexts)
def test_whatever_is_permitted_stays_within_merchant_mode_and_scopes(
    principal: Principal,
    action: str,
    merchant: str | None,
    mode: str,
    context: dict[str, str | bool | int],
) -> None:
    decision = (
        AUTHORIZERS[mode]
        .explain(principal, action=action, merchant=merchant, context=context)
        .decision
    )
    if not decision.allowed:
        return
    assert decision.policies
    assert principal.mode == mode
    assert principal.roles
    assert principal.scopes is None or action in principal.scopes
    if RESOURCE_OF[action] != "Installation":
        assert merchant == principal.merchant
        assert merchant is not None or principal.kind is PrincipalKind.OPERATOR


permitted = st.builds(
    Principal,
    id=st.just("key_x"),
    kind=st.sampled_from([PrincipalKind.MERCHANT, PrincipalKind.OPERATOR]),
    merchant=st.just("mer_a"),
    mode=st.just("test"),
    roles=st.just(tuple(ROLES)),
)


@settings(max_examples=300, deadline=None)
@given(principal=permitted, action=names, merchant=merchants)
def test_a_caller_with_every_role_still_reaches_no_other_merchant(
    principal: Principal, action: str, merchant: str | None
) -> None:
    decision = (
        AUTHORIZERS["test"]
        .explain(principal, action=action, merchant=merchant, context=_context(action))
        .decision
    )
    if not decision.allowed:
        return
    assert merchant == "mer_a" or RESOURCE_OF[action] == "Installation"


def _context(action: str) -> dict[str, str | int | bool]:
    return {"purpose": "law_enforcement"} if action == "token:reveal" else {}
