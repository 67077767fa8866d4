"""Decisions under any order of commands and answers: the limits of money always hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from strongroom.gateways import Decline, Outcome, Result
from strongroom.kernel.ids import new_id
from strongroom.kernel.money import Money
from strongroom.kernel.secret import Pan
from strongroom.ledger import Movement
from strongroom.payments import decide
from strongroom.payments.errors import Refusal
from strongroom.payments.model import (
    CaptureMethod,
    CardDisplay,
    CreatePayment,
    Kind,
    Operation,
    Progress,
    Status,
)
from strongroom.payments.states import FINAL
from strongroom.vault import CardInput

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
CARD = CardDisplay("tok_x", "visa", "424242", "4242", 12, 2031, "fp_x")
SOURCE = CardInput(number=Pan("4242424242424242"), exp_month=12, exp_year=2031)
DECLINE = Decline("insufficient_funds", "Not enough money.", "later", "51")

AUTHORIZE_RESULTS = (
    Result.APPROVED,
    Result.HELD,
    Result.ACTION_REQUIRED,
    Result.DECLINED,
    Result.BLOCKED,
    Result.NOT_FOUND,
    Result.UNKNOWN,
    Result.PENDING,
    Result.SUCCEEDED,
)
OTHER_RESULTS = (Result.SUCCEEDED, Result.REJECTED, Result.UNKNOWN, Result.PENDING)


def outcome(result: Result) -> Outcome:
    declined = result in (Result.DECLINED, Result.BLOCKED, Result.REJECTED)
    return Outcome(
        result=result,
        gateway_reference="ch_1",
        decline=DECLINE if declined else None,
        redirect_url="https://issuer.example/3ds" if result is Result.ACTION_REQUIRED else None,
        raw_code=result.value,
    )


class PaymentMachine(RuleBasedStateMachine):
    """Commands and gateway answers in any order, several operations in flight at once."""

    pending: list[Operation]

    @initialize(
        amount=st.integers(1, 10_000), method=st.sampled_from(CaptureMethod), multi=st.booleans()
    )
    def create(self, amount: int, method: CaptureMethod, multi: bool = True) -> None:
        self.multi_capture = multi
        command = CreatePayment(amount=Money(amount, "EUR"), capture_method=method, source=SOURCE)
        step = decide.decide_create(
            command,
            merchant=new_id("mer"),
            card=CARD,
            ids=(new_id("pay"), new_id("op")),
            gateway="sandbox",
            claim=None,
            now=NOW,
            patience=PATIENCE,
        )
        assert not isinstance(step, Refusal)
        self.payment = step.payment
        self.pending = [step.operation]
        self.moved = 0
        self.captured = 0
        self.refunded = 0

    def _open(self, step: decide.Step | Refusal) -> None:
        if not isinstance(step, Refusal):
            self.payment = step.payment
            self.pending.append(step.operation)

    @rule(amount=st.none() | st.integers(-5, 12_000))
    def capture(self, amount: int | None) -> None:
        self._open(
            decide.decide_capture(
                self.payment,
                amount_minor=amount,
                operation=new_id("op"),
                claim=None,
                now=NOW,
                patience=PATIENCE,
                multi_capture=self.multi_capture,
            )
        )

    @rule(amount=st.none() | st.integers(-5, 12_000))
    def refund(self, amount: int | None) -> None:
        self._open(
            decide.decide_refund(
                self.payment,
                amount_minor=amount,
                reason=None,
                operation=new_id("op"),
                claim=None,
                now=NOW,
                patience=PATIENCE,
            )
        )

    @rule()
    def void(self) -> None:
        self._open(
            decide.decide_void(
                self.payment, operation=new_id("op"), claim=None, now=NOW, patience=PATIENCE
            )
        )

    @rule()
    def approve(self) -> None:
        approved = decide.decide_approve(self.payment, now=NOW)
        if not isinstance(approved, Refusal):
            self.payment = approved

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.pending:
            return
        operation = data.draw(st.sampled_from(self.pending))
        results = AUTHORIZE_RESULTS if operation.kind is Kind.AUTHORIZE else OTHER_RESULTS
        before = self.payment
        step = decide.decide_outcome(
            before, operation, outcome(data.draw(st.sampled_from(results))), now=NOW
        )
        self.payment = step.payment
        self.pending.remove(operation)
        if step.operation.status is Progress.PENDING:
            self.pending.append(step.operation)
        self._book(step.movements, operation)

    def _book(self, movements: tuple[Movement, ...], operation: Operation) -> None:
        for movement in movements:
            assert movement.amount_minor > 0
            assert movement.debit is not movement.credit
            if operation.kind is Kind.REFUND:
                self.refunded += movement.amount_minor
            else:
                self.captured += movement.amount_minor

    @invariant()
    def money_limits_hold(self) -> None:
        if not hasattr(self, "payment"):
            return
        p = self.payment
        assert 0 <= p.authorized_minor <= p.amount_minor
        assert p.captured_minor >= 0
        assert p.capturing_minor >= 0
        assert p.captured_minor + p.capturing_minor <= p.authorized_minor
        assert p.refunded_minor >= 0
        assert p.refunding_minor >= 0
        assert p.refunded_minor + p.refunding_minor <= p.captured_minor

    @invariant()
    def postings_are_what_the_payment_says(self) -> None:
        if hasattr(self, "payment"):
            assert self.captured == self.payment.captured_minor
            assert self.refunded == self.payment.refunded_minor

    @invariant()
    def reservations_belong_to_operations_in_flight(self) -> None:
        if not hasattr(self, "payment"):
            return
        refunding = sum(o.amount_minor for o in self.pending if o.kind is Kind.REFUND)
        assert self.payment.refunding_minor == refunding
        if self.payment.status in FINAL - {Status.CAPTURED}:
            assert self.payment.capturing_minor == 0


PaymentMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_any_order_of_commands_and_answers = PaymentMachine.TestCase


def test_an_approval_after_cancellation_moves_no_money() -> None:
    machine = PaymentMachine()
    machine.create(amount=100, method=CaptureMethod.AUTOMATIC)
    canceled = replace(machine.payment, status=Status.CANCELED)
    step = decide.decide_outcome(canceled, machine.pending[0], outcome(Result.APPROVED), now=NOW)
    assert step.payment is canceled
    assert step.movements == ()
    assert step.operation.status is Progress.FAILED


def test_a_void_before_authorization_waits_for_captures_in_flight() -> None:
    machine = PaymentMachine()
    machine.create(amount=100, method=CaptureMethod.MANUAL)
    authorization = machine.pending[0]
    challenged = decide.decide_outcome(
        machine.payment, authorization, outcome(Result.ACTION_REQUIRED), now=NOW
    ).payment
    void = decide.decide_void(
        challenged, operation=new_id("op"), claim=None, now=NOW, patience=PATIENCE
    )
    assert isinstance(void, decide.Step)
    authorized = decide.decide_outcome(
        void.payment, authorization, outcome(Result.APPROVED), now=NOW
    ).payment
    capturing = decide.decide_capture(
        authorized,
        amount_minor=40,
        operation=new_id("op"),
        claim=None,
        now=NOW,
        patience=PATIENCE,
    )
    assert isinstance(capturing, decide.Step)
    step = decide.decide_outcome(
        capturing.payment, void.operation, outcome(Result.SUCCEEDED), now=NOW
    )
    assert not step.done
    assert step.payment is capturing.payment
    voided = decide.decide_outcome(
        authorized, void.operation, outcome(Result.SUCCEEDED), now=NOW
    ).payment
    assert (voided.status, voided.authorized_minor) == (Status.CANCELED, 0)


def test_one_capture_only_releases_the_rest() -> None:
    machine = PaymentMachine()
    machine.create(amount=100, method=CaptureMethod.MANUAL)
    authorized = decide.decide_outcome(
        machine.payment, machine.pending[0], outcome(Result.APPROVED), now=NOW
    ).payment
    given = {"claim": None, "now": NOW, "patience": PATIENCE, "multi_capture": False}
    step = decide.decide_capture(authorized, amount_minor=30, operation=new_id("op"), **given)
    assert isinstance(step, decide.Step)
    second = decide.decide_capture(step.payment, amount_minor=5, operation=new_id("op"), **given)
    assert isinstance(second, Refusal)
    done = decide.decide_outcome(
        step.payment, step.operation, outcome(Result.SUCCEEDED), now=NOW
    ).payment
    assert (done.status, done.captured_minor, done.authorized_minor) == (Status.CAPTURED, 30, 30)
    refused = decide.decide_outcome(
        step.payment, step.operation, outcome(Result.REJECTED), now=NOW
    ).payment
    assert (refused.status, refused.capturable_minor) == (Status.AUTHORIZED, 100)
