"""PAN hunt: after planting cards everywhere, no number, code or name is where it must not be.

Cards go in through every route, through wrong places and through gateway faults. Then everything an
intruder or an operator could read is searched: answers, tables, files, write-ahead log, stderr,
metrics, journal, process arguments and environments. The searches are shown to be able to find.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS
from tests.support import hunt
from tests.support.hunt import Hit, Hunter
from tests.support.pay import arm, new_key
from tests.support.stack import Answer, Stack, http
from tests.support.truth import await_settled

pytestmark = pytest.mark.slow(25)

NAME = "Zyxwilda Quastrophil"
CODE, AMEX_CODE = "907", "9073"
NUMBERS = sorted(PUBLISHED_TEST_NUMBERS)
VISA = "4012888888881881"  # planted in wrong places, so that a find tells the way it took
OTHER = "6759649826438453"  # planted by no request: what is written to show that it is found
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FAULTS = (
    "garbage", "truncated", "huge", "error=500", "error_after=503", "reset_before", "reset_after",
    "wrong_amount", "wrong_currency",
)  # fmt: skip


class Planted:
    """A running installation, and every answer it gave while cards were planted."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.hunter = Hunter(numbers=NUMBERS, codes=[CODE, AMEX_CODE], names=[NAME])
        self.answers: list[tuple[str, Answer]] = []

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        if method == "POST" and "idempotency_key" not in more and path != "/v1/tokens":
            more["idempotency_key"] = new_key()
        answer = self.stack.call(method, path, body, **more)
        self.answers.append((f"{method} {path}", answer))
        assert answer.status < 500 or answer.status == 503, answer.body
        return answer


def card(number: str) -> dict[str, Any]:
    code = AMEX_CODE if number.startswith(("34", "37")) else CODE
    return {"number": number, "exp_month": 11, "exp_year": 2033, "cvc": code, "holder_name": NAME}


