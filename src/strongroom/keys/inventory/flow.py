"""Collects the inventory: what the database, the settings and the loaded libraries say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib import metadata

from strongroom import __version__
from strongroom.kernel import limits
from strongroom.kernel.ids import unix_ms_of, uuid_of
from strongroom.keys.certificates import CertificateInfo, listed
from strongroom.keys.decide import period
from strongroom.keys.dual_control.model import Custodian
from strongroom.keys.flow import Keyring
from strongroom.keys.inventory import records
from strongroom.keys.inventory.algorithms import ALGORITHMS, ALWAYS, OF_ROOTS, algorithm_of
from strongroom.keys.inventory.model import Asset, Inventory, Tls
from strongroom.keys.model import KeyInfo, RootProvider

_DAY = timedelta(days=1)
_RENEWED_BY_ITSELF = timedelta(days=1, minutes=10)
"""Certificates of a shorter life come and go by the hour: `certificates list` shows them."""

_LIBRARIES = ("cryptography", "joserfc", "python-pkcs11", "boto3", "fastfpe", "asyncpg")
_WHERE = {
    "kek": "wraps {purpose} keys in the schema keys",
    "record": "signs the records of keys",
    "dek": "card data in vault.card",
    "index": "fingerprints of card numbers in vault.card",
    "visible": "fingerprints that a merchant sees",
    "subject": "card data of single data subjects",
    "client": "opens cards that clients encrypted ({purpose})",
    "journal-signing": "checkpoints of the journal",
    "api-key-pepper": "hashes of API keys in iam.api_key, of numbers in findings",
    "dual-control": "records of custodians and approvals",
    "certificate-authority": "certificates of the installation's processes",
}
_PAIRS = ("Ed25519", "ECDSA-P256", "ECDH-ES-P256", "X25519", "X-Wing")


async def collect(keyring: Keyring, *, providers: Mapping[str, str], tls: Tls) -> Inventory:
    """Return the inventory of an installation.

    Args:
        keyring: its keys; none is opened.
        providers: root id → kind of provider, as settings name it.
        tls: what the loaded TLS library offers.
    """
    custody = keyring.custody
    now = custody.clock.now()
    assets = [
        *_roots(custody.root, custody.former, providers, now),
        *(_key(info, providers) for info in await keyring.inventory()),
        *(_custodian(person) for person in await keyring.dual_control.custodians()),
    ]
    lasting = await listed(
        custody.database, clock=custody.clock, ended=True, life_min=_RENEWED_BY_ITSELF
    )
    assets += [_certificate(one, now) for one in lasting]
    assets += [_subjects(group) for group in await records.subject_keys(custody.database)]
    assets += [*_protocols(tls), *_libraries(tls)]
    used = dict.fromkeys((*(a.algorithm for a in assets if a.algorithm), *ALWAYS))
    for asset in assets:
        used |= dict.fromkeys(part for part in asset.parts if part in ALGORITHMS)
    return Inventory(
        at=now,
        installation=str(keyring.installation),
        mode=keyring.mode,
        version=__version__,
        assets=tuple(assets),
        algorithms=tuple(algorithm_of(name) for name in used),
    )


def _roots(
    current: RootProvider,
    former: Iterable[RootProvider],
    providers: Mapping[str, str],
    now: datetime,
) -> Iterator[Asset]:
    for root, state in ((current, "active"), *((one, "former") for one in former)):
        kind = providers.get(root.id, "unknown")
        made = datetime.fromtimestamp(unix_ms_of(uuid_of(root.id, "root")) / 1000, now.tzinfo)
        lasts = period("root", "root")
        mechanism = OF_ROOTS.get(str(getattr(root, "mechanism", "")), "AES-256-GCM")
        yield Asset(
            id=root.id,
            sort="root",
            name="root key",
            algorithm=mechanism,
            state=state,
            where="wraps key-encryption keys",
            protection=kind,
            activated_at=made,
            expires_at=made + lasts if lasts else None,
            days_left=(made + lasts - now) // _DAY if lasts else None,
            bits=256,
            quantum=algorithm_of(mechanism).quantum,
        )


def _key(info: KeyInfo, providers: Mapping[str, str]) -> Asset:
    algorithm = algorithm_of(info.algorithm)
    named = info.purpose if info.kind in ("service", "record") else info.kind
    named = named.rstrip("-0123456789")  # later generations of the certificate authority
    where = _WHERE.get(named, _WHERE.get(info.kind, info.purpose)).format(purpose=info.purpose)
    lasts = period(info.kind, info.purpose)
    guard = providers.get(info.wrapped_by, "")
    uses = None
    if info.uses_reserved is not None and info.uses_limit:
        uses = info.uses_reserved * 100 // info.uses_limit
    return Asset(
        id=info.id,
        sort="key-pair" if algorithm.name in _PAIRS else "key",
        name=f"{info.purpose} {info.kind} key v{info.version}",
        algorithm=algorithm.name,
        version=str(info.version),
        state=info.state,
        owner=info.merchant or "installation",
        where=where,
        protection=f"wrapped by {info.wrapped_by}" + (f" ({guard})" if guard else ""),
        check_value=info.kcv,
        activated_at=info.created_at,
        expires_at=info.created_at + lasts if lasts else None,
        days_left=info.days_left,
        uses_percent=uses,
        bits=256,
        quantum=algorithm.quantum,
        public_key=info.public_key or "",
    )


def _subjects(group: records.Group) -> Asset:
    return Asset(
        id=f"subjects/v{group.version}/{group.state}",
        sort="key",
        name=f"{group.keys} data subjects' keys v{group.version}",
        algorithm="AES-256-GCM",
        version=str(group.version),
        state=group.state,
        owner="merchants",
        where=_WHERE["subject"],
        protection="each wrapped by the data key-encryption key",
        activated_at=group.oldest,
        uses_percent=group.most_used * 100 // limits.KEY_USES_MAX,
        bits=256,
        count=group.keys,
        quantum="safe",
    )


def _custodian(person: Custodian) -> Asset:
    return Asset(
        id=person.id,
        sort="public-key",
        name=f"custodian {person.name}",
        algorithm="Ed25519",
        state="active" if person.revoked_at is None else "revoked",
        owner=person.name,
        where="approvals and acknowledgements; shares of the root are encrypted to its X25519 key",
        protection="private key in the custodian's own file (Argon2id passphrase)",
        activated_at=person.enrolled_at,
        bits=256,
        parts=("X25519",),
        quantum="migrate",
        public_key=person.signing_key.hex(),
    )


def _certificate(one: CertificateInfo, now: datetime) -> Asset:
    left = (one.expires_at - now) // _DAY
    return Asset(
        id=one.serial,
        sort="certificate",
        name=one.spiffe_id,
        algorithm="ECDSA-P256",
        state="valid" if left >= 0 else "expired",
        owner=one.issued_by,
        where=f"mutual TLS of the role {one.role}",
        protection="private key in a 0600 file of its process",
        activated_at=one.not_before,
        expires_at=one.expires_at,
        days_left=left,
        quantum="migrate",
    )


def _protocols(tls: Tls) -> Iterator[Asset]:
    """Return the protocols as they are configured: what the code sets, not what peers choose."""
    for name, where, least in (
        ("vault mTLS", "between the vault and the processes that call it", "1.3"),
        ("gateway TLS", "from the vault to gateways, certificates verified", "1.2"),
    ):
        yield Asset(
            id=f"protocol/{name.replace(' ', '-').lower()}",
            sort="protocol",
            name=name,
            version=least,
            state="active",
            where=where,
            protection=f"{tls.library}; key agreement {_GROUPS}",
            parts=tls.suites if least == "1.3" else tls.suites + tls.older_suites,
            quantum="migrate",
        )


_GROUPS = "X25519, P-256"
"""The ssl module of Python has no post-quantum groups before OpenSSL 3.5: a proxy in front may."""


def _libraries(tls: Tls) -> Iterator[Asset]:
    from cryptography.hazmat.backends.openssl import backend

    for name in _LIBRARIES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        inside = (backend.openssl_version_text(),) if name == "cryptography" else ()
        yield Asset(id=f"library/{name}", sort="library", name=name, version=version, parts=inside)
    yield Asset(
        id="library/openssl-of-python",
        sort="library",
        name="OpenSSL of Python's ssl module",
        version=tls.library.removeprefix("OpenSSL ").split(" ")[0],
    )
