"""The verb of an import: chunk by chunk, each written to files and database exactly once.

A chunk's cards, their entries and the place in the file are one commit, guarded by the import's
version: a crash at any moment repeats nothing and loses nothing, and of two programs that run the
same import one stops. Opening an import needs two custodians; going on with it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import BinaryIO

from msgspec.structs import replace

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import id_from, new_uuid7
from strongroom.kernel.limits import IMPORT_CHUNK_LINES, IMPORT_LINE_MAX_BYTES
from strongroom.keys import Keyring
from strongroom.storage import Change, Committer, Database, Verdict
from strongroom.vault import errors
from strongroom.vault.entries import add_cards
from strongroom.vault.importing import records
from strongroom.vault.importing.files import Result, digest_of, open_source, read_chunk
from strongroom.vault.importing.lines import checker, header_of, read_line
from strongroom.vault.importing.model import Accepted, ImportFiles, ImportState, Rejected
from strongroom.vault.model import PLAIN_TOKEN
from strongroom.vault.tokens import SEALS_PER_CARD, merchant_uuid, seal_cards

Tell = Callable[[int, int], None]
_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
"""Digests stand in the journal as letters: those are never taken for a card number."""


class Importer:
    """Brings the cards of a file in."""

    def __init__(
        self, database: Database, committer: Committer, keyring: Keyring, *, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    async def run(
        self,
        merchant: str,
        name: str,
        files: ImportFiles,
        *,
        actor: str,
        approval: str | None,
        tell: Tell,
    ) -> ImportState:
        """Bring in what is not in yet, and return how the import ended.

        Args:
            merchant: whose cards they are.
            name: names the import; the same name goes on where it stopped.
            files: where from, where to.
            actor: who does it.
            approval: of `vault:import`, needed to begin.
            tell: is told bytes done and bytes in all.

        Raises:
            StrongroomError: `import_file_unusable`, `import_file_changed`,
                `import_output_unusable`, `import_running`, or why there is no approval.
        """
        errors.check_import_name(name)
        with ExitStack() as stack:
            source = stack.enter_context(open_source(files.source))
            digest, size = digest_of(source)
            keyed = (await self._keyring.index_key(merchant)).visible.mac(b"import", digest)
            header: tuple[str, ...] = ()
            if files.format == "csv":
                header = header_of(source.readline(IMPORT_LINE_MAX_BYTES))
            job = await self._job(merchant, name, keyed, size, actor, approval)
            if job.done_at is not None:
                return job
            tokens = Result(files.tokens, "external_id,token", known_bytes=job.tokens_bytes)
            stack.enter_context(closing(tokens))
            rejects = Result(files.rejects, "line,code,number", known_bytes=job.rejects_bytes)
            stack.enter_context(closing(rejects))
            if not job.tokens_bytes:
                job = await self._ready(job, source.tell(), 1 if header else 0, tokens, rejects)
            source.seek(job.at_byte)
            while job.done_at is None:
                found = self._read(source, job, files, header)
                job = await self._chunk(merchant, job, found, source.tell(), tokens, rejects, actor)
                tell(job.at_byte, size)
            return job

    def _read(
        self, source: BinaryIO, job: ImportState, files: ImportFiles, header: tuple[str, ...]
    ) -> list[Accepted | Rejected | None]:
        """Return what the next lines are; None for a blank one."""
        check = checker(mode=self._keyring.mode, now=self._clock.now())
        found: list[Accepted | Rejected | None] = []
        lines = read_chunk(source, lines=IMPORT_CHUNK_LINES)
        for number, line in enumerate(lines, job.lines + 1):
            if line is None:
                found.append(Rejected(number, "line_too_long", ""))
            elif not line.strip():
                found.append(None)
            else:
                found.append(
                    read_line(line, number, format=files.format, header=header, check=check)
                )
        return found

    async def _job(
        self,
        merchant: str,
        name: str,
        digest: bytes,
        size: int,
        actor: str,
        approval: str | None,
    ) -> ImportState:
        """Return the import of this name, opened now if two custodians approved it."""
        owner = merchant_uuid(merchant)
        known = await records.find(self._database, owner, name)
        if known is None:
            payload: dict[str, str | int | bool | None] = {
                "merchant": merchant,
                "name": name,
                "bytes": size,
                "digest": digest.hex().translate(_LETTERS),
            }
            await self._keyring.dual_control.redeem(
                "vault:import", payload, approval=approval, requester=actor
            )
            known = ImportState(
                merchant_id=owner,
                name=name,
                id=new_uuid7(),
                digest=digest,
                created_at=self._clock.now(),
            )
            change = Change()
            records.begin(change, known)
            self._record(change, merchant, known, "begin", actor, {"bytes": size})
            if await self._committer.submit(change) is not Verdict.COMMITTED:
                raise errors.import_running()
        if known.digest != digest:
            raise errors.import_file_changed()
        return known

    async def _ready(
        self, job: ImportState, at_byte: int, lines: int, tokens: Result, rejects: Result
    ) -> ImportState:
        """Write down that the results exist: from here on the import can be killed anywhere."""
        then = replace(
            job,
            version=job.version + 1,
            at_byte=at_byte,
            lines=lines,
            tokens_bytes=tokens.size,
            rejects_bytes=rejects.size,
        )
        await self._advance(Change(), job, then)
        return then

    async def _advance(self, change: Change, job: ImportState, then: ImportState) -> None:
        records.advance(change, job, then)
        if await self._committer.submit(change) is not Verdict.COMMITTED:
            raise errors.import_running()

    async def _chunk(
        self,
        merchant: str,
        job: ImportState,
        found: Sequence[Accepted | Rejected | None],
        at_byte: int,
        tokens: Result,
        rejects: Result,
        actor: str,
    ) -> ImportState:
        """Write one chunk to files and database; the end is a chunk without lines."""
        accepted = [line for line in found if isinstance(line, Accepted)]
        rejected = [line for line in found if isinstance(line, Rejected)]
        change, now = Change(), self._clock.now()
        if accepted:
            made = await self._seal(change, merchant, job, accepted, actor)
            tokens.add([f"{a.external_id},{t}" for a, t in zip(accepted, made, strict=True)])
        rejects.add([f"{one.line},{one.code},{one.masked}" for one in rejected])
        then = replace(
            job,
            version=job.version + 1,
            at_byte=at_byte,
            lines=job.lines + len(found),
            imported=job.imported + len(accepted),
            rejected=job.rejected + len(rejected),
            tokens_bytes=tokens.size,
            rejects_bytes=rejects.size,
            done_at=None if found else now,
        )
        if not found:
            counts = {"imported": then.imported, "rejected": then.rejected}
            self._record(change, merchant, then, "end", actor, counts)
        await self._advance(change, job, then)
        return then

    async def _seal(
        self,
        change: Change,
        merchant: str,
        job: ImportState,
        accepted: Sequence[Accepted],
        actor: str,
    ) -> list[str]:
        """Add the sealed cards and their entries to a Change; return their tokens."""
        index = await self._keyring.index_key(merchant)
        key = await self._keyring.data_key(merchant, uses=SEALS_PER_CARD * len(accepted))
        sealed, views = seal_cards(
            merchant,
            [line.card for line in accepted],
            [line.brand for line in accepted],
            key=key,
            index=index,
            saved=True,
            kind=PLAIN_TOKEN,
            now=self._clock.now(),
        )
        made = [view.token for view in views]
        add_cards(change, sealed, made, merchant, actor=actor, request_id=_name(job))
        return made

    def _record(
        self,
        change: Change,
        merchant: str,
        job: ImportState,
        verb: str,
        actor: str,
        facts: dict[str, int],
    ) -> None:
        entry = Entry(
            action=f"vault:import:{verb}",
            subject=_name(job),
            outcome="success",
            merchant=merchant,
            actor=actor,
            facts={"name": job.name, **facts},
        )
        record(change, entry, at=self._clock.now())


def _name(job: ImportState) -> str:
    return id_from("imp", job.id)
