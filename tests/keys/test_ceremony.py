"""A root of shares: who can open it, what is refused on the way, and what the transcript proves."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from strongroom.kernel.canonical import dumps
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_uuid7
from strongroom.keys.ceremony import (
    Answer,
    RootFile,
    Session,
    ShareFile,
    Transcript,
    answer_to,
    fingerprint,
    head_of,
    new_root,
    new_set,
    parse_root,
    prove_share,
    share_out,
    verify,
)
from strongroom.keys.ceremony.model import share_info
from tests.keys.custodians import Person, person
from tests.keys.house import MovableClock

NAMES = ("alice", "bob", "carol", "dave", "eve")
AT = datetime(2026, 11, 1, tzinfo=UTC)


class Vaulted:
    """Five custodians, a root of which any three open it, and a clock."""

    def __init__(self) -> None:
        self.clock = MovableClock()
        self.people = [person(name) for name in NAMES]
        cards = [one.card for one in self.people]
        self.key, self.file, self.shares = new_root(
            cards, threshold=3, mode="test", installation=new_uuid7(), at=AT
        )

    def session(self, file: RootFile | None = None) -> Session:
        return Session(file or self.file, purpose="unseal", clock=self.clock)

    def answer(self, session: Session, index: int) -> Answer:
        who, share = self.people[index], self.shares[index]
        return answer_to(session.card(), share, who.key, at=self.clock.now())


@pytest.fixture
def vaulted() -> Vaulted:
    return Vaulted()


def refused(session: Session, answer: Answer) -> str:
    with pytest.raises(StrongroomError) as caught:
        session.accept(answer)
    return caught.value.code


def changed(answer: Answer, **to: object) -> Answer:
    return msgspec.structs.replace(answer, **to)


@pytest.mark.parametrize("chosen", [(0, 1, 2), (4, 2, 0), (1, 3, 4)])
def test_three_of_five_open_the_root(vaulted: Vaulted, chosen: tuple[int, ...]) -> None:
    session = vaulted.session()
    for done, index in enumerate(chosen, 1):
        assert session.root_key is None
        assert session.accept(vaulted.answer(session, index)).name == NAMES[index]
        if done < 3:
            assert len(session.card().given) == done
    assert session.root_key is not None and session.root_key.matches(vaulted.key)


def test_two_shares_give_nothing(vaulted: Vaulted) -> None:
    session = vaulted.session()
    for index in (0, 1):
        session.accept(vaulted.answer(session, index))
    assert session.root_key is None


def test_bad_answers_are_refused_one_by_one_and_do_no_harm(vaulted: Vaulted) -> None:
    session = vaulted.session()
    first = vaulted.answer(session, 0)
    session.accept(first)
    assert refused(session, first) == "share_repeated"
    assert refused(session, vaulted.answer(session, 0)) == "share_repeated"
    good = vaulted.answer(session, 1)
    assert refused(session, changed(good, index=3)) == "share_foreign"
    assert refused(session, changed(good, index=99)) == "share_foreign"
    assert refused(session, changed(good, custodian=first.custodian)) == "share_foreign"
    assert refused(session, changed(good, signature=first.signature)) == "signature_invalid"
    assert refused(session, changed(good, sealed=first.sealed)) == "signature_invalid"
    assert refused(session, changed(good, format="x")) == "unseal_other_session"
    assert refused(session, changed(good, sealed="?")) == "signature_invalid"
    session.accept(good)
    session.accept(vaulted.answer(session, 2))
    assert session.root_key is not None


def test_a_replayed_answer_is_of_no_use_to_another_session(vaulted: Vaulted) -> None:
    first, second = vaulted.session(), vaulted.session()
    answer = vaulted.answer(first, 0)
    assert refused(second, answer) == "unseal_other_session"
    forged = changed(answer, session=second.card().session)
    assert refused(second, forged) == "signature_invalid"


def test_a_custodian_cannot_give_a_wrong_share(vaulted: Vaulted) -> None:
    """He signs what he likes with his own key: the commitment still tells that it is wrong."""
    session = vaulted.session()
    alice, share = vaulted.people[0], vaulted.shares[0]
    from strongroom.kernel.secret import Secret
    from strongroom.keys.dual_control.custodian_file import seal_to

    wrong = seal_to(
        base64.b64decode(alice.card.exchange_key), Secret(b"\x01" * 32), info=share_info(share)
    )
    forged = msgspec.structs.replace(share, sealed=base64.b64encode(wrong).decode())
    answer = answer_to(session.card(), forged, alice.key, at=vaulted.clock.now())
    assert refused(session, answer) == "share_corrupted"


def test_a_share_opens_for_its_custodian_only(vaulted: Vaulted) -> None:
    session = vaulted.session()

    def try_with(share: ShareFile, who: Person) -> str:
        with pytest.raises(StrongroomError) as caught:
            answer_to(session.card(), share, who.key, at=vaulted.clock.now())
        return caught.value.code

    alice, bob = vaulted.people[:2]
    mine = vaulted.shares[0]
    assert try_with(mine, bob) == "share_foreign"
    stolen = msgspec.structs.replace(mine, custodian=bob.card.custodian)
    assert try_with(stolen, bob) == "share_foreign"
    for change in ({"index": 2}, {"set_id": "0" * 32}, {"threshold": 2}, {"sealed": "AAAA"}):
        assert try_with(msgspec.structs.replace(mine, **change), alice) == "share_foreign", change
    other = Vaulted()
    assert try_with(other.shares[0], other.people[0]) == "share_foreign"


def test_a_session_has_its_time(vaulted: Vaulted) -> None:
    session = vaulted.session()
    session.accept(vaulted.answer(session, 0))
    late = vaulted.answer(session, 1)
    vaulted.clock.move(3_600)
    assert session.expired
    assert refused(session, late) == "unseal_expired"
    assert session.card().given == ()
    with pytest.raises(StrongroomError, match="unseal_expired"):
        vaulted.answer(session, 1)


def test_resharing_makes_the_old_set_useless_for_the_new_file(vaulted: Vaulted) -> None:
    people = [*vaulted.people[:2], person("frank"), person("grace")]
    about = {k: getattr(vaulted.file, k) for k in ("root", "mode", "installation")}
    file, shares = share_out(vaulted.key, about, [p.card for p in people], threshold=2, at=AT)
    session = Session(file, purpose="reshare", clock=vaulted.clock)
    with pytest.raises(StrongroomError, match="share_foreign"):
        answer_to(session.card(), vaulted.shares[0], vaulted.people[0].key, at=AT)
    for index in (2, 0):
        at = vaulted.clock.now()
        session.accept(answer_to(session.card(), shares[index], people[index].key, at=at))
    assert session.root_key is not None and session.root_key.matches(vaulted.key)


def test_the_file_is_bound_as_a_whole(vaulted: Vaulted) -> None:
    text = json.loads(msgspec.json.encode(vaulted.file))
    for name, value in (
        ("installation", str(new_uuid7())),
        ("created_at", "2020-01-01T00:00:00.000Z"),
        ("holders", [{**held, "name": "x"} for held in text["holders"]]),
        ("wrapped", base64.b64encode(b"\0" * 60).decode()),
    ):
        file = parse_root(json.dumps({**text, name: value}).encode(), "f")
        session = vaulted.session(file)
        shares = [
            msgspec.structs.replace(s, installation=file.installation) for s in vaulted.shares
        ]
        with pytest.raises(StrongroomError) as caught:
            give_all(vaulted, session, shares)
        assert caught.value.code in ("root_not_opened", "share_foreign"), name
        assert session.root_key is None


def give_all(vaulted: Vaulted, session: Session, shares: list[ShareFile]) -> None:
    for share, who in list(zip(shares, vaulted.people, strict=True))[:3]:
        session.accept(answer_to(session.card(), share, who.key, at=vaulted.clock.now()))


def test_files_that_do_not_hold_together_are_refused(vaulted: Vaulted) -> None:
    text = json.loads(msgspec.json.encode(vaulted.file))
    for change in (
        {"shares": {**text["shares"], "threshold": 1}},
        {"shares": {**text["shares"], "total": 4}},
        {"holders": text["holders"][:4]},
        {"format": "strongroom-root/1"},
        {"mode": "live"},
        {"extra": 1},
    ):
        with pytest.raises(StrongroomError, match="root_file_damaged"):
            parse_root(json.dumps({**text, **change}).encode(), "f")


def test_shares_are_standard_hpke(vaulted: Vaulted) -> None:
    """Another implementation opens a share with the custodian's key, and only with its `info`."""
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    share = vaulted.shares[0]
    sealed = base64.b64decode(share.sealed)
    private = KEMKey.from_pyca_cryptography_key(vaulted.people[0].key._exchange)
    context = suite.create_recipient_context(sealed[:32], private, info=share_info(share))
    ours = vaulted.people[0].key.open(sealed, info=share_info(share))
    assert ours is not None and context.open(sealed[32:]) == ours.reveal()


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (2, 1)])
def test_sets_that_split_nothing_are_refused(threshold: int, count: int) -> None:
    cards = [person(f"c{n}").card for n in range(count)]
    with pytest.raises(StrongroomError, match="shares_invalid"):
        new_root(cards, threshold=threshold, mode="test", installation=new_uuid7(), at=AT)


