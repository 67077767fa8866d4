"""Which process may ask what of the vault, by the role in its certificate. Checked before all else.

The vault does not rely on what a caller says it was allowed: an `api` host in foreign hands can use
these verbs and no others. Clear card numbers are for nobody until `[vault_listener]` names a role.
"""

from __future__ import annotations

from collections.abc import Collection

_PAYING = frozenset(
    {
        "vault.client_keys",
        "vault.commitment",
        "vault.commitment_encrypted",
        "vault.delete",
        "vault.describe",
        "vault.drop_cvc",
        "vault.erase_subject",
        "vault.forward",
        "vault.hold",
        "vault.hold_cvc",
        "vault.mark_saved",
        "vault.resolve",
        "vault.subject_tokens",
        "vault.take",
        "vault.tokenize",
        "vault.tokenize_batch",
        "vault.tokenize_encrypted",
        "vault.tokenize_encrypted_batch",
    }
)
_SIGNING_IN = frozenset({"keys.match_one_time_code", "keys.new_one_time_secret"})
_TOKENS = frozenset({"keys.access_token_keys", "keys.sign_access_token"})
_KEYS = frozenset({"keys.api_key_hashes", "keys.hash_api_key", "keys.inventory", "keys.trust"})

ROLES = {
    "api": _PAYING | _KEYS | _SIGNING_IN | _TOKENS,
    "worker": frozenset({"vault.delete", "vault.describe", "vault.forward", "vault.hold"}) | _KEYS,
}
"""What each role may call."""

REVEALING = frozenset({"vault.reveal", "vault.reveal_batch"})
"""What a role may call too when the vault's settings name it in `may_reveal`."""

HERE_ONLY = frozenset({"vault.purge_expired", "vault.replay_shreds"})
"""What the vault's own process does; no other may ask for it."""


def allowed(role: str, *, may_reveal: Collection[str] = ()) -> frozenset[str]:
    """Return the calls that a role may make; none for a role that is unknown."""
    granted = ROLES.get(role, frozenset())
    return granted | REVEALING if granted and role in may_reveal else granted
