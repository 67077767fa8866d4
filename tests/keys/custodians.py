"""Custodians for tests: real keys, made without the passphrase's slow derivation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

from strongroom.kernel.secret import Secret
from strongroom.keys.dual_control import (
    Approval,
    Card,
    CustodianKey,
    Decision,
    DualControl,
    approval_statement,
    custodian_file,
)

AT = "2026-11-01T09:00:00.000Z"


@dataclass
class Person:
    """A custodian with his keys in hand."""

    key: CustodianKey

    @property
    def card(self) -> Card:
        return self.key.card

    def sign(
        self, control: DualControl, approval: Approval, at: datetime, decision: Decision = "approve"
    ) -> bytes:
        statement = approval_statement(
            control.world, approval, custodian=self.card.custodian, decision=decision, signed_at=at
        )
        return self.key.sign(statement)

    async def approve(self, control: DualControl, approval: Approval, at: datetime) -> Approval:
        return await control.approve(
            approval.id,
            custodian=self.card.custodian,
            signed_at=at,
            signature=self.sign(control, approval, at),
        )


def person(name: str) -> Person:
    seeds = Secret(os.urandom(64))
    return Person(CustodianKey(custodian_file._new_card(name, seeds, AT), seeds))


async def enrolled(control: DualControl, *names: str) -> list[Person]:
    people = [person(name) for name in names]
    for one in people:
        await control.enroll(one.card, actor="local:operator")
    return people
