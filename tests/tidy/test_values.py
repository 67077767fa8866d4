"""Clear secrets are opened in named modules only, and no float comes near money."""

from __future__ import annotations

import ast

from tests.tidy.tree import nodes, report, room_of, source

MAY_REVEAL = {
    "api/routes/reveal.py": "the answer of a reveal: its last step",
    "app/certified.py": "the key of a process's own certificate, into its file, mode 0600",
    "app/handout.py": "keys, logins and gateways' secrets of a role into its files, mode 0600",
    "app/provisioning.py": "writes the first API keys into the ready file, mode 0600",
    "app/sandboxing.py": "hands the sandbox gateway its own test secrets",
    "app/scanning.py": "this process's database logins, into the environment of the daily scan",
    "cli/api_keys.py": "shows a new API key once, or writes it into a file, mode 0600",
    "cli/operators.py": "shows an invitation once, or writes it into a file, mode 0600",
    "cli/workload.py": "shows a new join token once, or writes it into a file, mode 0600",
    "cli/client.py": "the bearer header of the commands that call the API",
    "identity/operators/enrolling.py": "the secret of one-time codes, shown to its person once",
    "identity/operators/invitations.py": "the code of an invitation, to the keyed hash",
    "identity/operators/passwords.py": "a password, to Argon2id and the rules for new ones",
    "identity/operators/sessions/flow.py": "tokens and devices of sessions, to the keyed hash",
    "identity/operators/tickets.py": "the text of a ticket and of a device's secret, to be checked",
    "keys/one_time.py": "one-time codes and the cipher of their secrets",
    "console/confirm.py": "the ticket of a challenge, into the form that brings it back",
    "console/cookies.py": "session and browser, into their cookies",
    "console/decide.py": "session and browser, into the token of a form",
    "console/pages/invitation.py": "tickets, and the invitation into the form for a password",
    "console/pages/operators.py": "a new invitation's code, shown once",
    "console/pages/passkeys.py": "the ticket of a new passkey, into its form",
    "console/pages/sign_in.py": "the ticket of a sign-in, into its form",
    "console/pages/single_sign_on.py": "the browser's secret, to derive an attempt's values",
    "gateways/sandbox_server/server.py": "the sandbox gateway checks bearers and signs webhooks",
    "gateways/signing.py": "the bearer header, and the signature of gateway webhooks",
    "identity/oidc/decide.py": "the browser's secret, for state, nonce and PKCE verifier",
    "identity/oidc/provider.py": "the client's secret, in a header to the provider",
    "keys/client_keys/suites.py": "makes key pairs of seeds",
    "keys/ceremony/holding.py": "root keys into the pipe that a child inherits",
    "keys/ceremony/shamir.py": "splits a key and puts it together",
    "keys/ceremony/shares_root.py": "wraps a root key under the key that is shared out",
    "keys/custody.py": "gives key-encryption keys to the cipher",
    "keys/dual_control/custodian_file.py": "derives from the passphrase, opens a custodian's keys",
    "keys/certificates/authority.py": "the seed of the authority's key, to its derivation",
    "keys/certificates/joining.py": "a join token, to its digest",
    "keys/certificates/requests.py": "a service's own key, to sign with it",
    "keys/desk.py": "an API key's text, to the keyed hash",
    "keys/envelope.py": "wraps a key under a key",
    "keys/format_key.py": "digits of a card number into FF1, for the legacy export",
    "keys/material.py": "gives key bytes to the cipher",
    "keys/roots/pkcs11_module.py": "the PIN, to the HSM",
    "keys/roots/remote.py": "hands keys to the root's provider and takes them back",
    "keys/roots/sealed_file.py": "derives from the passphrase, seals and opens the root",
    "keys/roots/transit_http.py": "the token, in a header to OpenBao",
    "keys/roots/transit_login.py": "the AppRole's secret id, to OpenBao",
    "keys/token_keys/signing.py": "the seed of the token key, to its derivation",
    "keys/signatures.py": "gives the record-signing key to the signer",
    "storage/counters/valkey.py": "the URL of Valkey, to its driver",
    "storage/database.py": "the password of a database role, to the driver",
    "storage/embedded.py": "the passwords of the embedded roles, to initdb",
    "outbound/message.py": "headers of a request to another server, onto the wire",
    "vault/client_encryption/decide.py": "takes an encrypted card apart",
    "vault/cvc.py": "seals a security code for minutes",
    "vault/decide.py": "brand, mask and fingerprint of a card number",
    "vault/fill.py": "card data into the slots of a gateway request",
    "vault/importing/lines.py": "a line of an import, into the check of a card number",
    "vault/formats/digits.py": "length and last four of a card number, for an alias",
    "vault/remote/joining.py": "a join token, to the vault that TLS has proved",
    "vault/remote/codec.py": "card data and secrets, into the TLS channel to the vault's process",
    "vault/scrub.py": "finds card data in a gateway's answer",
}
"""Module → why it must see the clear value. Everything else handles `Secret`, `Pan` and `Cvc`."""

