"""Operators on a real PostgreSQL and real keys, as one process or two have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pyotp
import pytest

from strongroom.identity import Identity, Principal
from strongroom.identity.operators import (
    Operators,
    OperatorView,
    RelyingParty,
    SignedIn,
    StepUp,
    new_device,
)
from strongroom.identity.replays import Replays
from strongroom.journal import MARKER
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import Keyring, LocalDesk
from strongroom.storage import Committer, Database
from tests.identity.support import House as Stored
from tests.identity.support import MovableClock, hasher
from tests.support.authenticator import Authenticator
from tests.support.database import TestDatabase

ORIGIN = "https://pay.example.com"
SOURCE = "192.0.2.7"
PASSWORD = "Tr0ubled-Waters-41"
SHELL = Principal.local_operator("ada", mode="test")


class Desk:
    """One process: its door to operators, and the journal's entries."""

    def __init__(self, owner: Database, clock: MovableClock, operators: Operators) -> None:
        self.owner = owner
        self.clock = clock
        self.operators = operators
        self.identity: Identity

    async def entries(self, verb: str) -> list[dict[str, Any]]:
        rows = await self.owner.fetch(
            "SELECT body FROM journal.entry WHERE action = $1 ORDER BY at, batch_id, n",
            f"identity:operator:{verb}",
        )
        return [msgspec.json.decode(row["body"]) for row in rows]

    async def everything_stored(self) -> bytes:
        """Every value of every row of every table, one after the other."""
        return await Stored(None, self.owner).everything_stored()  # type: ignore[arg-type]

    async def reasons(self) -> list[str]:
        """Why callers were refused, as the journal says."""
        await self.identity.flush_refusals(final=True)
        return [entry["reason"] for entry in await self.entries("reject")]

    async def invited(self, login: str, role: str = "operator-admin") -> tuple[str, Secret[str]]:
        view, code = await self.operators.accounts.invite(
            login,
            name="Somebody",
            role=role,  # type: ignore[arg-type]
            actor="local:ada",
        )
        return view.id, code

    async def stranger(self, login: str) -> Typist:
        """Somebody at a device of their own who types a login."""
        return Typist(self, login)

    def watch(self, work: list[str]) -> None:
        """Write down each password that is hashed and each code that is compared."""
        proving = self.operators._proving
        verified, desk = proving._passwords._verified, proving._context.desk

        class Watched:
            new_one_time_secret = desk.new_one_time_secret

            async def match_one_time_code(self, *args: Any) -> int | None:
                work.append("code")
                return await desk.match_one_time_code(*args)

        def hashed(*args: Any) -> bool:
            work.append("hash")
            return verified(*args)

        proving._passwords._verified = hashed  # type: ignore[method-assign]
        proving._context = msgspec.structs.replace(proving._context, desk=Watched())

    async def person(self, login: str, role: str = "operator-admin", **device: Any) -> Person:
        """Invite somebody, who enrolls with a passkey."""
        person = Person(self, Authenticator(ORIGIN, **device))
        person.id, code = await self.invited(login, role)
        await person.accept(code)
        return person

    async def typist(self, login: str, role: str = "operator-read") -> Typist:
        """Invite somebody, who enrolls with a password and one-time codes."""
        typist = Typist(self, login)
        typist.id, code = await self.invited(login, role)
        await typist.accept(code)
        return typist


class Person:
    """Somebody with a passkey and a browser."""

    id: str
    view: OperatorView

    def __init__(self, desk: Desk, key: Authenticator) -> None:
        self.desk = desk
        self.key = key
        self.device = new_device()
        self.token: Secret[str] = Secret("")

    async def accept(self, code: Secret[str]) -> SignedIn:
        enrolling = self.desk.operators.enrolling
        begun = await enrolling.accept(code)
        done = await enrolling.accept_passkey(
            begun.ticket,
            self.key.create(begun.options),
            name="phone",
            device=self.device,
            source=SOURCE,
        )
        self.token, self.view = done.session, done.operator
        return done

    async def sign_in(self, login: str = "") -> SignedIn:
        begun = await self.desk.operators.begin(login, source=SOURCE)
        done = await self.desk.operators.finish_passkey(
            begun.ticket, self.key.get(begun.options), device=self.device, source=SOURCE
        )
        self.token = done.session
        return done

    async def principal(self) -> Principal:
        return await self.desk.operators.session(self.token, device=self.device, source=SOURCE)

    async def step_up(self, purpose: bytes) -> StepUp:
        session = await self.principal()
        begun = await self.desk.operators.challenge(session, purpose=purpose)
        return await self.desk.operators.prove(
            begun.ticket, self.key.get(begun.options), session=session, purpose=purpose
        )


class Typist:
    """Somebody with a password and an authenticator app."""

    id: str

    def __init__(self, desk: Desk, login: str) -> None:
        self.desk = desk
        self.login = login
        self.device = new_device()
        self.secret = ""
        self.token: Secret[str] = Secret("")

    def code(self) -> str:
        return pyotp.TOTP(self.secret).at(self.desk.clock.now()) if self.secret else "000000"

    async def accept(self, code: Secret[str], password: str = PASSWORD) -> SignedIn:
        enrolling = self.desk.operators.enrolling
        begun = await enrolling.accept_code(code)
        self.secret = begun.options["secret"]
        done = await enrolling.accept_password(
            begun.ticket,
            Secret(password),
            Secret(self.code()),
            device=self.device,
            source=SOURCE,
        )
        self.token = done.session
        self.desk.clock.move(90)
        return done

    async def sign_in(
        self,
        *,
        login: str | None = None,
        password: str = PASSWORD,
        code: str | None = None,
        device: Secret[str] | None = None,
        source: str = SOURCE,
    ) -> SignedIn:
        begun = await self.desk.operators.begin(
            self.login if login is None else login, source=source
        )
        done = await self.desk.operators.finish_password(
            begun.ticket,
            Secret(password),
            Secret(self.code() if code is None else code),
            device=device or self.device,
            source=source,
        )
        self.token = done.session
        return done

    async def principal(self) -> Principal:
        return await self.desk.operators.session(self.token, device=self.device, source=SOURCE)


class House:
    """One database with its keys, and as many processes on it as a test wants."""

    def __init__(self, pg: TestDatabase, owner: Database, keyring: Keyring, clock: MovableClock):
        self.pg = pg
        self.owner = owner
        self.keyring = keyring
        self.clock = clock

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Desk]:
        target = self.pg.target("strongroom_pay")
        async with AsyncExitStack() as stack:
            database = await Database(target).open()
            stack.push_async_callback(database.close)
            committer = await Committer(target, marker=MARKER).open()
            stack.push_async_callback(committer.close)
            identity = Identity(
                database,
                committer,
                mode="test",
                hasher=hasher,
                known_scopes=frozenset({"payment:read"}),
                clock=self.clock,
            )
            stack.push_async_callback(identity.close)
            operators = Operators(
                database,
                committer,
                mode="test",
                party=RelyingParty.from_url(ORIGIN),
                hasher=hasher,
                refusals=identity.refusals,
                replays=Replays(database, committer, self.clock),
                desk=LocalDesk(self.keyring),
                clock=self.clock,
            )
            stack.push_async_callback(operators.close)
            desk = Desk(self.owner, self.clock, operators)
            desk.identity = identity
            yield desk


async def refused(doing: Any, code: str) -> str:
    """Await something that must be refused; return the sentence that the caller reads."""
    with pytest.raises(StrongroomError) as caught:
        await doing
    assert caught.value.code == code, caught.value.code
    return caught.value.public