def test_one_custodian_holds_one_share() -> None:
    alice, bob = person("alice").card, person("bob").card
    for cards in ([alice, bob, alice], [alice, bob, person("alice").card]):
        with pytest.raises(StrongroomError, match="shares_invalid"):
            new_root(cards, threshold=2, mode="test", installation=new_uuid7(), at=AT)


def test_a_dry_run_proves_a_share_without_combining(vaulted: Vaulted) -> None:
    assert prove_share(vaulted.file, vaulted.shares[1], vaulted.people[1].key).name == "bob"
    for share, who in ((vaulted.shares[0], 1), (Vaulted().shares[0], 0)):
        with pytest.raises(StrongroomError, match="share_foreign"):
            prove_share(vaulted.file, share, vaulted.people[who].key)


def test_fingerprints_differ_by_session(vaulted: Vaulted) -> None:
    first, second = vaulted.session().card(), vaulted.session().card()
    assert fingerprint(first) != fingerprint(second)
    swapped = msgspec.structs.replace(first, key=second.key)
    assert fingerprint(swapped) != fingerprint(first)


def test_custodians_see_and_sign_whose_the_new_shares_will_be(vaulted: Vaulted) -> None:
    """Else who leads a re-sharing keeps all shares of it, and nobody could have known."""
    mallory, other = (person(name).card for name in ("mallory", "mallory2"))
    after = new_set([mallory, other], 2)
    session = Session(vaulted.file, purpose="reshare", clock=vaulted.clock, after=after)
    card = session.card()
    for one in (mallory, other):
        assert f"{one.name} {one.custodian} {one.signing_key[:16]}" in card.after
    shown = msgspec.structs.replace(card, after=new_set([p.card for p in vaulted.people], 3))
    assert fingerprint(shown) != fingerprint(card)
    deceived = answer_to(shown, vaulted.shares[0], vaulted.people[0].key, at=vaulted.clock.now())
    assert refused(session, deceived) == "signature_invalid"
    session.accept(vaulted.answer(session, 0))


