"""The published state table, walked: every move, every non-move, and the table in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.payments.model import Status
from strongroom.payments.states import FINAL, TRANSITIONS, Event, move, table_markdown


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("event", Event)
def test_only_the_table_moves_a_payment(status: Status, event: Event) -> None:
    expected = TRANSITIONS.get((status, event))
    if expected is not None:
        assert move(status, event) is expected
        return
    with pytest.raises(StrongroomError) as caught:
        move(status, event)
    assert caught.value.code == "impossible_transition"


def test_final_states_are_left_by_nothing() -> None:
    assert {status for status, _ in TRANSITIONS}.isdisjoint(FINAL)
    assert {status for status, _ in TRANSITIONS} | FINAL == set(Status)


def test_every_state_is_reached_and_ends() -> None:
    reached, frontier = {Status.PROCESSING}, [Status.PROCESSING]
    while frontier:
        here = frontier.pop()
        for (status, _), following in TRANSITIONS.items():
            if status is here and following not in reached:
                reached.add(following)
                frontier.append(following)
    assert reached == set(Status)


def test_the_documentation_shows_this_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "payments.md"
    assert table_markdown() in page.read_text(encoding="utf-8")
