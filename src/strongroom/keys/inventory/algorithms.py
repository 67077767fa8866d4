"""What is known of every algorithm in use: data only.

Quantum levels are NIST's categories: AES-256 is the yardstick of category 5, SHA-256 collisions of
category 2, ML-KEM-768 is 3; elliptic curves have none, whatever their size.
"""

from __future__ import annotations

from strongroom.keys.inventory.model import Algorithm

_AE = ("encrypt", "decrypt")
_SIGN = ("sign", "verify")

ALGORITHMS: dict[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm(
            name="AES-256-GCM", primitive="ae", functions=_AE, classical_bits=256,
            quantum_level=5, parameter_set="256", mode="gcm", oid="2.16.840.1.101.3.4.1.46",
            note="96-bit random nonces, at most 2^32 uses of a key (SP 800-38D)",
        ),
        Algorithm(
            name="AES-256-KWP", primitive="block-cipher", functions=_AE, classical_bits=256,
            quantum_level=5, parameter_set="256", oid="2.16.840.1.101.3.4.1.48",
            note="key wrap with padding (SP 800-38F), where an HSM cannot do GCM",
        ),
        Algorithm(
            name="HMAC-SHA-256", primitive="mac", functions=("tag",), classical_bits=256,
            quantum_level=5, parameter_set="256", oid="1.2.840.113549.2.9",
        ),
        Algorithm(
            name="SHA-256", primitive="hash", functions=("digest",), classical_bits=128,
            quantum_level=2, parameter_set="256", oid="2.16.840.1.101.3.4.2.1",
        ),
        Algorithm(
            name="HKDF-SHA-256", primitive="kdf", functions=("keyderive",), classical_bits=256,
            quantum_level=5, parameter_set="256",
        ),
        Algorithm(
            name="Argon2id", primitive="kdf", functions=("keyderive",), classical_bits=256,
            quantum_level=5, parameter_set="m=65536,t=3,p=4",
            note="passphrases of root and custodian files (RFC 9106, second recommended option)",
        ),
        Algorithm(
            name="SCRAM-SHA-256", primitive="kdf", functions=("keyderive",), classical_bits=256,
            quantum_level=5, parameter_set="256", note="passwords of the database roles",
        ),
        Algorithm(
            name="Ed25519", primitive="signature", functions=_SIGN, classical_bits=128,
            quantum_level=0, curve="Ed25519", oid="1.3.101.112",
            note="signatures only: nothing recorded today is opened by it later",
        ),
        Algorithm(
            name="ECDSA-P256", primitive="signature", functions=_SIGN, classical_bits=128,
            quantum_level=0, curve="P-256", oid="1.2.840.10045.4.3.2",
        ),
        Algorithm(
            name="ECDH-ES-P256", primitive="key-agree", functions=("keyderive",),
            classical_bits=128, quantum_level=0, curve="P-256", oid="1.3.132.1.12",
            note="what is recorded today could be opened later: offer X-Wing to clients",
        ),
        Algorithm(
            name="X25519", primitive="key-agree", functions=("keyderive",), classical_bits=128,
            quantum_level=0, curve="Curve25519", oid="1.3.101.110",
            note="what is recorded today could be opened later: offer X-Wing to clients",
        ),
        Algorithm(
            name="X-Wing", primitive="kem", functions=("encapsulate", "decapsulate"),
            classical_bits=128, quantum_level=3, parameter_set="ML-KEM-768+X25519",
            note="hybrid: holds as long as one of the two does",
        ),
        Algorithm(
            name="TLS-AES-GCM", primitive="ae", functions=_AE, classical_bits=128,
            quantum_level=1, mode="gcm",
        ),
        Algorithm(
            name="ChaCha20-Poly1305", primitive="ae", functions=_AE, classical_bits=256,
            quantum_level=5, oid="1.2.840.113549.1.9.16.3.18",
        ),
        Algorithm(
            name="AES-256-FF1", primitive="block-cipher", functions=_AE, classical_bits=256,
            quantum_level=5, parameter_set="256", mode="other",
            note="format-preserving export only (SP 800-38G), off unless asked for",
        ),
    )
}  # fmt: skip

OF_KEYS = {
    "A256GCM": "AES-256-GCM",
    "HS256": "HMAC-SHA-256",
    "Ed25519": "Ed25519",
    "ES256": "ECDSA-P256",
    "ECDH-ES/P-256": "ECDH-ES-P256",
    "ECDH-ES/X25519": "X25519",
    "HPKE/X25519": "X25519",
    "HPKE/X-Wing": "X-Wing",
    "FF1": "AES-256-FF1",
}
"""What key records call an algorithm → its name here."""

OF_ROOTS = {"aes-gcm": "AES-256-GCM", "aes-key-wrap-pad": "AES-256-KWP"}

ALWAYS = ("SHA-256", "HKDF-SHA-256", "Argon2id", "SCRAM-SHA-256")
"""In use without a key of their own: the journal's tree, HPKE, passphrases, database logins."""


def algorithm_of(name: str) -> Algorithm:
    """Return what is known of a key record's algorithm; of an unknown one that it is unknown."""
    known = ALGORITHMS.get(OF_KEYS.get(name, name))
    if known is not None:
        return known
    return Algorithm(
        name=name, primitive="unknown", functions=("unknown",), classical_bits=0, quantum_level=0
    )
