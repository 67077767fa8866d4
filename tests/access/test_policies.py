"""What stops the start, what a decision says, what is remembered, and that the page is right."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from strongroom.access import ACTIONS, PUBLIC, Authorizer, require_known
from strongroom.access.engine import Engine
from strongroom.identity import Principal, PrincipalKind
from strongroom.kernel.errors import StrongroomError
from tests.access.test_matrix import LETTER, WHO_MAY

FOLDER = resources.files("strongroom.access")
SCHEMA = (FOLDER / "schema.cedarschema").read_text("utf-8")
POLICIES = "\n".join(
    f.read_text("utf-8") for f in sorted((FOLDER / "policies").iterdir(), key=lambda f: f.name)
)
DOCS = Path(__file__).parents[2] / "docs" / "access.md"


def backend(**changes: object) -> Principal:
    fields = {"merchant": "mer_a", "mode": "test", "roles": ("merchant-backend",), **changes}
    return Principal(id="key_1", kind=PrincipalKind.MERCHANT, **fields)  # type: ignore[arg-type]


def refused_at_start(policies: str, schema: str = SCHEMA) -> str:
    with pytest.raises(StrongroomError) as caught:
        Engine(policies, schema, mode="test")
    assert caught.value.code == "policy_invalid"
    return caught.value.detail


def test_a_route_without_a_known_action_does_not_start() -> None:
    assert all(require_known(action) == action for action in ACTIONS)
    assert require_known(PUBLIC) == PUBLIC
    for name in ("payment:steal", "", "payment", "Payment:create", "payment:create "):
        with pytest.raises(StrongroomError) as caught:
            require_known(name)
        assert caught.value.code == "unknown_action"


def test_public_and_unknown_actions_are_never_decided() -> None:
    for name in (PUBLIC, "payment:steal", "looking"):
        with pytest.raises(StrongroomError) as caught:
            Authorizer(mode="test").check(backend(), action=name, merchant="mer_a")
        assert caught.value.code == "unknown_action"


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("permit (principal, action, resource", "unexpected end of input"),
        (
            '@id("x") @doc("x") permit (principal, action == Action::"payment:steal", resource);',
            "payment:steal",
        ),
        (
            '@id("x") @doc("x") permit (principal, action, resource)'
            ' when { principal.mercant == "x" };',
            "mercant",
        ),
        ('@doc("x") permit (principal, action == Action::"key:list", resource);', "@id None"),
        ('@id("x") permit (principal, action == Action::"key:list", resource);', "@id 'x'"),
        (
            '@id("operator-admin") @doc("x")'
            ' permit (principal, action == Action::"key:list", resource);',
            "operator-admin",
        ),
        (
            '@id("t") @doc("t") permit (principal == ?principal,'
            ' action == Action::"key:list", resource);',
            "templates",
        ),
    ],
    ids=["syntax", "action", "attribute", "no-id", "no-doc", "same-id", "template"],
)
def test_a_policy_that_is_not_fit_stops_the_start(policy: str, says: str) -> None:
    Engine(POLICIES, SCHEMA, mode="test")
    assert says in refused_at_start(f"{POLICIES}\n{policy}")


def test_schema_and_registry_must_name_the_same_actions() -> None:
    more = SCHEMA + (
        '\naction "payment:steal" appliesTo'
        " { principal: [Caller], resource: [Payment], context: Context };"
    )
    assert "payment:steal" in refused_at_start(POLICIES, more)
    fewer = SCHEMA.replace('"system:init",', "")
    assert "system:init" in refused_at_start(POLICIES.replace('Action::"system:init",', ""), fewer)
    moved = SCHEMA.replace(
        'action "ledger:read" in [Action::"looking"]\n    appliesTo { principal: [Caller], '
        "resource: [Ledger]",
        'action "ledger:read" in [Action::"looking"]\n    appliesTo { principal: [Caller], '
        "resource: [Token]",
    )
    assert moved != SCHEMA
    assert "ledger:read does not apply to Ledger" in refused_at_start(POLICIES, moved)


def test_a_policy_that_fails_to_evaluate_denies() -> None:
    """Cedar skips what it cannot evaluate; a skipped `forbid` must not open the door."""
    overflow = (
        '@id("deny-long") @doc("x") forbid (principal, action == Action::"token:reveal", resource)'
        ' when { context has purpose && context.purpose == "dispute_evidence"'
        " && 9223372036854775807 + 1 > 0 };"
    )
    admin = Principal.local_operator("root", mode="test", merchant="mer_a")
    for policies, expected in ((POLICIES, True), (f"{POLICIES}\n{overflow}", False)):
        authorizer = Authorizer(mode="test", engine=Engine(policies, SCHEMA, mode="test"))
        decision = authorizer.explain(
            admin,
            action="token:reveal",
            merchant="mer_a",
            context={"purpose": "dispute_evidence"},
        ).decision
        assert decision.allowed is expected
        assert bool(decision.problems) is not expected


def test_a_decision_names_its_policies_and_their_set() -> None:
    authorizer = Authorizer(mode="test")
    decision = authorizer.check(backend(), action="payment:create", merchant="mer_a")
    assert decision.facts() == {
        "policy": "merchant-backend",
        "policy_set": authorizer.policy_set,
    }
    assert re.fullmatch(r"[a-p]{24}", authorizer.policy_set)
    changed = Engine(POLICIES + "\n", SCHEMA, mode="test")
    assert changed.policy_set != Engine(POLICIES, SCHEMA, mode="test").policy_set


def test_a_denial_tells_operators_why_and_callers_nothing() -> None:
    authorizer = Authorizer(mode="test")
    with pytest.raises(StrongroomError) as caught:
        authorizer.check(backend(), action="payment:create", merchant="mer_b")
    assert caught.value.public == "The caller may not do that."
    assert caught.value.detail == "deny-other-merchant"
    with pytest.raises(StrongroomError) as caught:
        authorizer.check(
            Principal.local_operator("root", mode="test"), action="payment:read", merchant=None
        )
    assert "Strongroom-Merchant" in caught.value.public


def test_explain_gives_the_authors_words() -> None:
    authorizer = Authorizer(mode="test")
    permitted = authorizer.explain(backend(), action="payment:create", merchant="mer_a")
    assert permitted.decision.allowed
    assert permitted.reasons[0].startswith("merchant-backend: A merchant's servers")
    forbidden = authorizer.explain(backend(), action="payment:create", merchant="mer_b")
    assert forbidden.reasons[0].startswith("deny-other-merchant: A merchant's things")
    missing = authorizer.explain(backend(), action="key:list", merchant=None)
    assert missing.reasons == ("No policy permits key:list to merchant with merchant-backend.",)


def test_answers_are_remembered_within_bounds_and_only_for_equal_questions() -> None:
    engine = Engine(POLICIES, SCHEMA, mode="test")
    asked: list[str] = []
    answer = engine.answer

    def counting(question: object) -> object:
        asked.append(repr(question))
        return answer(question)  # type: ignore[arg-type]

    engine.answer = counting  # type: ignore[method-assign, assignment]
    authorizer = Authorizer(mode="test", engine=engine, cache_size=3)
    for _ in range(5):
        authorizer.check(backend(), action="payment:create", merchant="mer_a")
    assert len(asked) == 1
    same_rights = Principal(**{**_fields(backend()), "id": "key_2", "key_id": "key_2"})
    authorizer.check(same_rights, action="payment:create", merchant="mer_a")
    assert len(asked) == 1

    for change in (
        {"merchant": "mer_b"},
        {"mode": "live"},
        {"roles": ("merchant-publishable",)},
        {"scopes": frozenset({"payment:read"})},
        {"suspended": True},
    ):
        decision = authorizer.explain(
            backend(**change), action="payment:create", merchant="mer_a"
        ).decision
        assert not decision.allowed, change
    assert len(asked) == 6
    assert len(authorizer._kept) == 3


def test_a_context_cannot_pass_one_action_for_another() -> None:
    authorizer = Authorizer(mode="test")
    reader = backend(scopes=frozenset({"payment:read"}))
    authorizer.check(reader, action="payment:read", merchant="mer_a")
    for context in ({}, {"action": "payment:read"}):
        explained = authorizer.explain(
            reader, action="payment:create", merchant="mer_a", context=context
        )
        assert explained.decision.policies == ("deny-beyond-scopes",)


def test_one_and_true_are_different_questions() -> None:
    authorizer = Authorizer(mode="test")
    admin = Principal.local_operator("root", mode="test", merchant="mer_a")
    for value in (1, True):
        authorizer.explain(
            admin, action="token:reveal", merchant="mer_a", context={"purpose": value}
        )
    assert len(authorizer._kept) == 2


def _fields(principal: Principal) -> dict[str, object]:
    return {name: getattr(principal, name) for name in principal.__struct_fields__}


def test_the_page_shows_the_matrix_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z_]+:[a-z_]+)` \|(.+)\|$", DOCS.read_text("utf-8"), re.MULTILINE)
    roles = [role for role in LETTER if role != "system"]
    shown = {
        action: {
            role
            for role, cell in zip(roles, cells.split("|"), strict=True)
            if cell.strip() == "yes"
        }
        for action, cells in rows
    }
    expected = {
        action: {role for role in roles if LETTER[role] in letters.split()}
        for action, letters in WHO_MAY.items()
    }
    assert shown == expected
    for name in re.findall(r'@id\("([^"]+)"\)', POLICIES):
        assert f"`{name}`" in DOCS.read_text("utf-8"), name