def written(path: Path, vaulted: Vaulted) -> None:
    log = Transcript(path, "init", clock=vaulted.clock)
    log.add("begin", {"root": vaulted.file.root})
    for one in vaulted.people:
        log.add_card(one.card)
    statement = dumps({"statement": "x"})
    alice = vaulted.people[0]
    log.add_statement("share", alice.card.custodian, statement, alice.key.sign(statement))
    log.add("end", {"outcome": "done"})


def test_a_transcript_is_verified_offline(vaulted: Vaulted, tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    written(path, vaulted)
    written(path, vaulted)
    report = verify(path, head=head_of(path))
    assert report.ok, report.problems
    assert report.lines == 16 and report.statements == 12 and len(report.ceremonies) == 2
    text = path.read_text()
    for one in vaulted.shares:
        assert one.sealed not in text


def test_changed_moved_and_cut_transcripts_are_noticed(vaulted: Vaulted, tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    written(path, vaulted)
    head = head_of(path)
    lines = path.read_bytes().splitlines(keepends=True)
    bob = vaulted.people[1].card.custodian.encode()
    alice = vaulted.people[0].card.custodian.encode()
    forgeries = {
        "word": [line.replace(b'"done"', b'"none"') for line in lines],
        "moved": [lines[0], lines[2], lines[1], *lines[3:]],
        "dropped": [*lines[:3], *lines[4:]],
        "person": [*lines[:6], lines[6].replace(alice, bob), *lines[7:]],
        "cut": lines[:-1],
        "junk": [*lines, b"junk\n"],
        "spaces": [lines[0].replace(b",", b", "), *lines[1:]],
        "empty": [],
    }
    for name, forged in forgeries.items():
        path.write_bytes(b"".join(forged))
        assert not verify(path, head=head).ok, name
