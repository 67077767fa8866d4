"""A person's own passkeys: add one, remove one, each after showing one that is there already."""

from __future__ import annotations

import msgspec

from strongroom.console.confirm import PROOF, RESPONSE, TICKET, confirmed
from strongroom.console.model import Reply, redirect
from strongroom.console.page import LINE, ROOT, Page, Visit


async def add(visit: Visit) -> Reply:
    """Ask the browser for a new passkey, once the person proved to be there."""
    enrolling = visit.services.operators.enrolling
    name = visit.get("name")
    proof = await confirmed(
        visit, what="Add a passkey", about={"Name": name}, bound_to=enrolling.FACTORS
    )
    if isinstance(proof, Reply):
        return proof
    begun = await enrolling.begin_passkey(visit.visitor, proof)
    return visit.show(
        "create_passkey.html",
        path=ROOT + "/passkeys/create",
        fields={"ticket": begun.ticket.reveal(), "name": name},
        options=msgspec.json.encode(begun.options).decode(),
    )


async def create(visit: Visit) -> Reply:
    """Keep the passkey that the browser made."""
    await visit.services.operators.enrolling.add_passkey(
        visit.secret("ticket"),
        visit.get("response").encode(),
        session=visit.visitor,
        name=visit.get("name"),
    )
    return redirect(ROOT)


async def remove(visit: Visit) -> Reply:
    """Remove a passkey, once the person proved to be there."""
    enrolling = visit.services.operators.enrolling
    chosen = visit.get("passkey")
    known = {passkey.id: passkey.name for passkey in await enrolling.passkeys(visit.visitor)}
    proof = await confirmed(
        visit,
        what="Remove a passkey",
        about={"Name": known.get(chosen, ""), "Passkey": chosen},
        bound_to=enrolling.FACTORS,
    )
    if isinstance(proof, Reply):
        return proof
    await enrolling.remove_passkey(visit.visitor, proof, chosen)
    return redirect(ROOT)


PAGES = (
    Page(
        method="POST",
        path=ROOT + "/passkeys/add",
        action="account:add_passkey",
        handler=add,
        fields={"name": LINE, **PROOF},
        confirmed=True,
    ),
    Page(
        method="POST",
        path=ROOT + "/passkeys/create",
        action="account:add_passkey",
        handler=create,
        fields={"name": LINE, **TICKET, **RESPONSE},
        confirmed=True,  # the ticket is this session's, given after a proof, minutes ago
    ),
    Page(
        method="POST",
        path=ROOT + "/passkeys/remove",
        action="account:remove_passkey",
        handler=remove,
        fields={"passkey": 40, **PROOF},
        confirmed=True,
    ),
)
