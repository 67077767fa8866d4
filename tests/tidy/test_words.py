"""Words that must not stand in the repository: postponements, machines, people, other spellings."""

from __future__ import annotations

import re

from tests.tidy.tree import report, texts

# Written with a class around one letter, so that this file does not find itself.
_POSTPONED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
_MACHINE = re.compile(
    r"/wor[k]/|/roo[t]/|/hom[e]/\w|/User[s]/\w|pytho[n]hosted|pyp[i]\.org|npmj[s]\.|deb\.debia[n]"
    r"|proxy\.golan[g]|crate[s]\.io"
)
_EMAIL = re.compile(r"(?<![\\/\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")
_EXAMPLE_EMAIL = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|org|net))?|invalid|test)$")
_BRITISH = re.compile(
    r"\b\w*(?:authoris|tokenis|serialis|normalis|organis|recognis|initialis|optimis|minimis"
    r"|summaris|finalis|canonicalis|randomis|sanitis|utilis|customis|categoris|colour|behaviour"
    r"|honour|favour|licence|cancelled(?!error|\()|cancelling|labelled|modelled|artefact|centre\b|fulfil\b)\w*",
    re.IGNORECASE,
)
_THEIR_SPELLING = {
    "src/strongroom/gateways/": "names that a gateway gave its own fields and codes",
}
_MOCKS = re.compile(r"unittest[.]mock|\bMagicMoc[k]\b|from unittest import moc[k]|\bmocker[.]")


def postponed(text: str) -> list[str]:
    return _lines(_POSTPONED, text)


def machines(text: str) -> list[str]:
    return _lines(_MACHINE, text)


def people(text: str) -> list[str]:
    return [mail for mail in _EMAIL.findall(text) if not _EXAMPLE_EMAIL.search(mail)]


def british(text: str) -> list[str]:
    return _lines(_BRITISH, text)


def _lines(pattern: re.Pattern[str], text: str) -> list[str]:
    return [
        f"{number}: {match.group(0)}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def test_nothing_is_postponed_in_the_code() -> None:
    found = [f"{name}:{line}" for name, text in texts().items() for line in postponed(text)]
    assert not found, report(found)


def test_no_machine_is_named() -> None:
    found = [f"{name}:{line}" for name, text in texts().items() for line in machines(text)]
    assert not found, report(found)


def test_nobody_is_invented() -> None:
    """Mail addresses belong to example domains (RFC 2606), or they reach a stranger."""
    found = [f"{name}: {mail}" for name, text in texts().items() for mail in people(text)]
    assert not found, report(found)


def test_spelling_is_american() -> None:
    found = [
        f"{name}:{line}"
        for name, text in texts().items()
        if name.startswith(("src/", "docs/", "README", "CHANGELOG", "CONTRIBUTING", "SECURITY"))
        and not name.startswith(tuple(_THEIR_SPELLING))
        for line in british(text)
    ]
    assert not found, report(found)


def test_our_own_rooms_are_never_mocked() -> None:
    found = [
        f"{name}:{line}"
        for name, text in texts().items()
        if name.startswith("tests/") and name != "tests/tidy/test_words.py"
        for line in _lines(_MOCKS, text)
    ]
    assert not found, report(found)


def test_texts_are_plain() -> None:
    """UTF-8 without tabs, trailing blanks or a missing last newline."""
    found = []
    for name, text in texts().items():
        if name.endswith((".py", ".md", ".toml", ".sql", ".in")) and text:
            found += [f"{name}: tab"] if "\t" in text else []
            found += [f"{name}: no last newline"] if not text.endswith("\n") else []
            found += [f"{name}:{line}" for line in _lines(re.compile(r"[ \t]+$"), text)]
    assert not found, report(found)


def test_the_lints_see_what_they_forbid() -> None:
    assert postponed("x = 1  # TO" + "DO later")
    assert machines("see /wor" + "k/main")
    assert people("jane@corp" + "oration.com") == ["jane@corp" + "oration.com"]
    assert not people("jane@example.com joe@shop.example ann@mail.invalid")
    assert british("def tokenise(): ...") and british("the payment was cancelled")
    assert not british("tokenize, canceled, color; asyncio.CancelledError, task.cancelled()")
