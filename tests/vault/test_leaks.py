"""Clear card data leaves by no side door: printing, encoding, copying, failing, tracing."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import io
import json
import logging
import pickle
import pprint
import sys
import traceback
import warnings
from collections.abc import Callable

import msgspec
import pytest

from strongroom.kernel.secret import MASK, Cvc, Pan, Secret
from strongroom.vault import CardInput, CardVault
from tests.keys.house import House, new_merchant
from tests.vault.conftest import PAN, a_card

NAME = "Ada Augusta Lovelace"
CODE = "987"


@dataclasses.dataclass
class Holder:
    pan: Pan
    cvc: Cvc
    name: Secret[str]


class StructHolder(msgspec.Struct):
    pan: Pan
    cvc: Cvc


def secrets_() -> list[Secret[str]]:
    return [Pan(PAN), Cvc(CODE), Secret(NAME)]


def holder() -> Holder:
    return Holder(Pan(PAN), Cvc(CODE), Secret(NAME))


def card() -> CardInput:
    return a_card(cvc=CODE, holder=NAME)


def clean(text: str) -> bool:
    return not any(word in text for word in (PAN, CODE, NAME))


SHOWS: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": "{}".format,
    "format spec": "{0!s:>40}".format,
    "f-string": lambda value: f"{value} {value!r} {value!s:.99}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031
    "list": lambda value: str([value, {"key": value}, (value,)]),
    "pprint": pprint.pformat,
    "exception": lambda value: repr(ValueError(value)) + str(KeyError(value)),
    "dir and vars": lambda value: str([getattr(value, "__dict__", ""), dir(value)]),
}


@pytest.mark.parametrize("show", SHOWS.values(), ids=SHOWS.keys())
def test_showing_gives_a_mask(show: Callable[[object], str]) -> None:
    for secret in secrets_():
        assert clean(show(secret))
    for whole in (Holder(*secrets_()), StructHolder(Pan(PAN), Cvc(CODE))):  # type: ignore[arg-type]
        assert clean(show(whole))
    assert str(Pan(PAN)) == MASK


@pytest.mark.parametrize("spec", ["", ">30", "s", ".20", "^40"])
def test_format_specs_give_a_mask(spec: str) -> None:
    assert all(clean(format(secret, spec)) for secret in secrets_())


def test_logging_gives_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("leak")
    for value in [*secrets_(), holder(), card()]:
        log.info("%s %r", value, value, extra={"value": value})
        log.error(value)
        try:
            raise ValueError(value)
        except ValueError:
            log.exception("failed on %s", value)
    assert caplog.text and clean(caplog.text)
    told = str([(r.msg, r.args, r.exc_text, getattr(r, "value", "")) for r in caplog.records])
    assert clean(told)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_fails(protocol: int) -> None:
    for value in [*secrets_(), holder(), card()]:
        with pytest.raises(TypeError) as failed:
            pickle.dumps(value, protocol)
        assert clean(str(failed.value))


def test_copying_fails() -> None:
    for value in [*secrets_(), holder()]:
        with pytest.raises(TypeError):
            copy.deepcopy(value)
    for secret in secrets_():
        with pytest.raises(TypeError):
            copy.copy(secret)


def test_encoding_fails_or_masks() -> None:
    encoders: list[Callable[[object], object]] = [
        json.dumps,
        lambda value: json.dumps(value, default=str),
        lambda value: json.dumps(value, default=vars),
        msgspec.json.encode,
        lambda value: msgspec.json.encode(value, enc_hook=str),
        lambda value: msgspec.json.encode(value, enc_hook=repr),
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda value: msgspec.to_builtins(value, enc_hook=str),
    ]
    for value in [*secrets_(), holder(), card(), StructHolder(Pan(PAN), Cvc(CODE))]:
        for encode in encoders:
            try:
                told = str(encode(value))
            except (TypeError, ValueError) as failed:
                told = str(failed)
            assert clean(told)


def test_dumping_fields_gives_masks_or_fails() -> None:
    assert clean(str(msgspec.structs.asdict(card())))
    assert clean(str(msgspec.structs.astuple(card())))
    with pytest.raises(TypeError):
        dataclasses.asdict(holder())
    assert clean(repr(holder()) + repr(card()))


def test_neither_iteration_nor_comparison_gives_anything() -> None:
    for secret in secrets_():
        for attempt in (list, len, hash, bytes, sorted):
            try:
                result = attempt(secret)  # type: ignore[operator]
            except TypeError:
                continue
            assert attempt is hash and clean(str(result))
        assert secret != PAN and secret != type(secret)(secret.reveal())
        with pytest.raises(AttributeError):
            secret.__value  # type: ignore[attr-defined]  # noqa: B018


def explode(pan: Pan, whole: CardInput, cvc: Cvc, name: Secret[str]) -> None:
    mine = [pan, cvc, {"name": name}]
    raise RuntimeError(mine, whole)


def test_tracebacks_with_locals_give_masks() -> None:
    pan, cvc, name = secrets_()
    try:
        explode(pan, card(), cvc, name)  # type: ignore[arg-type]
    except RuntimeError as error:
        told = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if sys.version_info < (3, 13):
                import cgitb

                told += cgitb.text(sys.exc_info()) + cgitb.html(sys.exc_info())
        told += "".join(traceback.format_exception(error))
    assert "explode" in told and clean(told)


@pytest.mark.parametrize(
    "bad", ["4242424242424241", "42424242x2424242", "4" * 30, "4242 4242 4242 4242"]
)
def test_refused_numbers_are_not_told(bad: str) -> None:
    with pytest.raises(Exception, match="incorrect_number") as failed:
        Pan(bad)
    told = "".join(traceback.format_exception(failed.value)[-1:]) + repr(failed.value)
    assert bad not in told


def test_a_wire_error_of_msgspec_does_not_echo() -> None:
    class Wire(msgspec.Struct, forbid_unknown_fields=True):
        number: str
        exp_month: int

    def convert(kind: type, value: object) -> object:
        return kind(value)

    for body in (
        b'{"number": "4242424242424242", "exp_month": "4242424242424242"}',
        b'{"number": "4242424242424242", "exp_month": 1, "4242424242424242": 1}',
        b'{"number": 4242424242424242, "exp_month": 1}',
        b'{"number": "4242424242424242", "exp_month": 1',
    ):
        with pytest.raises(msgspec.DecodeError) as failed:
            msgspec.json.decode(body, type=Wire)
        assert PAN not in str(failed.value) or b'"4242424242424242": 1' in body


async def test_a_failing_tokenize_tells_nothing(
    vault: CardVault, installed: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks below, no frame between the door and the database prints the card."""
    caplog.set_level(logging.DEBUG)
    await installed.sql("ALTER TABLE vault.card ADD CONSTRAINT no CHECK (false) NOT VALID")
    with pytest.raises(Exception, match="constraint_violated") as failed:
        await vault.tokenize(new_merchant(), card(), saved=False, actor="k")
    whole = traceback.TracebackException.from_exception(failed.value, capture_locals=False)
    assert clean("".join(whole.format()) + caplog.text)


