"""Bad days of OpenBao transit, on a real server, and answers that no honest server gives."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import RootProvider
from strongroom.keys.roots import TransitSpec, create_root
from tests.keys.roots_house import HERE, Counterparts, real
from tests.support.hostile import Hostile, http_answer
from tests.support.openbao import make_certificates

__all__ = ["real"]
KEY = Secret(b"k" * 32)


def bao_root(
    real: Counterparts, provider: str = "openbao-transit", **options: object
) -> tuple[TransitSpec, RootProvider]:
    spec = real.made(provider, **options)
    assert isinstance(spec, TransitSpec)
    return spec, real.open(spec)


async def fails(root: RootProvider, code: str) -> StrongroomError:
    with pytest.raises(StrongroomError, match=code) as failed:
        await root.wrap(KEY, aad=b"a")
    assert "\n" not in str(failed.value)
    return failed.value


def refused(real: Counterparts, spec: TransitSpec, **options: object) -> StrongroomError:
    with pytest.raises(StrongroomError) as failed:
        real.open(spec, **options)
    return failed.value


async def works(root: RootProvider) -> bool:
    wrapped = await root.wrap(KEY, aad=b"a")
    return (await root.unwrap(wrapped, aad=b"a")).matches(KEY)


async def test_a_sealed_server_is_unavailable_until_it_is_unsealed(real: Counterparts) -> None:
    spec, root = bao_root(real)
    real.bao.seal()
    try:
        failed = await fails(root, "root_unavailable")
        assert failed.retryable and "sealed" in failed.detail
        assert refused(real, spec).code == "root_unavailable"
    finally:
        real.bao.unseal()
    assert await works(root)


async def test_a_frozen_server_costs_no_more_than_the_timeout(real: Counterparts) -> None:
    _, root = bao_root(real, timeout_s=1.5)
    real.bao.freeze()
    try:
        began = time.monotonic()
        failed = await fails(root, "root_unavailable")
        assert time.monotonic() - began < 4 and failed.retryable
    finally:
        real.bao.thaw()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert await works(root)
            return
        except StrongroomError:
            await asyncio.sleep(0.1)
    raise AssertionError("the root did not come back")


async def test_an_expired_token_is_denied_until_the_file_has_another(real: Counterparts) -> None:
    spec, root = bao_root(real)
    assert spec.token_file is not None
    token = (real.folder / spec.token_file).read_text().strip()
    real.bao.call("POST", "auth/token/revoke", {"token": token})
    failed = await fails(root, "root_access_denied")
    assert not failed.retryable and token not in str(failed)
    assert refused(real, spec).code == "root_access_denied"
    real.bao.token_for(spec.key, real.folder / spec.token_file)
    assert await works(root), "the file is read again"


async def test_a_periodic_token_is_renewed(real: Counterparts) -> None:
    spec = real.made("openbao-transit")
    assert isinstance(spec, TransitSpec) and spec.token_file is not None
    real.bao.token_for(spec.key, real.folder / spec.token_file, ttl="", period="2s")
    root = real.open(spec)
    await asyncio.sleep(3.5)
    assert await works(root)


async def test_an_approle_logs_in_again(real: Counterparts) -> None:
    spec, root = bao_root(real, "openbao-approle")
    accessors = real.bao.call("LIST", "auth/token/accessors")["data"]["keys"]
    for accessor in accessors:
        told = real.bao.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if f"strongroom-{spec.key}" in told["data"]["policies"]:
            real.bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert await works(root)
    (real.folder / (spec.secret_id_file or "")).write_text("00000000\n")
    assert refused(real, spec).code == "root_access_denied"


async def test_a_deleted_key_and_one_made_anew_are_refused(real: Counterparts) -> None:
    spec, root = bao_root(real)
    wrapped = await root.wrap(KEY, aad=b"a")
    path = f"transit/keys/{spec.key}"
    real.bao.call("POST", f"{path}/config", {"deletion_allowed": True})
    real.bao.call("DELETE", path)
    assert "not there" in (await fails(root, "root_key_refused")).public
    time.sleep(1.1)  # the engine tells keys apart by the second they were made in
    real.bao.make_key(spec.key)
    assert "anew" in (await fails(root, "root_key_refused")).public
    with pytest.raises(StrongroomError, match="root_key_refused"):
        await root.unwrap(wrapped, aad=b"a")
    assert "anew" in refused(real, spec).public


@pytest.mark.parametrize(
    "options",
    [
        {"exportable": True},
        {"allow_plaintext_backup": True},
        {"derived": True},
        {"type": "chacha20-poly1305"},
    ],
)
def test_a_key_that_could_leave_or_is_of_another_kind_is_refused(
    real: Counterparts, options: dict[str, object]
) -> None:
    name = real.new_name()
    real.bao.make_key(name, **options)
    with pytest.raises(StrongroomError, match="root_key_refused"):
        real.made("openbao-transit", key=name, make=False)


async def test_a_key_that_becomes_exportable_is_no_longer_used(real: Counterparts) -> None:
    spec, root = bao_root(real)
    real.bao.call("POST", f"transit/keys/{spec.key}/config", {"exportable": True})
    await fails(root, "root_key_refused")


async def test_rotating_the_key_in_the_engine_changes_nothing_here(real: Counterparts) -> None:
    spec, root = bao_root(real)
    before = await root.wrap(KEY, aad=b"a")
    real.bao.call("POST", f"transit/keys/{spec.key}/rotate", {})
    assert (await root.wrap(KEY, aad=b"a")).startswith(b"vault:v1:")
    assert (await root.unwrap(before, aad=b"a")).matches(KEY)
    new = real.made("openbao-transit", key=spec.key, make=False)
    assert isinstance(new, TransitSpec) and new.key_version == 2 and new.id != spec.id
    other = real.open(new)
    for one, wrapped in ((root, await other.wrap(KEY, aad=b"a")), (other, before)):
        with pytest.raises(StrongroomError, match="key_not_usable"):
            await one.unwrap(wrapped, aad=b"a")


def test_a_certificate_of_another_authority_is_not_trusted(
    real: Counterparts, tmp_path: Path
) -> None:
    spec, _ = bao_root(real)
    make_certificates(tmp_path)
    for ca_file in (str(tmp_path / "ca.pem"), None):
        failed = refused(real, msgspec.structs.replace(spec, ca_file=ca_file))
        assert failed.code == "root_unavailable" and "not trusted" in failed.detail


@pytest.mark.parametrize(
    "address",
    ["http://192.0.2.1:8200", "ftp://127.0.0.1", "127.0.0.1:8200", "https://u:p@127.0.0.1", ""],
)
def test_only_https_leaves_this_machine(real: Counterparts, address: str) -> None:
    spec, _ = bao_root(real)
    assert refused(real, msgspec.structs.replace(spec, address=address)).code == (
        "root_misconfigured"
    )


def test_plain_http_to_this_machine_is_for_test_mode(real: Counterparts) -> None:
    spec, _ = bao_root(real)
    plain = msgspec.structs.replace(spec, address="http://127.0.0.1:1")
    assert refused(real, plain).code == "root_unavailable"
    live = "root_01k00000000000000000000000"
    assert refused(real, msgspec.structs.replace(plain, id=live), mode="live").code in (
        "root_other_world",
        "root_misconfigured",
    )


_KEY = {
    "type": "aes256-gcm96", "exportable": False, "allow_plaintext_backup": False,
    "derived": False, "latest_version": 1, "keys": {"1": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(200, b"not json"),
        http_answer(200, b"[]"),
        http_answer(200, b'{"data": null}'),
        http_answer(200, json.dumps({"data": _KEY | {"exportable": "no"}}).encode()),
        http_answer(200, b"\xff\xfe"),
        http_answer(200, json.dumps({"data": _KEY | {"ttl": 0}, "more": "x" * 100_000}).encode()),
        http_answer(302, b"", "Location: https://127.0.0.1:1/"),
        http_answer(500, b"{}"),
        http_answer(429, b"{}"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-other\r\n",
        b"",
    ],
    ids=lambda answer: repr(answer[:24]),
)
def test_an_answer_that_is_not_understood_is_unavailable(real: Counterparts, answer: bytes) -> None:
    spec, _ = bao_root(real)
    with Hostile(answer) as server:
        failed = refused(real, msgspec.structs.replace(spec, address=server.url, ca_file=None))
        assert (failed.code, failed.retryable) == ("root_unavailable", True), failed
        assert server.asked >= 1


def test_a_server_that_never_answers_is_given_up(real: Counterparts) -> None:
    spec, _ = bao_root(real)
    with Hostile(None) as server:
        silent = msgspec.structs.replace(spec, address=server.url, timeout_s=1.0)
        began = time.monotonic()
        assert refused(real, silent).code == "root_unavailable"
        assert time.monotonic() - began < 3


def test_neither_and_both_ways_to_log_in_are_refused(real: Counterparts) -> None:
    spec, _ = bao_root(real)
    for change in ({"token_file": None}, {"role_id": "x", "secret_id_file": "y"}):
        assert refused(real, msgspec.structs.replace(spec, **change)).code == "root_misconfigured"


def test_a_key_that_is_not_there_is_made_where_the_token_may(real: Counterparts) -> None:
    asked = real.asked("openbao-transit", make=False)
    assert isinstance(asked, TransitSpec) and asked.token_file is not None
    with pytest.raises(StrongroomError, match="root_access_denied"):
        create_root(asked, mode="test", installation=HERE, folder=real.folder)
    (real.folder / asked.token_file).write_text(real.bao.root_token)
    made = create_root(asked, mode="test", installation=HERE, folder=real.folder)
    told = real.bao.call("GET", f"transit/keys/{asked.key}")["data"]
    assert told["exportable"] is False and isinstance(made, TransitSpec)


async def test_no_key_is_clear_in_the_servers_audit_log(real: Counterparts) -> None:
    import base64
    import os

    _, root = bao_root(real)
    key = os.urandom(32)
    await root.unwrap(await root.wrap(Secret(key), aad=b"a"), aad=b"a")
    log = real.bao.audit_file.read_bytes()
    assert b"transit/decrypt" in log and base64.b64encode(key) not in log
