"""The journal, to be read and proved. Operators who name no merchant see the installation's own."""

from __future__ import annotations

import base64

import msgspec

from strongroom.api.endpoint import Call, Endpoint, Owner, Reply
from strongroom.api.model import (
    CheckpointAnswer,
    EntryAnswer,
    EntryQuery,
    ListAnswer,
    ProofAnswer,
)
from strongroom.api.render import encode, unix
from strongroom.kernel.limits import PAGE_LIMIT_DEFAULT

_URL = "/v1/journal/entries"


async def list_entries(call: Call) -> Reply:
    """Show entries, oldest first, optionally of one subject."""
    query: EntryQuery = call.query
    limit = query.limit or PAGE_LIMIT_DEFAULT
    journal, subject, within = call.services.journal, query.subject, call.visible()
    found = await journal.entries(
        call.owner, subject=subject, after=query.starting_after, limit=limit, within=within
    )
    more = []
    if len(found) == limit:
        last = found[-1].id
        more = await journal.entries(
            call.owner, subject=subject, after=last, limit=1, within=within
        )
    views = [EntryAnswer(**msgspec.structs.asdict(entry)) for entry in found]
    return Reply(200, encode(ListAnswer(data=views, has_more=bool(more), url=_URL)))


async def read_entry(call: Call) -> Reply:
    """Show one entry."""
    entry = await call.services.journal.entry(call.owner, call.params["entry_id"])
    return Reply(200, encode(EntryAnswer(**msgspec.structs.asdict(entry))))


async def prove_entry(call: Call) -> Reply:
    """Prove that an entry is in the journal."""
    proof = await call.services.journal.proof(call.owner, call.params["entry_id"])
    answer = ProofAnswer(
        entry=proof.entry,
        index=proof.index,
        size=proof.size,
        hashes=proof.hashes,
        checkpoint=proof.checkpoint,
    )
    return Reply(200, encode(answer))


async def read_checkpoint(call: Call) -> Reply:
    """Show the last signed checkpoint."""
    found = await call.services.journal.checkpoint()
    answer = CheckpointAnswer(
        size=found.size,
        root=base64.b64encode(found.root).decode(),
        note=found.note,
        created=None if found.at is None else unix(found.at),
    )
    return Reply(200, encode(answer))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=_URL,
        action="journal:read",
        summary="List journal entries, oldest first",
        handler=list_entries,
        query=EntryQuery,
        answers={200: ListAnswer[EntryAnswer]},
        owner=Owner.EITHER,
    ),
    Endpoint(
        method="GET",
        path="/v1/journal/entries/{entry_id}",
        action="journal:read",
        summary="Show a journal entry",
        handler=read_entry,
        answers={200: EntryAnswer},
        errors=("entry_not_found",),
        owner=Owner.EITHER,
    ),
    Endpoint(
        method="GET",
        path="/v1/journal/entries/{entry_id}/proof",
        action="journal:read",
        summary="Prove that an entry is in the journal",
        handler=prove_entry,
        answers={200: ProofAnswer},
        errors=("entry_not_found", "not_yet_sequenced"),
        owner=Owner.EITHER,
    ),
    Endpoint(
        method="GET",
        path="/v1/journal/checkpoint",
        action="checkpoint:read",
        summary="Show the journal's last signed checkpoint",
        handler=read_checkpoint,
        answers={200: CheckpointAnswer},
        errors=("no_checkpoint",),
        owner=Owner.EITHER,
    ),
)
