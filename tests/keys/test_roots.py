"""The contract of a root provider, held by every provider against its real counterpart."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Secret
from strongroom.keys import RootProvider
from strongroom.keys.model import mode_fits
from strongroom.keys.roots import Pkcs11Spec, RootSpec, SealedFileSpec, create_root
from tests.keys.roots_house import HERE, PROVIDERS, Counterparts, real

__all__ = ["real"]
KEY = Secret(b"k" * 32)
ELSEWHERE = UUID("018f0000-0000-7000-8000-000000000002")


@pytest.fixture(scope="module", params=PROVIDERS)
def spec(request: pytest.FixtureRequest, real: Counterparts) -> RootSpec:
    return real.made(request.param)


@pytest.fixture(scope="module")
def root(spec: RootSpec, real: Counterparts) -> RootProvider:
    return real.open(spec)


async def refused(root: RootProvider, wrapped: bytes, aad: bytes) -> None:
    with pytest.raises(StrongroomError) as failed:
        await root.unwrap(wrapped, aad=aad)
    assert failed.value.code == "key_not_usable", failed.value
    assert failed.value.__suppress_context__ or failed.value.__context__ is None


async def test_it_names_itself_and_its_world(root: RootProvider) -> None:
    assert mode_fits(uuid_of(root.id, "root"), "test")
    assert (root.mode, root.installation) == ("test", HERE)


async def test_what_it_wraps_it_unwraps(root: RootProvider) -> None:
    wrapped = await root.wrap(KEY, aad=b"a")
    assert b"k" * 8 not in wrapped and 40 <= len(wrapped) <= 1024
    assert (await root.unwrap(wrapped, aad=b"a")).reveal() == KEY.reveal()


async def test_no_two_wraps_are_alike(root: RootProvider, spec: RootSpec) -> None:
    """Key wrap (SP 800-38F) has no nonce: the same key and data give the same bytes there."""
    alike = await root.wrap(KEY, aad=b"a") == await root.wrap(KEY, aad=b"a")
    assert alike == (isinstance(spec, Pkcs11Spec) and spec.mechanism == "aes-key-wrap-pad")
    assert await root.wrap(KEY, aad=b"a") != await root.wrap(KEY, aad=b"b")


@pytest.mark.parametrize("other", [b"b", b"", b"a\0", b"aa", b"a" * 5000])
async def test_other_additional_data_is_refused(root: RootProvider, other: bytes) -> None:
    wrapped = await root.wrap(KEY, aad=b"a")
    await refused(root, wrapped, other)
    assert (await root.unwrap(wrapped, aad=b"a")).reveal() == KEY.reveal()


async def test_empty_and_long_additional_data_bind_too(root: RootProvider) -> None:
    for aad in (b"", os.urandom(5000)):
        wrapped = await root.wrap(KEY, aad=aad)
        assert (await root.unwrap(wrapped, aad=aad)).reveal() == KEY.reveal()
        await refused(root, wrapped, aad + b"x")


async def test_every_changed_byte_is_refused(root: RootProvider) -> None:
    wrapped = await root.wrap(KEY, aad=b"a")
    places = range(len(wrapped)) if isinstance(wrapped, bytes) and len(wrapped) < 70 else ()
    for place in places or range(0, len(wrapped), 7):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        await refused(root, bytes(changed), b"a")


@pytest.mark.parametrize("junk", [b"", b"x", b"\0" * 12, b"\0" * 44, b"\0" * 72, b"vault:v1:AAAA"])
async def test_junk_is_refused(root: RootProvider, junk: bytes) -> None:
    await refused(root, junk, b"a")


async def test_a_cut_or_longer_wrapping_is_refused(root: RootProvider) -> None:
    wrapped = await root.wrap(KEY, aad=b"a")
    await refused(root, wrapped[:-1], b"a")
    await refused(root, wrapped + b"\0", b"a")


async def test_it_opens_again_and_unwraps_what_was_wrapped_before(
    root: RootProvider, spec: RootSpec, real: Counterparts
) -> None:
    wrapped = await root.wrap(KEY, aad=b"a")
    again = real.open(spec)
    assert again.id == root.id
    assert (await again.unwrap(wrapped, aad=b"a")).reveal() == KEY.reveal()


async def test_another_root_does_not_unwrap_it(
    root: RootProvider, spec: RootSpec, real: Counterparts, request: pytest.FixtureRequest
) -> None:
    other = real.open(real.made(request.node.callspec.params["spec"]))
    await refused(other, await root.wrap(KEY, aad=b"a"), b"a")


async def test_two_roots_over_one_key_are_two(
    root: RootProvider, spec: RootSpec, real: Counterparts
) -> None:
    if isinstance(spec, SealedFileSpec):
        return
    unmade = msgspec.structs.replace(spec, id="", check="")
    twin = real.open(create_root(unmade, mode="test", installation=HERE, folder=real.folder))
    assert twin.id != root.id
    await refused(twin, await root.wrap(KEY, aad=b"a"), b"a")


def test_another_world_is_refused(spec: RootSpec, real: Counterparts) -> None:
    for options in ({"mode": "live"}, {"installation": ELSEWHERE}):
        with pytest.raises(StrongroomError) as failed:
            real.open(spec, **options)
        allowed = {"root_other_world", "root_key_refused", "root_misconfigured"}
        assert failed.value.code in allowed, failed.value


def test_making_is_never_overwriting(spec: RootSpec, real: Counterparts) -> None:
    with pytest.raises(StrongroomError) as failed:
        create_root(spec, mode="test", installation=HERE, folder=real.folder)
    assert failed.value.code in ("root_file_exists", "root_misconfigured")


def test_a_changed_spec_is_refused(spec: RootSpec, real: Counterparts) -> None:
    if isinstance(spec, SealedFileSpec):
        return
    other: Any = real.made("openbao-transit")
    changes = ({"check": other.check}, {"id": other.id}, {"check": ""}, {"id": "root_x"})
    for change in changes:
        with pytest.raises(StrongroomError) as failed:
            real.open(msgspec.structs.replace(spec, **change))
        assert failed.value.code in ("root_key_refused", "root_misconfigured"), failed.value
