"""The inventory tells of every key and certificate, in lines and in CycloneDX's words."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.keys.inventory import Asset, alarms
from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, refused, strongroom

PRIMITIVES = {
    "drbg", "mac", "block-cipher", "stream-cipher", "signature", "hash", "pke", "xof", "kdf",
    "key-agree", "kem", "ae", "combiner", "other", "unknown",
}  # fmt: skip
FUNCTIONS = {
    "generate", "keygen", "encrypt", "decrypt", "digest", "tag", "keyderive", "sign", "verify",
    "encapsulate", "decapsulate", "other", "unknown",
}  # fmt: skip
ALGORITHM = {
    "primitive", "parameterSetIdentifier", "curve", "executionEnvironment",
    "implementationPlatform", "certificationLevel", "mode", "padding", "cryptoFunctions",
    "classicalSecurityLevel", "nistQuantumSecurityLevel",
}  # fmt: skip
MATERIAL = {
    "type", "id", "state", "algorithmRef", "creationDate", "activationDate", "updateDate",
    "expirationDate", "value", "size", "format", "securedBy",
}  # fmt: skip
CERTIFICATE = {
    "subjectName", "issuerName", "notValidBefore", "notValidAfter", "signatureAlgorithmRef",
    "subjectPublicKeyRef", "certificateFormat", "certificateExtension",
}  # fmt: skip
STATES = {"pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed"}
KEY_TYPES = {"private-key", "public-key", "secret-key"}
COMPONENT = {"type", "bom-ref", "name", "version", "description", "cryptoProperties", "properties"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_MODES = {"cbc", "ecb", "ccm", "gcm", "cfb", "ofb", "ctr", "other", "unknown"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test installation with a merchant, its database up."""
    data_dir = tmp_path_factory.mktemp("inventory") / "data"
    assert strongroom("init", "--mode", "test", "--json", data_dir=data_dir).code == 0
    with EmbeddedPostgres(data_dir):
        yield data_dir


@pytest.fixture(scope="module")
def bom(made: Path) -> dict[str, Any]:
    file = made / "cbom.json"
    run = inventory("--cyclonedx", file, data_dir=made)
    assert run.code == 0, run.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def inventory(*words: object, data_dir: Path) -> Run:
    return strongroom("keys", "inventory", "--json", *words, data_dir=data_dir)


def of(bom: dict[str, Any], asset_type: str) -> list[dict[str, Any]]:
    crypto = [c for c in bom["components"] if "cryptoProperties" in c]
    return [c for c in crypto if c["cryptoProperties"]["assetType"] == asset_type]


def test_every_level_of_keys_is_listed(made: Path) -> None:
    assets = inventory(data_dir=made).json["assets"]
    sorts = {asset["sort"] for asset in assets}
    assert {"root", "key", "key-pair", "protocol", "library"} <= sorts
    names = " ".join(asset["name"] for asset in assets)
    for purpose in ("data kek", "index kek", "audit kek", "journal-signing", "api-key-pepper"):
        assert purpose in names
    listed = {key["id"] for key in strongroom("keys", "list", "--json", data_dir=made).json}
    assert listed <= {asset["id"] for asset in assets}
    keys = [asset for asset in assets if asset["sort"] in ("root", "key", "key-pair")]
    assert all(asset["protection"] and asset["where"] and asset["activated_at"] for asset in keys)
    (root,) = [asset for asset in assets if asset["sort"] == "root"]
    assert (root["protection"], root["state"]) == ("sealed-file", "active")
    assert 700 < root["days_left"] <= 730


def test_no_line_holds_key_material(made: Path, bom: dict[str, Any]) -> None:
    root_key = (made / "root.key").read_text().split()[-1]
    told = inventory(data_dir=made).out + json.dumps(bom)
    assert root_key not in told
    assert all(len(a["check_value"]) <= 10 for a in inventory(data_dir=made).json["assets"])
    assert "value" not in {
        name
        for c in of(bom, "related-crypto-material")
        for name in c["cryptoProperties"]["relatedCryptoMaterialProperties"]
    }


