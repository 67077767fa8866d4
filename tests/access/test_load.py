"""What a decision costs with sixty policies: those that ship, and generated ones beside them.

CPU of this thread, medians of many calls. The edge asks once for each request and mostly remembers
the answer; a capture or refund asks once more, about the payment as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from strongroom.access import Authorizer
from strongroom.access.engine import Engine
from strongroom.identity import Principal, PrincipalKind
from tests.access.test_policies import POLICIES, SCHEMA

WANTED = 60
BUDGET_US = 300
ACTIONS = ("payment:create", "payment:read", "refund:create", "token:create", "journal:read")


def sixty() -> Engine:
    """Return the shipped policies and as many more, all of which must be looked at."""
    texts, shipped = [POLICIES], POLICIES.count("@id(")
    for number in range(max(0, WANTED - shipped)):
        action = ACTIONS[number % len(ACTIONS)]
        texts.append(
            f'@id("made-{number}") @doc("made") forbid (principal, action == '
            f'Action::"{action}", resource) when {{ principal.level > {number + 3} && '
            f'principal has merchant && principal.merchant == "mer_{number}" }};'
        )
    engine = Engine("\n".join(texts), SCHEMA, mode="test")
    assert len(engine.texts) >= WANTED
    return engine


def cost_us(work: Callable[[int], object], times: int) -> float:
    """Return the median CPU of this thread for one call, in microseconds."""
    taken = []
    for number in range(times):
        began = time.thread_time_ns()
        work(number)
        taken.append((time.thread_time_ns() - began) / 1000)
    return median(taken)


def caller(number: int = 0) -> Principal:
    return Principal(
        id=f"key_{number}",
        kind=PrincipalKind.MERCHANT,
        merchant=f"mer_of_{number}",
        mode="test",
        roles=("merchant-backend",),
    )


def test_a_decision_with_sixty_policies_stays_within_its_budget() -> None:
    authorizer = Authorizer(mode="test", engine=sixty())
    callers = [caller(number) for number in range(50)]

    def known(number: int) -> None:
        who = callers[number % len(callers)]
        authorizer.check(who, action="payment:create", merchant=who.merchant)

    def as_it_is(number: int) -> None:
        payment = {"state": "captured", "operation": "refund", "amount": number + 1, "left": 9000,
                   "currency": "EUR"}  # fmt: skip
        who = callers[0]
        authorizer.check(who, action="refund:create", merchant=who.merchant, resource=payment)

    cost_us(known, 100)  # each caller was met once
    remembered = cost_us(known, 2_000)
    anew = cost_us(as_it_is, 300)
    print(f"remembered {remembered:.1f} µs, with the payment as it is {anew:.1f} µs")
    assert remembered < BUDGET_US / 5, "the edge asks this once for each request"
    assert anew < 5 * BUDGET_US, "asked for captures and refunds only; busy cores cost threefold"