async def test_nothing_of_the_vault_prints_card_data(vault: CardVault) -> None:
    merchant = new_merchant()
    view = await vault.tokenize(merchant, card(), saved=False, actor="k")
    handle = await vault.hold_cvc(merchant, view.token, Cvc(CODE))
    told = repr(view) + repr(handle) + repr(vault) + repr(vars(vault)) + repr(vault._fresh._held)
    assert clean(told)
    assert clean(msgspec.json.encode(view).decode())
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode):
        with pytest.raises(TypeError):
            attempt(handle)  # type: ignore[operator]


async def test_no_module_keeps_a_number_after_use(vault: CardVault) -> None:
    """No cache, default or global holds the number once its objects are gone."""
    number = "".join(["55555555", "55554444"])
    merchant = new_merchant()
    view = await vault.tokenize(merchant, a_card(number), saved=False, actor="k")
    await vault.describe(merchant, view.token)
    await asyncio.sleep(0)
    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, Pan)]
    assert not [pan for pan in held if pan.reveal() == number]


def test_output_streams_stay_clean(capsys: pytest.CaptureFixture[str]) -> None:
    print(*secrets_(), holder(), card(), file=sys.stdout)
    print(*secrets_(), holder(), card(), file=sys.stderr)
    stream = io.StringIO()
    pprint.pprint([secrets_(), card()], stream=stream)
    seen = capsys.readouterr()
    assert clean(seen.out + seen.err + stream.getvalue())
