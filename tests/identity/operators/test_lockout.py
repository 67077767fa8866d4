"""Ten tries in half an hour, and what strangers cannot do to somebody else with them."""

from __future__ import annotations

import asyncio

from strongroom.identity.operators import new_device
from strongroom.kernel.secret import Secret
from tests.identity.operators.support import PASSWORD, Desk, Typist, refused

REFUSED = "sign_in_refused"


async def _fail(typist: Typist, times: int, **where: object) -> None:
    for _ in range(times):
        await refused(typist.sign_in(password="wrong", code="000000", **where), REFUSED)  # type: ignore[arg-type]


async def test_the_eleventh_try_is_refused_though_it_is_right(desk: Desk) -> None:
    bob = await desk.typist("bob")
    await _fail(bob, 9)
    await bob.sign_in()
    desk.clock.move(60)
    await _fail(bob, 10)
    await refused(bob.sign_in(), REFUSED)
    desk.clock.move(29 * 60)
    await refused(bob.sign_in(), REFUSED)
    desk.clock.move(61)
    assert (await bob.sign_in()).operator.id == bob.id, "the rest ended half an hour after try ten"
    (locked,) = await desk.entries("lock")
    assert locked["subject"] == bob.id
    assert "too_many_tries" in await desk.reasons()


async def test_twenty_guesses_at_once_are_ten(desk: Desk) -> None:
    bob = await desk.typist("bob")
    work: list[str] = []
    desk.watch(work)
    strangers = [await desk.stranger("bob") for _ in range(20)]
    await asyncio.gather(
        *(
            refused(stranger.sign_in(password="wrong", source=f"198.51.100.{n}"), REFUSED)
            for n, stranger in enumerate(strangers)
        )
    )
    assert work.count("hash") == 10
    assert (await bob.sign_in()).operator.id == bob.id, "a device that is known counts apart"


async def test_strangers_lock_out_strangers_only(desk: Desk) -> None:
    """A stranger can end the tries of strangers; never those of a known device or a passkey."""
    bob, ada = await desk.typist("bob"), await desk.person("ada")
    stranger = await desk.stranger("bob")
    await _fail(stranger, 11, source="203.0.113.9")
    await _fail(await desk.stranger("ada"), 11, source="203.0.113.10")
    assert (await bob.sign_in()).operator.id == bob.id
    assert (await ada.sign_in("ada")).operator.id == ada.id
    desk.clock.move(60)
    await refused(bob.sign_in(device=new_device()), REFUSED)
    await desk.operators.accounts.unlock(bob.id, actor="local:ada", reason="new laptop")
    assert (await bob.sign_in(device=new_device(), source="192.0.2.99")).operator.id == bob.id
    assert [entry["reason"] for entry in await desk.entries("unlock")] == ["new laptop"]


async def test_one_source_does_not_spray_all_accounts(desk: Desk) -> None:
    """Thirty tries of one IPv6 site over all logins, known or not; others go on."""
    bob = await desk.typist("bob")
    for n in range(30):
        stranger = await desk.stranger(f"guess{n}")
        await _fail(stranger, 1, source=f"2001:db8:1:1::{n + 1:x}")
    work: list[str] = []
    desk.watch(work)
    stranger = await desk.stranger("bob")
    stranger.secret = bob.secret
    await refused(stranger.sign_in(source="2001:db8:1:1:ffff::1"), REFUSED)
    assert not work, "refused before anything was compared"
    assert (await stranger.sign_in(source="2001:db8:1:2::1")).operator.id == bob.id


async def test_a_code_for_a_step_up_is_guessed_ten_times_at_most(desk: Desk) -> None:
    bob = await desk.typist("bob")
    session = await bob.principal()

    async def guess(code: str) -> object:
        begun = await desk.operators.challenge(session, purpose=b"p")
        return await desk.operators.prove_code(
            begun.ticket,
            Secret(code),
            session=session,
            device=bob.device,
            source="192.0.2.7",
            purpose=b"p",
        )

    for _ in range(10):
        await refused(guess("000000"), "step_up_refused")
    await refused(guess(bob.code()), "step_up_refused")
    await refused(bob.sign_in(password=PASSWORD), REFUSED)
