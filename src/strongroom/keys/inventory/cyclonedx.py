"""The inventory as a CycloneDX 1.6 cryptography bill of materials (CBOM). Pure.

Names and enumerations are those of the specification's `cryptoProperties`; what it has no word for
stands in properties named `strongroom:…`. The check value is shortened, key material never shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.keys.inventory.model import Algorithm, Asset, Inventory

SPEC_VERSION = "1.6"
_STATES = {
    "pre_active": "pre-activation",
    "active": "active",
    "decrypt_only": "deactivated",
    "former": "deactivated",
    "revoked": "deactivated",
    "compromised": "compromised",
    "destroyed": "destroyed",
}
_TYPES = {"key": "secret-key", "root": "secret-key", "key-pair": "private-key"}


def document(inventory: Inventory) -> dict[str, Any]:
    """Return the bill of materials, ready to be written as JSON."""
    components = [_algorithm(one) for one in inventory.algorithms]
    components += [_component(asset) for asset in inventory.assets]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{_serial(inventory)}",
        "version": 1,
        "metadata": {
            "timestamp": _time(inventory.at),
            "component": {
                "type": "application",
                "bom-ref": "strongroom",
                "name": "strongroom",
                "version": inventory.version,
                "properties": [
                    _property("installation", inventory.installation),
                    _property("mode", inventory.mode),
                ],
            },
        },
        "components": components,
        "dependencies": list(_dependencies(inventory)),
    }


def _serial(inventory: Inventory) -> UUID:
    """Return a UUID (version 8, RFC 9562) that is the same for the same inventory and moment."""
    digest = hashlib.sha256(f"{inventory.installation}{inventory.at.isoformat()}".encode()).digest()
    value = int.from_bytes(digest[:16], "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62)


def _algorithm(one: Algorithm) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "primitive": one.primitive,
        "executionEnvironment": "software-plain-ram",
        "cryptoFunctions": list(one.functions),
        "classicalSecurityLevel": one.classical_bits,
        "nistQuantumSecurityLevel": one.quantum_level,
    }
    for name, value in (
        ("parameterSetIdentifier", one.parameter_set),
        ("curve", one.curve),
        ("mode", one.mode),
    ):
        if value:
            properties[name] = value
    crypto: dict[str, Any] = {"assetType": "algorithm", "algorithmProperties": properties}
    if one.oid:
        crypto["oid"] = one.oid
    notes = [_property("quantum", one.quantum)] + (
        [_property("note", one.note)] if one.note else []
    )
    return {
        "type": "cryptographic-asset",
        "bom-ref": algorithm_ref(one.name),
        "name": one.name,
        "cryptoProperties": crypto,
        "properties": notes,
    }


def algorithm_ref(name: str) -> str:
    """Return how other components refer to an algorithm."""
    return f"algorithm/{name}"


def _component(asset: Asset) -> dict[str, Any]:
    if asset.sort == "library":
        return {
            "type": "library",
            "bom-ref": asset.id,
            "name": asset.name,
            "version": asset.version,
            **({"description": ", ".join(asset.parts)} if asset.parts else {}),
        }
    crypto = {
        "certificate": _certificate,
        "protocol": _protocol,
    }.get(asset.sort, _material)(asset)
    return {
        "type": "cryptographic-asset",
        "bom-ref": asset.id,
        "name": asset.name,
        **({"version": asset.version} if asset.version else {}),
        "cryptoProperties": crypto,
        "properties": list(_properties(asset)),
    }


def _material(asset: Asset) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": _TYPES.get(asset.sort, "public-key"),
        "id": asset.id,
        "state": _STATES[asset.state],
        "algorithmRef": algorithm_ref(asset.algorithm),
        "securedBy": {"mechanism": asset.protection},
    }
    if asset.bits:
        found["size"] = asset.bits
    for name, moment in (
        ("creationDate", asset.activated_at),
        ("activationDate", asset.activated_at),
        ("expirationDate", asset.expires_at),
    ):
        if moment is not None:
            found[name] = _time(moment)
    return {"assetType": "related-crypto-material", "relatedCryptoMaterialProperties": found}


def _certificate(asset: Asset) -> dict[str, Any]:
    found: dict[str, Any] = {
        "subjectName": asset.name,
        "issuerName": asset.owner,
        "signatureAlgorithmRef": algorithm_ref(asset.algorithm),
        "certificateFormat": "X.509",
    }
    if asset.activated_at is not None:
        found["notValidBefore"] = _time(asset.activated_at)
    if asset.expires_at is not None:
        found["notValidAfter"] = _time(asset.expires_at)
    return {"assetType": "certificate", "certificateProperties": found}


def _protocol(asset: Asset) -> dict[str, Any]:
    return {
        "assetType": "protocol",
        "protocolProperties": {
            "type": "tls",
            "version": asset.version,
            "cipherSuites": [{"name": name} for name in asset.parts],
        },
    }


def _properties(asset: Asset) -> Iterator[dict[str, str]]:
    for name, value in (
        ("state", asset.state),
        ("owner", asset.owner),
        ("where-used", asset.where),
        ("protection", asset.protection),
        ("check-value", asset.check_value),
        ("public-key", asset.public_key),
        ("days-left", asset.days_left),
        ("uses-percent", asset.uses_percent),
        ("count", asset.count if asset.count > 1 else ""),
        ("quantum", asset.quantum),
    ):
        if value not in (None, ""):
            yield _property(name, str(value))


def _dependencies(inventory: Inventory) -> Iterator[dict[str, Any]]:
    known = {one.name for one in inventory.algorithms}
    yield {
        "ref": "strongroom",
        "dependsOn": [
            asset.id for asset in inventory.assets if asset.sort in ("library", "protocol")
        ],
    }
    for asset in inventory.assets:
        needs = [name for name in (asset.algorithm, *asset.parts) if name in known]
        if needs:
            yield {"ref": asset.id, "dependsOn": [algorithm_ref(name) for name in needs]}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"strongroom:{name}", "value": value}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
