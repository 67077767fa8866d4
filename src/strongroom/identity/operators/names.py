"""Logins and names: one spelling for each, and none that looks like another's. Pure.

A login is ASCII after NFC and case folding, so no letter of another script can stand in for one of
ours. What still looks alike (`rn` and `m`, `0` and `o`, `1`, `l` and `i`, dots and dashes) has one
skeleton, and a skeleton is taken once.
"""

from __future__ import annotations

import re
import unicodedata

from strongroom.identity.errors import invalid_parameter

_LOGIN = re.compile(
    r"[a-z0-9](?:[a-z0-9._+-]{0,61}[a-z0-9])(?:@[a-z0-9.-]{1,61}[a-z0-9])?", re.ASCII
)
_LOGIN_MAX = 64
_NAME_MAX = 100
_NOBODY = "?"
_LOOKS = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "8": "b", "q": "g"})
_IGNORED = str.maketrans("", "", "._+-")
_SHARED = frozenset(
    "admin administrator root system operator operators support helpdesk team ops shared service "
    "test guest user strongroom console security office finance accounting local".split()
)
"""Names of roles and groups: an account belongs to one person (PCI DSS 8.2.1, 8.2.2)."""

_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
"""Scripts that share shapes; letters of two of them in one word are an imitation."""


def spelled(login: str) -> str:
    """Return a login as it is compared: NFC and case folded. What was typed may be nonsense."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", login.strip()).casefold())


def typed(login: str) -> str:
    """Return what a person typed as a login: empty, one that may exist, or one that never does."""
    found = spelled(login[: 2 * _LOGIN_MAX])
    return found if not found or (_LOGIN.fullmatch(found) and len(found) <= _LOGIN_MAX) else _NOBODY


def new_login(login: str) -> str:
    """Return the login of a new account.

    Raises:
        StrongroomError: `invalid_parameter` when no account may be called so.
    """
    found = spelled(login)
    if len(found) > _LOGIN_MAX or not _LOGIN.fullmatch(found) or len(found) < 3:
        raise invalid_parameter(
            "login",
            "A login has 3 to 64 of the characters a-z, 0-9 and . _ + -, as alone or before an @.",
        )
    if found.partition("@")[0].translate(_IGNORED).rstrip("0123456789") in _SHARED:
        raise invalid_parameter("login", "An account belongs to one person, not to a role or team.")
    return found


def skeleton(login: str) -> str:
    """Return what a login looks like: two that look alike have the same."""
    looks = login.translate(_IGNORED).replace("rn", "m").replace("vv", "w").replace("cl", "d")
    return looks.translate(_LOOKS) or login


def new_name(name: str) -> str:
    """Return a person's name in NFC.

    Raises:
        StrongroomError: `invalid_parameter` when it hides something.
    """
    found = unicodedata.normalize("NFC", name)
    hidden = any(unicodedata.category(char)[0] in "CZ" and char != " " for char in found)
    if not 1 <= len(found) <= _NAME_MAX or found != found.strip() or hidden:
        raise invalid_parameter("name", f"A name has 1 to {_NAME_MAX} printable characters.")
    if any(_mixed(word) for word in found.split(" ")):
        raise invalid_parameter("name", "A word of the name mixes letters of two scripts.")
    return found


def _mixed(word: str) -> bool:
    used = {unicodedata.name(char, "").split(" ")[0] for char in word if char.isalpha()}
    return len(used & set(_SCRIPTS)) > 1