def test_the_bill_has_the_form_of_cyclonedx_1_6(bom: dict[str, Any]) -> None:
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    assert re.match(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z", bom["serialNumber"])
    assert _TIME.match(bom["metadata"]["timestamp"])
    refs = [c["bom-ref"] for c in bom["components"]] + [bom["metadata"]["component"]["bom-ref"]]
    assert len(refs) == len(set(refs))
    for component in bom["components"]:
        assert set(component) <= COMPONENT, component
        assert component["type"] in {"cryptographic-asset", "library"}
        assert ("cryptoProperties" in component) == (component["type"] == "cryptographic-asset")
        for prop in component.get("properties", ()):
            assert set(prop) == {"name", "value"} and isinstance(prop["value"], str)
    for edge in bom["dependencies"]:
        assert {edge["ref"], *edge["dependsOn"]} <= set(refs)
        assert len(edge["dependsOn"]) == len(set(edge["dependsOn"]))


def test_algorithms_have_their_levels(bom: dict[str, Any]) -> None:
    found = {c["name"]: c["cryptoProperties"]["algorithmProperties"] for c in of(bom, "algorithm")}
    for properties in found.values():
        assert set(properties) <= ALGORITHM
        assert properties["primitive"] in PRIMITIVES - {"unknown"}
        assert set(properties["cryptoFunctions"]) <= FUNCTIONS
        assert properties.get("mode", "other") in _MODES
        assert 0 <= properties["nistQuantumSecurityLevel"] <= 6
        assert properties["classicalSecurityLevel"] >= 128
    assert found["AES-256-GCM"]["nistQuantumSecurityLevel"] == 5
    assert found["Ed25519"]["nistQuantumSecurityLevel"] == 0


def test_keys_have_states_periods_and_protection(bom: dict[str, Any]) -> None:
    algorithms = {c["bom-ref"] for c in of(bom, "algorithm")}
    materials = of(bom, "related-crypto-material")
    assert len(materials) > 5
    for component in materials:
        properties = component["cryptoProperties"]["relatedCryptoMaterialProperties"]
        assert set(properties) <= MATERIAL
        assert properties["type"] in KEY_TYPES and properties["state"] in STATES
        assert properties["algorithmRef"] in algorithms
        assert set(properties["securedBy"]) <= {"mechanism", "algorithmRef"}
        for name in ("creationDate", "activationDate", "expirationDate"):
            assert _TIME.match(properties.get(name, "2026-01-01T00:00:00Z"))


def test_protocols_name_versions_and_suites(bom: dict[str, Any]) -> None:
    found = {c["name"]: c["cryptoProperties"]["protocolProperties"] for c in of(bom, "protocol")}
    assert found["vault mTLS"]["version"] == "1.3"
    names = [suite["name"] for suite in found["vault mTLS"]["cipherSuites"]]
    assert names and all(name.startswith("TLS_") for name in names)
    assert all(set(p) <= {"type", "version", "cipherSuites"} for p in found.values())


async def test_certificates_are_listed_with_their_ends(made: Path) -> None:
    from strongroom.app import House, load

    async with House(load(made, {})) as house:
        issued = await house.keyring.certificates().issue("api", days=20, actor="system:test")
    assets = inventory(data_dir=made).json["assets"]
    found = {a["id"]: a for a in assets if a["sort"] == "certificate"}
    assert found[issued.serial]["days_left"] == 19
    assert any(a["name"].startswith("spiffe://") for a in found.values())
    run = inventory("--check", data_dir=made)
    assert run.code == 1
    assert [alarm["id"] for alarm in run.json["alarms"]] == [issued.serial]
    file = made / "with-certificates.json"
    assert inventory("--cyclonedx", file, data_dir=made).code == 0
    for component in of(json.loads(file.read_text()), "certificate"):
        assert set(component["cryptoProperties"]["certificateProperties"]) <= CERTIFICATE


def test_a_bill_is_never_overwritten(made: Path, bom: dict[str, Any]) -> None:
    run = strongroom("keys", "inventory", "--cyclonedx", made / "cbom.json", data_dir=made)
    assert "(secret_file_unusable)" in refused(run, 1)


def test_check_fails_when_an_end_is_near(made: Path) -> None:
    run = inventory("--check", "--within-days", 400, data_dir=made)
    assert run.code == 1
    codes = {alarm["code"] for alarm in run.json["alarms"]}
    assert codes == {"soon"}
    assert any(alarm["id"].startswith("kek_") for alarm in run.json["alarms"])


def asset(**fields: Any) -> Asset:
    given: dict[str, Any] = {"id": "kek_1", "sort": "key", "name": "a key", "state": "active"}
    return Asset(**{**given, "activated_at": datetime(2026, 1, 1, tzinfo=UTC), **fields})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"days_left": 31}, None),
        ({"days_left": 30}, None),
        ({"days_left": 29}, "soon"),
        ({"days_left": -1}, "overdue"),
        ({"days_left": -1, "state": "destroyed"}, None),
        ({"days_left": -1, "state": "decrypt_only"}, None),
        ({"state": "compromised"}, "compromised"),
        ({"uses_percent": 49}, None),
        ({"uses_percent": 50}, "worn"),
        ({"sort": "certificate", "state": "valid", "days_left": 5}, "soon"),
        ({"sort": "certificate", "state": "expired", "days_left": -3}, "expired"),
        ({"sort": "root", "state": "former"}, "former_root"),
    ],
)
def test_what_raises_an_alarm(fields: dict[str, Any], code: str | None) -> None:
    found = alarms([asset(**fields)], within_days=30)
    assert [alarm.code for alarm in found] == ([code] if code else [])
