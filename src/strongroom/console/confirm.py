"""Step-up: what a person is about to do is shown and confirmed, for exactly that and once.

A form that needs it comes twice. First without a proof: it is answered with a page that shows what
is asked and a challenge made of it. Then with the proof: the same fields are digested again, so
a field changed between the two makes the proof one for something else.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from strongroom.console.decide import purpose_of
from strongroom.console.model import Reply
from strongroom.console.page import Visit
from strongroom.identity.operators import StepUp

TICKET = {"ticket": 2_000}
RESPONSE = {"response": 40_000}
PROOF: Mapping[str, int] = {**TICKET, **RESPONSE, "code": 32}
"""The fields of every form that is confirmed."""


def purpose(visit: Visit) -> bytes:
    """Return what this form does, as a digest: page, thing, and every field but the proof."""
    plain = [f"{name}={value}" for name, value in sorted(_plain(visit).items())]
    return purpose_of(visit.page.action, visit.page.path, visit.id, *plain)


async def confirmed(
    visit: Visit, *, what: str, about: Mapping[str, str], bound_to: bytes | None = None
) -> StepUp | Reply:
    """Return the proof for this form, or the page that asks for it.

    Args:
        visit: the form; its page knows the fields of `PROOF`.
        what: what is about to be done, in a few words.
        about: the things it is done with, by their labels.
        bound_to: what the proof is for, when another room says so; else the form itself.
    """
    wanted = bound_to or purpose(visit)
    operators = visit.services.operators
    ticket = visit.secret("ticket")
    if visit.get("response"):
        proof = await operators.prove(
            ticket, visit.get("response").encode(), session=visit.visitor, purpose=wanted
        )
        return _permitted(visit, proof)
    if visit.get("code"):
        proof = await operators.prove_code(
            ticket,
            visit.secret("code"),
            session=visit.visitor,
            device=visit.device,
            source=visit.source,
            purpose=wanted,
        )
        return _permitted(visit, proof)
    begun = await operators.challenge(visit.visitor, purpose=wanted)
    path = visit.page.path.replace("{id}", visit.id)
    return visit.show(
        "confirm.html",
        what=what,
        about=about,
        path=path,
        fields={**_plain(visit), "ticket": begun.ticket.reveal()},
        options=msgspec.json.encode(begun.options).decode(),
    )


def _permitted(visit: Visit, proof: StepUp) -> StepUp:
    """Ask the policies again, now that the second factor is as old as it is."""
    fresh = msgspec.structs.replace(
        visit.visitor, mfa_at=proof.at, aal=max(visit.visitor.aal, proof.aal)
    )
    visit.services.authorizer.check(
        fresh, action=visit.page.action, merchant=None, source=visit.source
    )
    visit.principal = fresh
    return proof


def _plain(visit: Visit) -> dict[str, str]:
    return {name: value for name, value in visit.fields.items() if name not in PROOF}
