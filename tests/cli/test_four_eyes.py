"""The commands of four eyes as docs/four-eyes.md prints them, on a test installation."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.support import refused, strongroom
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a running installation, so that commands start fast."""
    running = Stack(tmp_path_factory.mktemp("four-eyes")).start()
    try:
        yield running.data_dir
    finally:
        running.stop()


def demand(home: Path, demanded: bool = True) -> None:
    """Let the installation demand four eyes in test mode, or not."""
    settings = home / "strongroom.toml"
    rest = settings.read_text().partition("\n[four_eyes]")[0]
    settings.write_text(rest + "\n[four_eyes]\nin_test = true\n" * demanded)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in base64."""
    return b64encode(sha256(file.read_bytes()).digest()).decode()


def jwks(key: bytes) -> str:
    """Return a JWKS with one Ed25519 key."""
    x = urlsafe_b64encode(key).decode().rstrip("=")
    return json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1"}]})


@pytest.mark.timeout(300)
def test_the_pages_run_and_a_demanded_approval_is_demanded(home: Path, tmp_path: Path) -> None:
    shown = blocks("docs/four-eyes.md") + blocks("docs/operations/access-review.md")
    done = walk(
        "".join(shown),
        programs(tmp_path / "bin"),
        cwd=tmp_path,
        timeout_s=240,
        STRONGROOM_DATA_DIR=str(home),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    emergencies = strongroom("break-glass", "list", "--json", data_dir=home).json
    assert [e["reason"] for e in emergencies] == ["payments down, nobody reachable"]
    own = strongroom(
        "break-glass", "review", emergencies[0]["id"], "--verdict=justified", "--note=fine",
        data_dir=home,
    )  # fmt: skip
    assert "(review_own)" in refused(own, 1)
    (asked,) = strongroom("access-approvals", "list", "--json", data_dir=home).json
    assert (asked["state"], asked["needed"]) == ("open", 2), "nobody knows who this shell is"
    doctor = {
        row["check"]: row["status"]
        for row in strongroom("doctor", "--json", data_dir=home).json["checks"]
    }
    assert (doctor["break glass"], doctor["access review"]) == ("warn", "ok")
    (review,) = strongroom("access-reviews", "list", "--json", data_dir=home).json
    assert review["closed_at"] and len(review["decisions"]) == len(review["lines"]) == 4

    demand(home)
    create = ("api-keys", "create", "--owner=ada", "--kind=operator-admin")
    assert "(approval_required)" in refused(strongroom(*create, data_dir=home), 1)
    early = strongroom(*create, f"--approval={asked['id']}", data_dir=home)
    assert "(approval_incomplete)" in refused(early, 1)
    other = strongroom(*create[:2], "--owner=eve", create[3], f"--approval={asked['id']}",
                       data_dir=home)  # fmt: skip
    assert "(approval_mismatch)" in refused(other, 1), "another key than the one that was asked for"
    alone = strongroom("api-keys", "create", "--owner=ada", "--kind=operator-read", data_dir=home)
    assert alone.code == 0, alone.err


def test_nobody_registers_alone_what_sees_card_numbers(home: Path, tmp_path: Path) -> None:
    demand(home, False)
    merchant = strongroom("merchants", "create", "Books", "--json", data_dir=home).json["id"]
    of = (f"--merchant={merchant}",)
    keys = [Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(2)]
    for name, text in (("pub", b64encode(keys[0]).decode()), ("a", jwks(keys[0])),
                       ("b", jwks(keys[1]))):  # fmt: skip
        (tmp_path / name).write_text(text)
    register = ("oauth-clients", "add", f"--jwks={tmp_path / 'a'}")
    powers = ("--owner=Ada", "--scope=token:reveal", "--role=service-reveal")
    before = strongroom(*register, *of, *powers, "--json", data_dir=home).json["id"]

    demand(home)
    common: dict[str, Any] = {"role": "service-reveal", "owner": "Ada", "scopes": ["token:reveal"]}
    new_key = {**common, "public_key": b64encode(keys[0]).decode()}
    for words, action, resource, described in (
        (("signing-keys", "add", tmp_path / "pub", *powers), "signing_key:add", "signing_key",
         new_key),
        ((*register, *powers), "oauth_client:create", "oauth_client",
         {**common, "jwks_sha256": digest(tmp_path / "a"), "binding": "any"}),
        (("oauth-clients", "rotate-key", before, f"--jwks={tmp_path / 'b'}"),
         "oauth_client:rotate_key", before,
         {"role": "service-reveal", "jwks_sha256": digest(tmp_path / "b")}),
    ):  # fmt: skip
        alone = strongroom(*words, *of, data_dir=home)
        assert "(approval_required)" in refused(alone, 1), action
        asked = strongroom(
            "access-approvals", "request", action, f"--resource={resource}", "--reason=disputes",
            f"--parameters={json.dumps(described)}", "--json", *of, data_dir=home,
        ).json  # fmt: skip
        early = strongroom(*words, *of, f"--approval={asked['id']}", data_dir=home)
        assert "(approval_incomplete)" in refused(early, 1), "exactly that was asked for"
    weak = strongroom(*register, *of, "--owner=Ada", "--scope=payment:list", data_dir=home)
    assert weak.code == 0, weak.err


def test_a_review_of_access_is_of_machines_too(home: Path, tmp_path: Path) -> None:
    demand(home, False)
    merchant = strongroom("merchants", "create", "Maps", "--json", data_dir=home).json["id"]
    of = (f"--merchant={merchant}", "--owner=Ada", "--json")
    keys = [Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(2)]
    (tmp_path / "pub").write_text(b64encode(keys[0]).decode())
    (tmp_path / "jwks").write_text(jwks(keys[1]))
    client = ("--scope=payment:list", f"--jwks={tmp_path / 'jwks'}")
    made = {
        "signing_key": strongroom("signing-keys", "add", tmp_path / "pub", *of, data_dir=home).json,
        "oauth_client": strongroom("oauth-clients", "add", *client, *of, data_dir=home).json,
        "workload": strongroom("workload", "register", "maps", *of, data_dir=home).json,
    }
    review = strongroom("access-reviews", "start", "--json", data_dir=home).json
    for kind, right in made.items():
        subjects = {line["subject"]: n for n, line in enumerate(review["lines"], 1)
                    if line["kind"] == kind}  # fmt: skip
        removed = strongroom(
            "access-reviews", "decide", review["id"], subjects[right["id"]], "--verdict=remove",
            "--reason=nobody uses it", data_dir=home,
        )  # fmt: skip
        assert removed.code == 0, removed.err
    left = strongroom("workload", "list", "--json", data_dir=home).json
    for group in ("signing-keys", "oauth-clients"):
        left += strongroom(group, "list", of[0], "--json", data_dir=home).json
    ended = {right["id"] for right in made.values()}
    assert {one["id"]: one["status"] for one in left if one["id"] in ended} == dict.fromkeys(
        ended, "revoked"
    )
