"""Services as callers: who claims, who is let in, and how soon not any more."""

from __future__ import annotations

import pytest

from strongroom.identity import Arrival, Callers, Level, Peer, PrincipalKind
from strongroom.identity.workloads import Workloads, WorkloadSpec
from strongroom.kernel.errors import StrongroomError
from tests.identity.support import SCOPES, House, MovableClock, Process, bearer, secret_key

DOMAIN = "test.018f.strongroom"
SERIAL = bytes(range(20))
ORDERS = f"spiffe://{DOMAIN}/svc/orders"


class Trust:
    """What the vault would say of certificates."""

    def __init__(self) -> None:
        self.revoked: set[bytes] = set()
        self.away = False

    async def is_revoked(self, serials: frozenset[bytes]) -> bool:
        if self.away:
            raise StrongroomError("vault_unavailable", "away", retryable=True)
        return not serials.isdisjoint(self.revoked)


def workloads(process: Process, trust: Trust, clock: MovableClock | None = None) -> Workloads:
    return Workloads(
        process.database,
        process.committer,
        identity=process.identity,
        mode="test",
        trust_domain=DOMAIN,
        is_revoked=trust.is_revoked,
        known_scopes=SCOPES,
        clock=clock,
    )


def spec(merchant: str | None, **changes: object) -> WorkloadSpec:
    fields = {
        "spiffe_id": ORDERS,
        "merchant": merchant,
        "role": "service-backend",
        "owner": "Orders team",
        **changes,
    }
    return WorkloadSpec(**fields)  # type: ignore[arg-type]


def arrival(name: str | None = ORDERS, **changes: object) -> Arrival:
    peer = Peer(thumbprint=b"t" * 32, spiffe_id=name, serials=frozenset({SERIAL}))
    fields = {"method": "POST", "target": "https://pay/v1/tokens", "peer": peer, **changes}
    return Arrival(**fields)  # type: ignore[arg-type]


async def test_a_registered_service_is_its_merchants_and_nobody_elses(
    process: Process, merchant: str
) -> None:
    known = workloads(process, Trust())
    made = await known.register(spec(merchant, scopes=frozenset({"payment:read"})), actor="a")
    callers = Callers(process.identity, known)
    principal = (await callers.authenticate(arrival())).principal
    assert (principal.kind, principal.merchant, principal.id) == (
        PrincipalKind.SERVICE,
        merchant,
        made.id,
    )
    assert principal.level is Level.BOUND_TOKEN and principal.network == "internal"
    assert principal.scopes == {"payment:read"}
    assert (await callers.authenticate(arrival(merchant=merchant))).principal == principal
    other = (await process.identity.create_merchant("Other", actor="a")).id
    with pytest.raises(StrongroomError, match="merchant_not_found"):
        await callers.authenticate(arrival(merchant=other))
    await known.close()


async def test_only_an_unaccompanied_name_of_our_domain_claims(
    process: Process, merchant: str
) -> None:
    known = workloads(process, Trust())
    assert known.claims(arrival())
    assert not known.claims(arrival(authorization="Bearer x"))
    assert not known.claims(arrival(peer=None))
    for name in (
        None,
        f"spiffe://{DOMAIN}.evil/svc/orders",
        f"spiffe://live{DOMAIN[4:]}/svc/orders",
    ):
        assert not known.claims(arrival(name)), name
        with pytest.raises(StrongroomError, match="unauthenticated"):
            await Callers(process.identity, known).authenticate(arrival(name))
    _, secret = await process.identity.create_key(secret_key(merchant), actor="a")
    found = await Callers(process.identity, known).authenticate(
        arrival(authorization=bearer(secret))
    )
    assert found.principal.kind is PrincipalKind.MERCHANT, "with a key the key says who calls"
    await known.close()


async def test_unknown_revoked_and_suspended_read_the_same(
    house: House, process: Process, merchant: str
) -> None:
    trust = Trust()
    known = workloads(process, trust)
    heard = set()

    async def refused(name: str = ORDERS) -> None:
        with pytest.raises(StrongroomError, match="unauthenticated") as refusal:
            await known.authenticate(arrival(name))
        heard.add(refusal.value.public)

    await refused(f"spiffe://{DOMAIN}/svc/unknown")
    made = await known.register(spec(merchant), actor="a")
    await known.authenticate(arrival())
    trust.revoked.add(SERIAL)
    await refused()
    trust.revoked.clear()
    await known.revoke(made.id, actor="a", reason="retired")
    await refused()
    again = await known.register(spec(merchant), actor="a")
    await process.identity.suspend_merchant(merchant, actor="a", reason="fraud")
    await refused()
    assert len(heard) == 1
    await process.identity.flush_refusals(final=True)
    reasons = {e["reason"] for e in await house.entries("identity:workload:reject")}
    assert reasons == {"unknown", "revoked", "suspended"}
    assert [w.status for w in await known.list_workloads()] == ["revoked", "active"]
    assert [w.id for w in await known.list_workloads()] == [made.id, again.id]
    await known.close()


async def test_a_revocation_shows_in_another_process_within_a_second(
    house: House, process: Process, merchant: str
) -> None:
    clock = MovableClock()
    async with house.process(clock=clock) as other:
        here = workloads(process, Trust())
        there = workloads(other, Trust(), clock)
        made = await here.register(spec(merchant), actor="a")
        await there.authenticate(arrival())
        await here.revoke(made.id, actor="a", reason="retired")
        clock.move(0.99)
        with pytest.raises(StrongroomError, match="unauthenticated"):
            await there.authenticate(arrival())
        await here.close()
        await there.close()


async def test_what_cannot_be_known_lets_nobody_in(process: Process, merchant: str) -> None:
    trust = Trust()
    known = workloads(process, trust)
    await known.register(spec(merchant), actor="a")
    trust.away = True
    with pytest.raises(StrongroomError, match="vault_unavailable"):
        await known.authenticate(arrival())
    await known.close()


async def test_what_no_workload_may_be_is_not_registered(process: Process, merchant: str) -> None:
    known = workloads(process, Trust())
    wrong = [
        spec(merchant, spiffe_id="spiffe://elsewhere/svc/orders"),
        spec(merchant, spiffe_id=f"spiffe://{DOMAIN}/svc/vault"),
        spec(merchant, spiffe_id=f"spiffe://{DOMAIN}/svc/a/b"),
        spec(merchant, spiffe_id=f"spiffe://{DOMAIN}/svc/Orders"),
        spec(merchant, role="merchant-backend"),
        spec(merchant, role="operator-admin"),
        spec(merchant, role="service-monitor"),
        spec(None),
        spec(merchant, scopes=frozenset({"no:action"})),
        spec(merchant, scopes=frozenset()),
        spec(merchant, owner=""),
    ]
    for one in wrong:
        with pytest.raises(StrongroomError, match="invalid_parameter"):
            await known.register(one, actor="a")
    await known.register(spec(merchant), actor="a")
    with pytest.raises(StrongroomError, match="workload_exists"):
        await known.register(spec(merchant), actor="a")
    for unknown in ("wkl_x", "mer_01k00000000000000000000000", "wkl_01k00000000000000000000000"):
        with pytest.raises(StrongroomError, match="workload_not_found"):
            await known.revoke(unknown, actor="a", reason="r")
    await known.close()
