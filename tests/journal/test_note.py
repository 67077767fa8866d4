"""Signed notes and checkpoints: the vectors of other implementations, and what must be refused."""

from __future__ import annotations

import base64

import pytest

from strongroom.journal import note
from strongroom.journal.note import (
    checkpoint_text,
    open_checkpoint,
    open_note,
    parse_key,
    sign_checkpoint,
    sign_note,
)
from strongroom.kernel.errors import StrongroomError
from tests.journal.support import TestSigner

# Vectors of golang.org/x/mod/sumdb/note (note_test.go) and of C2SP tlog-checkpoint.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33W"
    "Wd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{PETER_LINE}"
SIGNER = TestSigner()
KEY = parse_key(SIGNER.text)


def test_key_is_read_and_written_as_others_do() -> None:
    key = parse_key(PETER)
    assert (key.name, key.key_id.hex(), key.text()) == ("PeterNeumann", "c74f20a3", PETER)


def test_no_mangled_key_is_read() -> None:
    for at in range(len(PETER)):
        for broken in (PETER[:at], PETER[at + 1 :], _next_char(PETER, at)):
            with pytest.raises(StrongroomError) as refusal:
                parse_key(broken)
            assert refusal.value.code == "journal_note_invalid"


def test_signing_gives_the_published_note() -> None:
    assert sign_note(TEXT, TestSigner("PeterNeumann", PETER_SEED)) == NOTE


def test_note_opens_with_any_known_key_and_ignores_unknown_ones() -> None:
    both = NOTE + ENOCH_LINE
    for keys in ([PETER], [ENOCH], [PETER, ENOCH]):
        assert open_note(both, map(parse_key, keys)) == TEXT


@pytest.mark.parametrize(
    "broken",
    [
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        "\x01" + NOTE,
        NOTE.replace("answer", "cause"),
        NOTE + "Unexpected line.\n",
        NOTE.replace("PeterNeumann", "Bad Name"),
        NOTE.replace("PeterNeumann", "CarmenSandiego"),
        NOTE.replace("x08g", "xxxx"),
        NOTE.replace("9UG", "9UH"),
        NOTE.replace("— ", "- "),
        TEXT + "\n— PeterNeumann x08gow==\n",
        NOTE.replace("AM=\n", "AM\n"),
        TEXT + "\n" + PETER_LINE * 17,
        "x" * 70_000 + NOTE,
        "",
    ],
)
def test_broken_notes_are_refused(broken: str) -> None:
    with pytest.raises(StrongroomError) as refusal:
        open_note(broken, [parse_key(PETER)])
    assert refusal.value.code == "journal_note_invalid"


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    with pytest.raises(StrongroomError, match="does not fit"):
        open_note(NOTE + ENOCH_LINE.replace("OXm2", "OXm3"), map(parse_key, [PETER, ENOCH]))


def test_empty_lines_in_the_text_belong_to_the_text() -> None:
    text = "one\n\ntwo\n"
    assert open_note(sign_note(text, SIGNER), [KEY]) == text


@pytest.mark.parametrize("text", ["no newline", "tab\there\n"])
def test_texts_that_are_no_note_texts_are_not_signed(text: str) -> None:
    with pytest.raises(StrongroomError):
        sign_note(text, SIGNER)


def test_checkpoint_is_origin_size_and_root() -> None:
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    text = checkpoint_text("example.com/behind-the-sofa", 20852163, root)
    assert text == (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    assert note.parse_checkpoint(text) == ("example.com/behind-the-sofa", 20852163, root)


def test_checkpoint_opens_with_the_key_of_its_origin_only() -> None:
    signed = sign_checkpoint(7, b"\x01" * 32, SIGNER)
    assert open_checkpoint(signed.note, [KEY]) == signed
    elsewhere = sign_note(checkpoint_text("elsewhere.example", 7, b"\x01" * 32), SIGNER)
    with pytest.raises(StrongroomError, match="another journal"):
        open_checkpoint(elsewhere, [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "origin\n07\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n٣\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n7\nCsUY\n",
        "origin\n7\n",
        "origin\n\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(StrongroomError):
        note.parse_checkpoint(text)


def _next_char(text: str, at: int) -> str:
    return text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]
