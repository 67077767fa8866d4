"""A keyring whose root is lost while it runs, and one that moves between two roots."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.keys import Context, Keyring
from strongroom.keys.roots import Pkcs11Spec, RemoteRoot, create_root, open_root
from tests.keys.house import House, new_merchant
from tests.keys.roots_house import Counterparts, real

__all__ = ["real"]


def context(merchant: str) -> Context:
    return Context(merchant=merchant, token="tok_x", field="number")


def hsm_root(real: Counterparts, installed: House) -> tuple[Pkcs11Spec, RemoteRoot]:
    given: dict[str, Any] = {
        "mode": "test", "installation": installed.installation, "folder": real.folder,
    }  # fmt: skip
    spec = create_root(real.asked("pkcs11"), **given)
    root = open_root(spec, **given)
    assert isinstance(root, RemoteRoot) and isinstance(spec, Pkcs11Spec)
    return spec, root


async def keyring(installed: House, root: Any, *former: Any) -> Keyring:
    return await Keyring.open(
        installed.database, installed.committer, root, former=former, clock=installed.clock
    )


async def test_payments_go_on_when_the_root_is_lost_while_running(
    installed: House, real: Counterparts
) -> None:
    _, root = hsm_root(real, installed)
    ring = await keyring(installed, root)
    known, other = new_merchant(), new_merchant()
    sealed = await ring.seal(context(known), b"4242")
    real.hsm.remove()
    root.close()
    try:
        installed.clock.move(3600)  # no unwrapped merchant key is in the cache any more
        assert await ring.open_record(context(known), sealed) == b"4242"
        again = await ring.seal(context(other), b"5555")
        assert await ring.open_record(context(other), again) == b"5555"
        with pytest.raises(StrongroomError, match="root_unavailable"):
            await keyring(installed, root)
    finally:
        real.hsm.put_back()
        ring.close()


async def test_a_keyring_opens_under_two_roots_and_wraps_with_the_new_one(
    installed: House, real: Counterparts
) -> None:
    merchant = new_merchant()
    first = await keyring(installed, installed.root)
    sealed = await first.seal(context(merchant), b"4242")
    first.close()
    _, root = hsm_root(real, installed)
    with pytest.raises(StrongroomError, match="key_not_usable"):
        await keyring(installed, root)
    ring = await keyring(installed, root, installed.root)
    try:
        assert await ring.open_record(context(merchant), sealed) == b"4242"
        wrapped_by = {k.wrapped_by for k in await ring.inventory() if k.kind == "kek"}
        assert wrapped_by == {installed.root.id}
    finally:
        ring.close()
