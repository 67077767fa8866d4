"""Payments with cards that clients encrypted, WebCrypto included; no log ever holds one."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.clients import CARD, Document, encrypt
from tests.support.hunt import Hunter
from tests.support.pay import DECLINED, body, gateway, new_key
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Answer, Stack

PAGE = Path(__file__).parents[2] / "docs" / "client-encryption.md"
SUITES = ("jwe-p256", "jwe-x25519", "hpke-x25519", "hpke-xwing")
_BLOCK = re.compile(r"^<!-- client: (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RUN = """
import { loadKeys, encryptCard } from "./encrypt-card.mjs";
const [url, key, card] = process.argv.slice(2);
const keys = await loadKeys(url, key);
const encrypted_card = await encryptCard(keys, JSON.parse(card));
const answer = await fetch(`${url}/v1/tokens`, {
  method: "POST", body: JSON.stringify({ encrypted_card }),
  headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
});
console.log(JSON.stringify({ status: answer.status, body: await answer.json(), encrypted_card }));
"""


def document(stack: Stack) -> Document:
    found: Document = stack.call("GET", "/v1/vault/keys", key=stack.publishable_key).json
    return found


def paid(stack: Stack, text: str, key: str | None = None, **fields: Any) -> Answer:
    request = body(**fields) | {"payment_method": {"encrypted_card": text}}
    return stack.call("POST", "/v1/payments", request, idempotency_key=key or new_key())


def from_page(folder: Path, name: str) -> Path:
    (folder / name).write_text(dict(_BLOCK.findall(PAGE.read_text()))[name])
    return folder / name


@pytest.mark.parametrize("suite", SUITES)
def test_a_payment_with_every_suite(stack: Stack, suite: str) -> None:
    made = paid(stack, encrypt(document(stack), suite))
    assert (made.status, made.json["status"]) == (201, "captured"), made.json
    assert made.json["payment_method"]["card"]["last4"] == "4242"


def test_the_security_code_reaches_the_gateway(stack: Stack) -> None:
    keys = document(stack)
    without = {name: value for name, value in CARD.items() if name != "cvc"}
    for card, said in ((CARD, "pass"), (without, "unchecked")):
        made = paid(stack, encrypt(keys, "hpke-xwing", card)).json
        charge = stack.sandbox("GET", f"/v1/charges/{made['gateway']['reference']}").json
        assert charge["checks"]["cvc"] == said
    wrong = paid(stack, encrypt(keys, "jwe-p256", {**CARD, "number": "4000000000000127"}))
    assert (wrong.status, wrong.json["decline_code"]) == (402, "incorrect_cvc")
    declined = paid(stack, encrypt(keys, "hpke-xwing", {**CARD, "number": DECLINED}))
    assert (declined.status, declined.json["decline_code"]) == (402, "insufficient_funds")


def test_a_repeated_request_gets_its_answer_and_charges_once(stack: Stack) -> None:
    keys, key = document(stack), new_key()
    before = gateway(stack)["charges"]
    text = encrypt(keys, "jwe-p256")
    first = paid(stack, text, key)
    again = paid(stack, text, key)
    assert first.status == again.status == 201 and again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    anew = paid(stack, encrypt(keys, "hpke-x25519"), key)
    assert anew.body == first.body, "the same card encrypted anew is the same request"
    clear = stack.call("POST", "/v1/payments", body(), idempotency_key=key)
    assert clear.body == first.body, "and so is the same card in clear"
    other = encrypt(keys, "jwe-p256", {**CARD, "number": "5555555555554444"})
    assert paid(stack, other, key).json["code"] == "idempotency_key_reused"
    assert paid(stack, text).json["code"] == "encrypted_card_replayed"
    assert gateway(stack)["charges"] == before + 1


def test_where_a_card_is_taken_exactly_one_form_is(stack: Stack) -> None:
    keys = document(stack)
    text = encrypt(keys, "jwe-p256")
    both = {"card": CARD, "encrypted_card": text}
    assert stack.call("POST", "/v1/tokens", both).json["code"] == "conflicting_parameters"
    neither = stack.call("POST", "/v1/tokens", {}).json
    assert (neither["code"], neither["param"]) == ("missing_parameter", "card")
    request = body() | {"payment_method": both}
    twice = stack.call("POST", "/v1/payments", request, idempotency_key=new_key())
    assert twice.json["code"] == "conflicting_parameters"
    beside = body() | {"payment_method": {"encrypted_card": text, "cvc": "123"}}
    refused = stack.call("POST", "/v1/payments", beside, idempotency_key=new_key()).json
    assert (refused["code"], refused["param"]) == ("invalid_parameter", "payment_method.cvc")
    texts = [text, encrypt(keys, "hpke-xwing", {**CARD, "exp_year": 2020})]
    batch = stack.call("POST", "/v1/tokens/batch", {"encrypted_cards": texts}).json
    assert (batch["code"], batch["param"]) == ("expired_card", "encrypted_cards[1].exp_year")
    texts = [encrypt(keys, "hpke-xwing") for _ in range(100)]
    whole = stack.call("POST", "/v1/tokens/batch", {"encrypted_cards": texts})
    assert whole.status == 201 and len(whole.json["data"]) == 100


def test_refusals_name_the_field_and_tell_nothing_else(stack: Stack) -> None:
    bad = paid(stack, "nonsense")
    assert (bad.status, bad.json["code"]) == (422, "encrypted_card_invalid")
    assert bad.json["param"] == "payment_method.encrypted_card"
    assert "nonsense" not in bad.body.decode()


def test_another_merchants_card_does_not_open(stack: Stack) -> None:
    _, other = stack.add_merchant("Another shop")
    for suite in SUITES:
        text = encrypt(document(stack), suite)
        answer = stack.call("POST", "/v1/tokens", {"encrypted_card": text}, key=other)
        assert (answer.status, answer.json["code"]) == (422, "encrypted_card_invalid")
        assert stack.call("POST", "/v1/tokens", {"encrypted_card": text}).status == 201


def test_the_document_is_for_callers_and_their_own_caches(stack: Stack) -> None:
    assert stack.call("GET", "/v1/vault/keys", key=None).status == 401
    answer = stack.call("GET", "/v1/vault/keys", key=stack.publishable_key)
    assert answer.headers["cache-control"] == "private, max-age=60"
    shown = answer.json
    assert stack.merchant in shown["audience"] and ":test:" in shown["audience"]
    assert [key["suite"] for key in shown["keys"]] == list(SUITES)
    assert abs(shown["server_time"] - time.time()) < 5
    assert shown["server_time"] < shown["expires_at"] <= shown["server_time"] + 86_400
    assert not any("d" in key for key in shown["keys"])


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js 20: apt-get install nodejs")
def test_the_browser_text_of_the_page_works(stack: Stack, tmp_path: Path) -> None:
    from_page(tmp_path, "encrypt-card.mjs")
    (tmp_path / "run.mjs").write_text(_RUN)
    card = json.dumps({**CARD, "holder_name": "Ada Lovelace"})
    done = subprocess.run(
        ["node", "run.mjs", stack.url, stack.publishable_key, card],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == 201, said["body"]
    assert said["body"]["card"]["last4"] == "4242"


def test_the_python_text_of_the_page_works(stack: Stack, tmp_path: Path) -> None:
    module = load(from_page(tmp_path, "encrypt_card.py"))
    made = paid(stack, module.encrypt_card(document(stack), CARD))
    assert made.status == 201, made.json


def test_no_process_writes_what_was_encrypted(stack: Stack) -> None:
    name = "Zyxwilda Quastrophil"
    keys = document(stack)
    texts = []
    for suite in SUITES:
        card = {**CARD, "number": "4012888888881881", "cvc": "907", "holder_name": name}
        texts.append(encrypt(keys, suite, card))
        assert paid(stack, texts[-1]).status == 201
        assert paid(stack, texts[-1]).json["code"] == "encrypted_card_replayed"
        assert paid(stack, texts[-1][:-9] + "AAAAAAAAA").status == 422
    hunter = Hunter(numbers=["4012888888881881"], codes=["907"], names=[name])
    entries = stack.call("GET", "/v1/journal/entries?limit=100").body
    metrics = stack.call("GET", "/metrics", key=stack.operator_read_key).body
    for place, data in (("log", stack.log().encode()), ("journal", entries), ("metrics", metrics)):
        assert hunter.text(place, data) == []
        assert not any(text[-60:].encode() in data for text in texts), place


def test_operators_rotate_and_compromise_keys_as_the_page_says(
    stack: Stack, tmp_path: Path
) -> None:
    before = document(stack)
    path = programs(tmp_path)
    for block in blocks("docs/client-encryption.md"):
        done = walk(block, path, STRONGROOM_DATA_DIR=str(stack.data_dir))
        assert done.returncode == 0, done.stdout + done.stderr
    kids = {key["suite"]: key["kid"] for key in before["keys"]}
    unknown = encrypt(before, "jwe-p256", kid="A" * 43)
    time.sleep(1.1)
    assert paid(stack, unknown).status == 422, "which has the process look at the keys again"
    after = document(stack)
    assert set(kids.values()).isdisjoint(key["kid"] for key in after["keys"])
    assert [key["suite"] for key in after["keys"]] == list(SUITES)
    for suite in SUITES:
        assert paid(stack, encrypt(before, suite)).status == 201, "what was under way still opens"
        assert paid(stack, encrypt(after, suite)).status == 201


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