def payment(number: str, **fields: Any) -> dict[str, Any]:
    return {
        "amount": 4711,
        "currency": "EUR",
        "payment_method": {"card": card(number)},
        "return_url": "https://shop.example/back",
        **fields,
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    stack = Stack(tmp_path_factory.mktemp("hunt")).start()
    try:
        planted = Planted(stack)
        plant_by_every_route(planted)
        plant_in_wrong_places(planted)
        plant_during_faults(planted)
        await_settled(stack)
        yield planted
    finally:
        stack.stop()


def plant_by_every_route(planted: Planted) -> None:
    for number in NUMBERS:
        made = planted.call("POST", "/v1/payments", payment(number, capture_method="manual"))
        if made.status != 201:
            continue
        path = f"/v1/payments/{made.json['id']}"
        if made.json["next_action"]:
            url = made.json["next_action"]["redirect_to_url"]["url"]
            planted.answers.append((url, http("GET", url)))
            back = http("POST", f"{url}/complete", b"", headers=FORM)
            planted.answers += [(url, back), (url, http("GET", back.headers["location"]))]
        planted.call("POST", f"{path}/capture", {"amount": 4000})
        planted.call("POST", f"{path}/refunds", {"amount": 100})
        planted.call("GET", path)
    cards = [card(number) for number in NUMBERS]
    planted.call("POST", "/v1/tokens/batch", {"cards": cards, "save": True})
    for number in NUMBERS[::7]:
        token = planted.call("POST", "/v1/tokens", {"card": card(number), "save": True}).json["id"]
        code = card(number)["cvc"]
        method = {"payment_method": {"token": token, "cvc": code}}
        planted.call("POST", "/v1/payments", {**payment(number), **method})
        planted.call("GET", f"/v1/tokens/{token}")
        planted.call("DELETE", f"/v1/tokens/{token}")


def plant_in_wrong_places(planted: Planted) -> None:
    for body in wrong_bodies():
        for path in ("/v1/tokens", "/v1/tokens/batch", "/v1/payments"):
            planted.call("POST", path, body)
    for header in ("X-Card", "Strongroom-Version", "Strongroom-Merchant", "Authorization",
                   "Content-Type", "Origin", "User-Agent", "Cookie"):  # fmt: skip
        planted.call("POST", "/v1/payments", payment(VISA), headers={header: f"Bearer {VISA}"})
    planted.call("POST", "/v1/payments", payment(VISA), idempotency_key=VISA)
    planted.call("POST", "/v1/payments", payment(VISA), key=VISA)
    for path in (
        f"/v1/payments/{VISA}", f"/v1/tokens/{VISA}", f"/v1/{VISA}", f"/{VISA}?{VISA}={VISA}",
        f"/v1/payments?reference={VISA}", f"/v1/payments?status={VISA}", f"/v1/payments?{VISA}=1",
        f"/v1/journal/entries?subject={VISA}", f"/v1/journal/entries/{VISA}/proof",
        f"/v1/return/{VISA}/{VISA}", f"/docs?card={VISA}", f"/v1/payments?limit={VISA}",
    ):  # fmt: skip
        planted.call("GET", path)
    planted.call("POST", f"/v1/payments/{VISA}/capture", {"amount": int(VISA)})
    planted.call("POST", f"/v1/gateways/{VISA}/events", {"number": VISA})
    planted.call("POST", "/v1/gateways/sandbox/events", {"number": VISA},
                 headers={"Sandbox-Signature": f"t={VISA},v1={VISA}"})  # fmt: skip


def wrong_bodies() -> list[Any]:
    whole = payment(VISA)
    text = json.dumps(whole)
    spaced = "4012 8888 8888 1881"
    return [
        payment(spaced),
        payment(VISA[:-1] + "2"),
        {**whole, "amount": int(VISA)},
        {**whole, "currency": VISA},
        {**whole, "capture_method": VISA},
        {**whole, "reference": VISA},
        {**whole, "description": f"card {spaced} {CODE}"},
        {**whole, "metadata": {"card": VISA}},
        {**whole, "metadata": {VISA: "card"}},
        {**whole, VISA: VISA},
        {**whole, "card": card(VISA)},
        {"card": {**card(VISA), "pan": VISA}},
        {"card": {**card(VISA), "number": int(VISA)}},
        {"card": {**card(VISA), "cvc": int(CODE)}},
        {"card": {**card(VISA), "cvc": VISA}},
        {"card": {**card(VISA), "exp_month": VISA}},
        {"card": {**card(VISA), "holder_name": [NAME, VISA]}},
        {"card": VISA},
        {"cards": [card(VISA), {**card(VISA), "exp_year": VISA}]},
        {**whole, "payment_method": {"token": VISA, "cvc": CODE}},
        {**whole, "payment_method": {"card": card(VISA), "cvc": CODE}},
        text[:-3].encode(),
        (text + "}").encode(),
        text.replace("EUR", "\\ud800").encode(),
        text.replace('"amount"', '"currency"').encode(),
        text.encode("utf-16"),
        text.encode() + b"\xff",
        text.encode() + b" " * 40_000,
        f"number={VISA}&cvc={CODE}".encode(),
        VISA.encode(),
    ]


def plant_during_faults(planted: Planted) -> None:
    for fault in FAULTS:
        arm(planted.stack, "charge", fault)
        planted.call("POST", "/v1/payments", payment(VISA))
    arm(planted.stack, "charge", "huge=2000000")
    arm(planted.stack, "inquiry", "garbage", 2)
    planted.call("POST", "/v1/payments", payment(VISA))


OF_THE_ENGINE = ("pg_catalog.", "information_schema.")
"""Its tables are full of numbers; there only planted ones count. `pg_rewrite` is left out: rows of
small numbers in its parse trees, made by initdb, read like a card number with separators."""


async def tables(stack: Stack) -> dict[str, list[bytes]]:
    """Every table of every schema, as text and as PostgreSQL's binary form."""
    server = EmbeddedPostgres(stack.data_dir)
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))
    try:
        await connection.execute("CHECKPOINT")
        names = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname <> 'information_schema' AND tablename <> 'pg_rewrite' ORDER BY 1"
        )
        found = {}
        for row in names:
            dumps = []
            engines = row["name"].startswith(OF_THE_ENGINE)  # some of its types have no binary form
            for form in ("text",) if engines else ("text", "binary"):
                out = BytesIO()
                await connection.copy_from_query(
                    f"SELECT * FROM {row['name']}", output=out, format=form
                )
                dumps.append(out.getvalue())
            found[row["name"]] = dumps
        return found
    finally:
        await connection.close()


