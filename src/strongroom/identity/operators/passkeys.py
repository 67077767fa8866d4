"""Passkeys: what browsers are asked, and whether their answers count (WebAuthn level 3). No I/O.

Credentials are discoverable and the person is always verified by the device, so a passkey is two
factors in one. No attestation is asked for: it would tell models of devices and prove nothing that
we rely on. The library is large and loaded with the first ceremony: most processes hold none.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from strongroom.identity.operators.model import Asserted, Passkey, RelyingParty
from strongroom.kernel.edge_limits import CEREMONY_BYTES_MAX, CEREMONY_S

if TYPE_CHECKING:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

ALGORITHMS = ("ECDSA_SHA_256", "EDDSA", "RSASSA_PKCS1_v1_5_SHA_256")
"""ES256 is what nearly all devices make, EdDSA what newer keys prefer, RS256 what Windows Hello on
older TPMs has only. Nothing with SHA-1 and nothing rarer: each is code that an attacker reaches."""

_TIMEOUT_MS = CEREMONY_S * 1000
_ID = re.compile(r"[A-Za-z0-9_-]{22,1364}", re.ASCII)


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh credential that holds."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    aaguid: str


class _Named(msgspec.Struct, frozen=True):
    """The only part of an answer that is read before it is verified."""

    id: str


class _ClientData(msgspec.Struct, frozen=True):
    crossOrigin: bool | None = None  # noqa: N815 - the standard's name
    topOrigin: str | None = None  # noqa: N815 - the standard's name


def _algorithms() -> list[COSEAlgorithmIdentifier]:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    return [COSEAlgorithmIdentifier[name] for name in ALGORITHMS]


def sign_in_options(party: RelyingParty, challenge: bytes) -> dict[str, Any]:
    """Return `navigator.credentials.get` options that name no credential: they tell nothing."""
    return _asked(party, challenge, ())


def proof_options(
    party: RelyingParty, challenge: bytes, passkeys: Sequence[Passkey]
) -> dict[str, Any]:
    """Return options for a person who is signed in and may use their own passkeys only."""
    return _asked(party, challenge, [passkey.credential_id for passkey in passkeys])


def _asked(party: RelyingParty, challenge: bytes, ids: Sequence[bytes]) -> dict[str, Any]:
    from webauthn import generate_authentication_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import (
        PublicKeyCredentialDescriptor,
        UserVerificationRequirement,
    )

    return options_to_json_dict(
        generate_authentication_options(
            rp_id=party.id,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            allow_credentials=[PublicKeyCredentialDescriptor(id=found) for found in ids],
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )


def creation_options(
    party: RelyingParty,
    challenge: bytes,
    *,
    account: UUID,
    login: str,
    name: str,
    known: Sequence[Passkey],
) -> dict[str, Any]:
    """Return `navigator.credentials.create` options for one account."""
    from webauthn import generate_registration_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import (
        AttestationConveyancePreference,
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    return options_to_json_dict(
        generate_registration_options(
            rp_id=party.id,
            rp_name=party.name,
            user_id=account.bytes,
            user_name=login,
            user_display_name=name,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in known
            ],
            supported_pub_key_algs=_algorithms(),
        )
    )


def credential_of(response: bytes) -> bytes | None:
    """Return the credential id that an answer names, or None when it is no answer."""
    if len(response) > CEREMONY_BYTES_MAX:
        return None
    try:
        text = msgspec.json.decode(response, type=_Named).id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not _ID.fullmatch(text):
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return raw if urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


def asserted(
    party: RelyingParty, challenge: bytes, response: bytes, passkey: Passkey
) -> Asserted | None:
    """Return what an assertion says, or None when it does not hold for this passkey.

    The person must have been verified by the device, at our origin and for our id; whether a
    passkey may be synced is fixed at its creation and cannot change.
    """
    from webauthn import verify_authentication_response
    from webauthn.helpers import parse_authentication_credential_json
    from webauthn.helpers.structs import CredentialDeviceType

    try:
        answer = parse_authentication_credential_json(response.decode())
        found = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception:  # noqa: BLE001 - whatever a hostile answer makes a parser raise, it is no
        return None
    if _is_framed(answer.response.client_data_json):
        return None
    handle = answer.response.user_handle
    if found.credential_id != passkey.credential_id or handle not in (
        None,
        passkey.operator_id.bytes,
    ):
        return None
    if (found.credential_device_type is CredentialDeviceType.MULTI_DEVICE) != (
        passkey.backup_eligible
    ):
        return None
    counts = found.new_sign_count or passkey.sign_count
    return Asserted(
        sign_count=found.new_sign_count,
        backed_up=found.credential_backed_up,
        went_back=bool(counts) and found.new_sign_count <= passkey.sign_count,
    )


def _is_framed(client_data: bytes) -> bool:
    """Return whether a page of somebody else had ours in a frame when it asked (level 3, 7.2).

    What says so in another way than browsers do counts as framed.
    """
    try:
        told = msgspec.json.decode(client_data, type=_ClientData)
    except msgspec.MsgspecError:
        return True
    return told.crossOrigin is True or told.topOrigin is not None


def registered(party: RelyingParty, challenge: bytes, response: bytes) -> Registered | None:
    """Return a fresh credential, or None when the answer does not hold."""
    if len(response) > CEREMONY_BYTES_MAX:
        return None
    from webauthn import verify_registration_response
    from webauthn.helpers import parse_registration_credential_json
    from webauthn.helpers.structs import CredentialDeviceType

    try:
        found = verify_registration_response(
            credential=response.decode(),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
            supported_pub_key_algs=_algorithms(),
        )
    except Exception:  # noqa: BLE001 - whatever a hostile answer makes a parser raise, it is no
        return None
    if _is_framed(parse_registration_credential_json(response.decode()).response.client_data_json):
        return None
    return Registered(
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        sign_count=found.sign_count,
        backup_eligible=found.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        backed_up=found.credential_backed_up,
        aaguid=found.aaguid,
    )