MONEY_ROOMS = {"payments", "ledger", "gateways", "reconciliation"}
TIMING = {"src/strongroom/gateways/sandbox_server/delivery.py"}
"""Modules of money rooms that divide time only: how slowly an injected fault answers."""

_MONEY_NAMES = ("amount", "minor", "balance", "captured", "refunded", "fee", "total")


def reveals(tree: ast.Module) -> list[int]:
    """Lines that open a secret: `.reveal` taken as it is, or called without arguments.

    The vault's verb `reveal(token, …)` has arguments.
    """
    verbs = {
        id(node.func)
        for node in nodes(tree)
        if isinstance(node, ast.Call) and (node.args or node.keywords)
    }
    return [
        node.lineno
        for node in nodes(tree)
        if isinstance(node, ast.Attribute) and node.attr == "reveal" and id(node) not in verbs
    ]


def floats(tree: ast.Module) -> list[str]:
    """Float conversion, true division, rounding, and money names annotated as float."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"float", "round"}:
                found.append(f"{node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and _divides(node):
            found.append(f"{node.lineno}: true division")
        elif isinstance(node, ast.AnnAssign | ast.arg) and _is_float_money(node):
            found.append(f"{node.lineno}: money annotated as float")
    return found


def _divides(node: ast.BinOp | ast.AugAssign) -> bool:
    """True division, except by the literal 1000 that turns milliseconds into seconds."""
    divisor = node.right if isinstance(node, ast.BinOp) else node.value
    is_ms = isinstance(divisor, ast.Constant) and divisor.value == 1000
    return isinstance(node.op, ast.Div) and not is_ms


def _is_float_money(node: ast.AnnAssign | ast.arg) -> bool:
    name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
    if node.annotation is None or not any(word in name for word in _MONEY_NAMES):
        return False
    words = {word.id for word in ast.walk(node.annotation) if isinstance(word, ast.Name)}
    return "float" in words


def test_only_named_modules_open_secrets() -> None:
    opening = {
        name.removeprefix("src/strongroom/") for name, tree in source().items() if reveals(tree)
    }
    assert opening <= set(MAY_REVEAL), f"may not say .reveal(): {opening - set(MAY_REVEAL)}"
    assert opening >= set(MAY_REVEAL), f"no longer reveals: {set(MAY_REVEAL) - opening}"


def test_no_float_near_money() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in source().items()
        if (room_of(name) in MONEY_ROOMS and name not in TIMING) or name.endswith("kernel/money.py")
        for line in floats(tree)
    ]
    assert not found, report(found)


def test_the_lints_see_what_they_forbid() -> None:
    assert reveals(ast.parse("open_it = pan.reveal"))
    assert reveals(ast.parse("pan.reveal()")) and not reveals(ast.parse("vault.reveal(token)"))
    for code in ("float(x)", "a / b", "a /= b", "def f(amount: float): ...", "fee: float | None"):
        assert floats(ast.parse(code)), code
    assert not floats(ast.parse("minor // 100\ntimeout_s: float = wait_ms / 1000"))