async def superuser(stack: Stack, *statements: str) -> None:
    server = EmbeddedPostgres(stack.data_dir)
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def search_tables(planted: Planted, hunter: Hunter) -> list[Hit]:
    hits = []
    for name, (text, *rest) in asyncio.run(tables(planted.stack)).items():
        look = hunter.raw if name.startswith(OF_THE_ENGINE) else hunter.text
        hits += look(name, text)
        for binary in rest:
            hits += hunter.raw(f"{name} (binary)", binary)
    return hits


def test_cards_were_planted(planted: Planted) -> None:
    """Without load the hunt would prove nothing."""
    statuses = [answer.status for _, answer in planted.answers]
    assert statuses.count(201) > 2 * len(NUMBERS)
    assert {202, 400, 401, 402, 404, 413, 415, 422} <= set(statuses)
    brands = {b for b in ("visa", "mastercard", "amex", "diners", "jcb", "unionpay", "discover")
              if any(f'"{b}"'.encode() in answer.body for _,
                  answer in planted.answers)}  # fmt: skip
    assert len(brands) == 7


def test_no_answer_holds_a_card(planted: Planted) -> None:
    hits = []
    for place, answer in planted.answers:
        head = json.dumps(answer.headers).encode()
        hits += planted.hunter.text(f"{answer.status} {place[:20]}", head + b"\n" + answer.body)
        assert answer.status < 500 or answer.status == 503, place
    assert hits == []


def test_no_table_holds_a_card(planted: Planted) -> None:
    assert search_tables(planted, planted.hunter) == []


def test_the_search_of_tables_can_find(planted: Planted) -> None:
    asyncio.run(superuser(
        planted.stack,
        "CREATE TABLE public.planted (a text, b bytea, c bigint)",
        f"INSERT INTO public.planted VALUES ('x 6759-6498 2643.8453 y', '{OTHER}', {OTHER})",
    ))  # fmt: skip
    try:
        hits = search_tables(planted, Hunter(numbers=[OTHER]))
    finally:
        asyncio.run(superuser(planted.stack, "DROP TABLE public.planted"))
    found = {(hit.disguise, hit.place) for hit in hits if hit.place.startswith("public.planted")}
    binary = "public.planted (binary)"
    wanted = {("clear", "public.planted"), ("hex", "public.planted"), ("alike", "public.planted"),
              ("clear", binary), ("big-endian integer", binary)}  # fmt: skip
    assert wanted <= found


def test_no_metric_and_no_log_line_holds_a_card(planted: Planted) -> None:
    metrics = planted.stack.call("GET", "/metrics", key=planted.stack.operator_read_key)
    assert metrics.status == 200
    assert list(planted.hunter.raw("/metrics", metrics.body)) == []
    whole = re.sub(rb"\d+\.\d+(?:e[+-]?\d+)?", b"0", metrics.body)  # seconds look like anything
    assert planted.hunter.text("/metrics", whole) == []
    assert planted.hunter.text("stderr", planted.stack.log().encode()) == []


