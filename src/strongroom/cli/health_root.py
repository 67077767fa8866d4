"""`strongroom doctor hsm`: a dry run of a root's provider. It wraps and unwraps a random value.

Additional data of another kind and a changed byte must be refused. Nothing is stored or changed.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from strongroom.app import Settings, load
from strongroom.app.roots import open_spec, spec_in
from strongroom.cli.command import authorize
from strongroom.cli.model import Finding, fail, ok, warn
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import RootProvider, harden_process
from strongroom.keys.roots import RemoteRoot, RootSpec, provider_of, spec_from

_ROUNDS = 5
_SLOW_MS = 500
_KEY_BYTES = 32


def examine_root(data_dir: Path, file: Path | None) -> list[Finding]:
    """Return what is found of the root in settings, or of the one in a file."""
    harden_process()
    settings = load(data_dir)
    authorize(settings.mode)
    spec = settings.root_spec if file is None else spec_from(spec_in(file))
    try:
        began = time.monotonic()
        root = open_spec(settings, spec)
    except StrongroomError as error:
        told = " ".join(f"{error.public} ({error.code} {error.detail})".split())
        return [fail("root", told, "See docs/operations/roots.md.")]
    opened_ms = (time.monotonic() - began) * 1000
    findings = [ok("root", f"{root.id} opens in {opened_ms:.0f} ms ({provider_of(spec)})")]
    return findings + asyncio.run(_examine(root, spec, settings))


async def _examine(root: RootProvider, spec: RootSpec, settings: Settings) -> list[Finding]:
    try:
        findings = [await _round_trip(root), await _binding(root)]
        if isinstance(root, RemoteRoot):
            findings += _of_provider(await root.facts(), settings)
    except StrongroomError as error:
        told = " ".join(f"{error.public} ({error.code} {error.detail})".split())
        findings = [fail("provider", told, "See docs/operations/roots.md.")]
    finally:
        if isinstance(root, RemoteRoot):
            root.close()
    return findings


async def _round_trip(root: RootProvider) -> Finding:
    slowest = 0.0
    for _ in range(_ROUNDS):
        key = Secret(os.urandom(_KEY_BYTES))
        began = time.monotonic()
        wrapped = await root.wrap(key, aad=b"doctor")
        found = await root.unwrap(wrapped, aad=b"doctor")
        slowest = max(slowest, (time.monotonic() - began) * 1000)
        if not found.matches(key):
            return fail("wrap and unwrap", "another value came back", "Do not use this provider.")
    told = f"{_ROUNDS} round trips, the slowest {slowest:.1f} ms"
    if slowest > _SLOW_MS:
        return warn("wrap and unwrap", told, "A start unwraps each KEK: bring the provider nearer.")
    return ok("wrap and unwrap", told)


async def _binding(root: RootProvider) -> Finding:
    wrapped = await root.wrap(Secret(os.urandom(_KEY_BYTES)), aad=b"doctor")
    changed = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for given, aad in ((wrapped, b"other"), (changed, b"doctor")):
        try:
            await root.unwrap(given, aad=aad)
        except StrongroomError as error:
            if error.code != "key_not_usable":
                raise
        else:
            return fail("binding", "changed data opens", "Do not use this provider.")
    return ok("binding", "other additional data and changed bytes are refused")


def _of_provider(
    facts: dict[str, str | int | bool | list[str]], settings: Settings
) -> list[Finding]:
    findings = []
    offered = facts.get("mechanisms")
    names = ", ".join(offered) if isinstance(offered, list) else ""
    findings.append(ok("mechanisms", f"uses {facts['mechanism']}; offers {names}"))
    if facts["extractable"]:
        findings.append(fail("extractable", "the key can leave", "Make another root."))
    elif not facts["always_inside"]:
        told = "it cannot leave, but it was not made inside"
        findings.append(warn("extractable", told, "Make a root inside the provider."))
    else:
        findings.append(ok("extractable", "no; it was made inside and never could leave"))
    if facts.get("deletion_allowed"):
        findings.append(
            warn("deletion", "the transit key may be deleted", "Set deletion_allowed=false.")
        )
    if facts.get("root_token"):
        told = "the token is OpenBao's root token"
        findings.append((fail if settings.mode == "live" else warn)("token", told, _MEND_TOKEN))
    elif "token_ttl_s" in facts:
        findings.append(ok("token", f"lives {facts['token_ttl_s'] or 'without end'} s"))
    return findings


_MEND_TOKEN = "Give it a token that may use this key only (docs/operations/roots.md)."  # noqa: S105
