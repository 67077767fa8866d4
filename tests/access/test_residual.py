"""Lists by policy: what is left of the policies becomes SQL, and says what each answer would say.

For generated policies and rows of a real table: the list is what asking about each row alone
permits. Whatever the reader does not know shows nobody anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from strongroom.access import Authorizer
from strongroom.access.engine import Engine
from strongroom.access.residual import Things, UnreadableError, condition_of
from strongroom.identity import Principal, PrincipalKind
from strongroom.kernel.conditions import (
    EVERYWHERE,
    NEVER,
    Compare,
    Not,
    OneOf,
    Scalar,
    both,
    either,
    holds,
    negated,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_id, new_uuid7
from strongroom.payments import CaptureMethod, Payment, Status, records
from strongroom.payments.model import CardDisplay
from strongroom.storage import Change, Column, Database, where
from tests.support.database import TestDatabase

FOLDER = resources.files("strongroom.access")
SCHEMA = (FOLDER / "schema.cedarschema").read_text("utf-8")
SHIPPED = "\n".join(
    f.read_text("utf-8") for f in sorted((FOLDER / "policies").iterdir(), key=lambda f: f.name)
)
MINE, THEIRS = (id_from("mer", new_uuid7()) for _ in range(2))
SHOP = Principal(
    id="key_x",
    kind=PrincipalKind.MERCHANT,
    merchant=MINE,
    mode="test",
    roles=("merchant-backend",),
)
NOBODY = Principal(id="key_y", kind=PrincipalKind.MERCHANT, merchant=MINE, mode="test", roles=())
ATTRIBUTES = frozenset({"state", "amount", "currency"})
NOW = datetime(2026, 1, 2, tzinfo=UTC)
STATES = ("authorized", "captured", "canceled")
CURRENCIES = ("EUR", "USD", "JPY")
HOSTILE = "x' OR '1'='1"


def payment(state: str, amount: int, currency: str, merchant: str = MINE) -> Payment:
    return Payment(
        merchant=merchant,
        id=new_id("pay"),
        version=1,
        status=Status(state),
        amount_minor=amount,
        currency=currency,
        capture_method=CaptureMethod.MANUAL,
        card=CardDisplay("tok_x", "visa", "424242", "4242", 1, 2030, "f"),
        reference=None,
        description=None,
        metadata={},
        return_url=None,
        gateway="sandbox",
        created_at=NOW,
        updated_at=NOW,
    )


def attributes(one: Payment) -> dict[str, Scalar]:
    return {
        "state": one.status.value,
        "amount": one.amount_minor,
        "currency": one.currency,
    }


# --- generated policies ---------------------------------------------------------------------------

EDGES = st.sampled_from([-1, 0, 1, 2, 49, 50, 51, 99, 100, 101, 249, 250, 251])
atoms = st.one_of(
    st.builds("resource.state {} {}".format, st.sampled_from(["==", "!="]),
              st.sampled_from([*(f'"{state}"' for state in STATES), f'"{HOSTILE}"'])),
    st.builds("{} {} resource.amount".format, EDGES,
              st.sampled_from(["<", "<=", ">", ">=", "==", "!="])),
    st.builds("resource.amount {} {}".format, st.sampled_from(["<", "<=", ">", ">=", "=="]),
              EDGES),
    st.builds('["{}", "{}"].contains(resource.currency)'.format, st.sampled_from(CURRENCIES),
              st.sampled_from(CURRENCIES)),
    st.sampled_from(["resource has operation", "resource is Payment", "resource is Refund",
                     "principal.merchant == resource.merchant", 'resource.mode == "live"',
                     "principal.suspended", 'resource.merchant == "nonsense"']),
)  # fmt: skip
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("(!({}))".format, inner),
        st.builds("(({}) && ({}))".format, inner, inner),
        st.builds("(({}) || ({}))".format, inner, inner),
        st.builds("(if ({}) then ({}) else ({}))".format, inner, inner, inner),
    ),
    max_leaves=5,
)
KNOWN = "resource has state && resource has amount && resource has currency"
policies = st.lists(
    st.tuples(
        st.sampled_from(["permit", "forbid"]), st.sampled_from(["when", "unless"]), conditions
    ),
    min_size=1,
    max_size=3,
)


def engine_with(made: list[tuple[str, str, str]]) -> Engine:
    texts = [SHIPPED]
    for number, (effect, kind, condition) in enumerate(made):
        held = f"when {{ {KNOWN} && ({condition}) }}"
        if kind == "unless":
            held = f"when {{ {KNOWN} }} unless {{ {KNOWN} && ({condition}) }}"
        texts.append(
            f'@id("made-{number}") @doc("made") {effect} '
            f'(principal, action == Action::"payment:list", resource) {held};'
        )
    return Engine("\n".join(texts), SCHEMA, mode="test")


class Rows:
    """A table of payments of two merchants, every state by amount by currency."""

    def __init__(self, database: Database, all_of: list[Payment]) -> None:
        self.database = database
        self.all = all_of


@pytest.fixture
async def rows(pg: TestDatabase) -> Rows:
    made = [
        payment(state, amount, currency, merchant)
        for state in STATES
        for amount in (1, 50, 100, 250)
        for currency in CURRENCIES
        for merchant in (MINE, THEIRS)
    ]
    committer = await pg.committer()
    change = Change()
    for one in made:
        records.add_payment(change, one)
    await committer.submit(change)
    return Rows(await pg.database("strongroom_pay"), made)


async def listed(rows: Rows, authorizer: Authorizer, who: Principal, merchant: str) -> set[str]:
    within = authorizer.visible(
        who, action="payment:list", merchant=merchant, attributes=ATTRIBUTES
    )
    found = await records.payments(
        rows.database, merchant, limit=1000, after=None, before=None, status=None, reference=None,
        within=within,
    )  # fmt: skip
    return {one.id for one in found}


def permitted(rows: Rows, authorizer: Authorizer, who: Principal, merchant: str) -> set[str]:
    return {
        one.id
        for one in rows.all
        if one.merchant == merchant
        and authorizer.explain(
            who, action="payment:list", merchant=one.merchant, resource=attributes(one)
        ).decision.allowed
    }


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=policies, who=st.sampled_from([SHOP, NOBODY]))
async def test_a_list_shows_what_each_row_alone_would_be_permitted(
    rows: Rows, made: list[tuple[str, str, str]], who: Principal
) -> None:
    try:
        authorizer = Authorizer(mode="test", engine=engine_with(made))
    except StrongroomError:
        reject()  # Cedar refuses policies that can never hold
    for merchant in (MINE, THEIRS):
        assert await listed(rows, authorizer, who, merchant) == permitted(
            rows, authorizer, who, merchant
        )


async def test_the_shipped_policies_show_a_merchant_all_of_its_own(rows: Rows) -> None:
    authorizer = Authorizer(mode="test")
    own = {one.id for one in rows.all if one.merchant == MINE}
    assert await listed(rows, authorizer, SHOP, MINE) == own
    assert await listed(rows, authorizer, SHOP, THEIRS) == set()
    assert await listed(rows, authorizer, NOBODY, MINE) == set()


async def test_the_journals_list_is_narrowed_too(rows: Rows) -> None:
    authorizer = Authorizer(mode="test")
    operator = Principal.local_operator("x", mode="test")

    def visible(who: Principal, merchant: str | None) -> Any:
        return authorizer.visible(
            who, action="journal:read", merchant=merchant, attributes=frozenset()
        )

    assert visible(operator, None) == EVERYWHERE
    assert visible(operator, MINE) == NEVER, "an operator who named no merchant"
    assert visible(SHOP, None) == NEVER
    assert holds(visible(SHOP, MINE), {"merchant": MINE})
    assert not holds(visible(SHOP, MINE), {"merchant": THEIRS})


# --- fail closed ----------------------------------------------------------------------------------

THING = {"unknown": [{"Value": "resource"}]}
STATE = {".": {"left": THING, "attr": "state"}}
THINGS = Things(type="Payment", attributes=ATTRIBUTES, known={"mode": "test"})


def residual(body: Any, **changes: Any) -> dict[str, Any]:
    scope = {"op": "All"}
    policy = {
        "effect": "permit",
        "principal": scope,
        "action": scope,
        "resource": scope,
        "conditions": [{"kind": "when", "body": body}],
        **changes,
    }
    return {"policy0": policy}


def test_what_is_understood_is_read_as_it_is_meant() -> None:
    equal = {"==": {"left": STATE, "right": {"Value": "captured"}}}
    assert condition_of(residual(equal), THINGS) == Compare("state", "=", "captured")
    assert condition_of(residual({"!": {"arg": equal}}), THINGS) == Not(
        Compare("state", "=", "captured")
    )
    wanted = {"Set": [{"Value": "a"}, {"Value": "b"}]}
    assert condition_of(residual({"contains": {"left": wanted, "right": STATE}}), THINGS) == OneOf(
        "state", ("a", "b")
    )


@pytest.mark.parametrize(
    "body",
    [
        None, [], True, "text", {}, {"Value": 1}, {"Value": "true"}, {"Value": None},
        {"Value": True, "!": {"arg": {"Value": True}}},
        {"like": {"left": STATE, "pattern": ["Wildcard"]}},
        {"==": {"left": STATE, "right": STATE}},
        {"==": {"left": {"Var": "resource"}, "right": {"Value": "x"}}},
        {"==": {"left": STATE, "right": {"Value": "x"}, "more": 1}},
        {"==": {"left": STATE, "right": {"Value": {"__entity": {"type": "A", "id": "b"}}}}},
        {"==": {"left": STATE, "right": {"Value": 1.5}}},
        {"<": {"left": STATE, "right": {"Value": "x"}}},
        {"<": {"left": STATE, "right": {"Value": True}}},
        {"==": {"left": {".": {"left": THING, "attr": "secret"}}, "right": {"Value": "x"}}},
        {"==": {"left": {".": {"left": STATE, "attr": "state"}}, "right": {"Value": "x"}}},
        {"==": {"left": {".": {"left": {"unknown": [{"Value": "principal"}]}, "attr": "state"}},
                "right": {"Value": "x"}}},
        {"has": {"left": THING, "attr": "secret"}}, {"has": {"left": THING}},
        {"is": {"left": STATE, "entity_type": "Payment"}},
        {"is": {"left": THING, "entity_type": "Payment", "in": {"Value": "x"}}},
        {"in": {"left": THING, "right": {"Value": "x"}}},
        {"contains": {"left": STATE, "right": {"Value": "x"}}},
        {"contains": {"left": {"Set": [{"Value": "x"}, {"Value": 1}]}, "right": STATE}},
        {"containsAll": {"left": {"Set": []}, "right": STATE}},
        {"error": [{"Value": "x"}]}, {"ip": [{"Value": "127.0.0.1"}]},
        {"+": {"left": STATE, "right": {"Value": 1}}},
        {"if-then-else": {"if": {"Value": True}, "then": {"Value": True}}},
        {"&&": {"left": {"Value": True}, "right": {"unheard": {}}}},
    ],
)  # fmt: skip
def test_anything_else_is_unreadable(body: Any) -> None:
    with pytest.raises(UnreadableError):
        condition_of(residual(body), THINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"effect": "allow"},
        {"principal": {"op": "==", "slot": "?principal"}},
        {"resource": {"op": "is", "entity_type": "Payment"}},
        {"conditions": None},
        {"conditions": [{"kind": "while", "body": {"Value": True}}]},
        {"conditions": [{"kind": "when", "body": {"Value": True}, "more": 1}]},
    ],
)
def test_a_policy_of_another_form_is_unreadable(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        condition_of(residual({"Value": True}, **changes), THINGS)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["Value", "!", "arg", "&&", "left", "right", "==", ".", "attr"]),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=8,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_nonsense_permits_by_accident(body: Any) -> None:
    try:
        condition = condition_of(residual(body), THINGS)
    except UnreadableError:
        return
    assert condition in (EVERYWHERE, NEVER), "only plain truth values can be made up so"


def test_a_policy_that_the_reader_does_not_know_shows_nobody_anything() -> None:
    like = (
        '@id("like") @doc("x") forbid (principal, action == Action::"payment:list", resource)'
        ' when { resource has state && resource.state like "auth*" };'
    )
    for policies, sees in ((SHIPPED, True), (f"{SHIPPED}\n{like}", False)):
        authorizer = Authorizer(mode="test", engine=Engine(policies, SCHEMA, mode="test"))
        within = authorizer.visible(
            SHOP, action="payment:list", merchant=MINE, attributes=ATTRIBUTES
        )
        assert (within != NEVER) is sees


def test_conditions_without_a_column_or_of_another_type_are_errors() -> None:
    columns = {"state": Column("status", "text", str), "amount": Column("amount", "bigint", int)}
    for condition in (
        Compare("merchant", "=", "x"), Compare("state", "=", 1), Compare("state", "=", True),
        Compare("amount", "<", True), OneOf("amount", (1, "x")), Not(Compare("x", "=", "y")),
        both(Compare("state", "=", "x"), Compare("nothing", "=", "y")),
    ):  # fmt: skip
        with pytest.raises(StrongroomError, match="policy_invalid"):
            where(condition, columns, [])
    values: list[Any] = ["first"]
    sql = where(
        either(Compare("state", "=", HOSTILE), negated(OneOf("amount", (1, 2)))), columns, values
    )
    assert values == ["first", HOSTILE, [1, 2]]
    assert HOSTILE not in sql