def test_no_journal_entry_holds_a_card(planted: Planted) -> None:
    pages, after = [], ""
    while True:
        page = planted.stack.call("GET", f"/v1/journal/entries?limit=100{after}")
        pages.append(page.body)
        if not page.json["has_more"]:
            break
        after = f"&starting_after={page.json['data'][-1]['id']}"
    assert len(pages) > 3
    assert planted.hunter.text("journal", b"\n".join(pages)) == []


def test_no_exported_slice_holds_a_card(planted: Planted, tmp_path: Path) -> None:
    async def export(house: Any) -> None:
        from strongroom.journal import export_slice

        keys = house.sequencer.public_keys
        await export_slice(house.journal_database, tmp_path / "slice", public_keys=keys)

    planted.stack.admin(export)
    hits, files, size = planted.hunter.files(tmp_path)
    assert files > 0 and size > 100_000
    assert hits == []


def tree(stack: Stack) -> set[int]:
    """Every process of the installation: the ones that name its directory, and their children."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError):
            continue
    found = {*stack.processes(), stack.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_no_process_argument_or_variable_holds_a_card(planted: Planted) -> None:
    pids = tree(planted.stack)
    assert len(pids) > 5
    read = 0
    for pid in pids:
        for name in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{pid}/{name}").read_bytes()
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # not even its own user may read it, or it has ended
            read += 1
            assert planted.hunter.text(f"/proc/{pid}/{name}", data) == []
            assert planted.stack.secret_key.encode() not in data
            assert planted.stack.sandbox_key.encode() not in data
    assert read > 5


@pytest.mark.parametrize("mark", ["--fd=", "strongroom.app.sandboxing"])
def test_a_process_with_cards_leaves_no_core(planted: Planted, mark: str) -> None:
    pids = planted.stack.processes(mark)
    assert pids
    for pid in pids:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], "soft and hard"
        if os.getuid() != 0:  # a process that may not be dumped belongs to root in /proc
            assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def test_no_file_holds_a_card(planted: Planted) -> None:
    """Data files, write-ahead log, server log, sandbox state: all that lies on the disk."""
    data_dir = planted.stack.data_dir
    hits, files, size = planted.hunter.files(data_dir.parent)
    assert any("pg_wal" in str(path) for path in data_dir.rglob("*"))
    assert files > 500 and size > 2**24
    assert hits == []


DISGUISES = {
    "clear": b'{"pan": "4012-8888 8888 1881"}',
    "utf-16": VISA.encode("utf-16-le"),
    "hex": b"\\x" + VISA.encode().hex().encode(),
    "base64": base64.b64encode(b'{"number":"' + VISA.encode() + b'"}'),
    "packed decimal": b"\x01\x02" + bytes.fromhex(VISA) + b"\x03",
    "little-endian integer": b"\x01\x02" + int(VISA).to_bytes(8, "little") + b"\x03",
    "code": b'{"cvc":"%s"}' % CODE.encode(),
    "code in a form": b"card[cvc]=%s&x=1" % CODE.encode(),
    "name": base64.b64encode(b"holder: " + NAME.upper().encode()),
}


@pytest.mark.parametrize("disguise", sorted(DISGUISES))
def test_the_search_of_files_can_find(planted: Planted, tmp_path: Path, disguise: str) -> None:
    (tmp_path / "deep").mkdir()
    noise = os.urandom(512).translate(None, b"0123456789")
    (tmp_path / "deep" / "page").write_bytes(noise + b"\0" * 8192 + DISGUISES[disguise] + noise)
    hits, files, _ = planted.hunter.files(tmp_path)
    assert files == 1 and hits
    assert all(VISA not in f"{hit}" for hit in hits), "a finding must not leak the number"


def test_masked_cards_are_no_find(planted: Planted) -> None:
    shown = (
        b'{"bin":"401288","last4":"1881","masked":"401288******1881","amount":907,'
        b'"order":4012888888881882}'
    )
    assert planted.hunter.text("answer", shown) == []
    assert hunt.looks_like_a_card("5555555555554444")
