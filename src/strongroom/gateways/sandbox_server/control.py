"""The control calls, for tests: ledger, reset, faults, webhook, advance."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec

from strongroom.gateways.sandbox_server.answers import Answers, Json, encode
from strongroom.gateways.sandbox_server.errors import Refused, invalid
from strongroom.gateways.sandbox_server.faults import ArmedFaults, Arming
from strongroom.gateways.sandbox_server.later import Later
from strongroom.gateways.sandbox_server.limits import LEDGER_LIMIT_MAX
from strongroom.gateways.sandbox_server.messages import Answer, Incoming
from strongroom.gateways.sandbox_server.model import ChargeRow, Row
from strongroom.gateways.sandbox_server.store import Store
from strongroom.gateways.sandbox_server.webhooks import Target, Webhooks

_LEDGER_LIMIT = 100
T = TypeVar("T")
_DONE = Answer(200, b'{"ok":true}')


class Control:
    """What only a test on the same machine may do."""

    def __init__(
        self,
        *,
        store: Store,
        answers: Answers,
        faults: ArmedFaults,
        webhooks: Webhooks,
        later: Later,
    ) -> None:
        self._store = store
        self._answers = answers
        self._faults = faults
        self._webhooks = webhooks
        self._later = later

    def handle(self, request: Incoming) -> Answer:
        """Answer one control call."""
        if not request.from_loopback:
            raise Refused(403, "forbidden", "Control calls are for loopback only.")
        match request.method, request.path:
            case "GET", "/control/ledger":
                return self._ledger(request.query)
            case "GET", "/control/events":
                return Answer(200, encode(self._webhooks.view()))
            case "POST", "/control/faults":
                self._faults.arm(read(request.body, Arming))
                return _DONE
            case "POST", "/control/webhook":
                self._webhooks.target = _checked(read(request.body, Target))
                return _DONE
            case "POST", "/control/advance":
                return Answer(200, encode({"ok": True, "steps": self._later.advance()}))
            case "POST", "/control/reset":
                return self._reset()
        raise Refused(404, "not_found", "There is no such control call.")

    def _reset(self) -> Answer:
        self._later.clear()
        self._faults.clear()
        self._store.reset()
        self._webhooks.recent.clear()
        return _DONE

    def _ledger(self, query: bytes) -> Answer:
        given = {name: values[-1] for name, values in parse_qs(query.decode("ascii")).items()}
        reference, limit = given.pop("reference", None), given.pop("limit", str(_LEDGER_LIMIT))
        if given or not (limit.isdigit() and len(limit) <= 5 and int(limit) <= LEDGER_LIMIT_MAX):
            raise invalid(f"Give reference and limit (at most {LEDGER_LIMIT_MAX}), nothing else.")
        rows = self._store.newest_first()
        if reference is not None:
            rows = iter(self._store.by_reference(reference))
        operations = [self._entry(number, row) for number, row in islice(rows, int(limit))]
        return Answer(200, encode({**self._store.totals.view(), "operations": operations}))

    def _entry(self, number: int, row: Row) -> Json:
        if isinstance(row, ChargeRow):
            charge, operation = row, self._answers.own_operation(number, row)
        else:
            found = self._store.get(row.charge)
            if not isinstance(found, ChargeRow):
                return {"id": self._store.id_of(number, "sop"), "reference": row.reference}
            charge, operation = found, self._answers.operation(number, row, found)
        return {
            **operation,
            "charge_status": charge.state.status.name.lower(),
            "card": {"brand": charge.brand, "last4": charge.last4},
        }


def read(body: bytes, shape: type[T]) -> T:
    """Read a JSON body strictly; the refusal names the field and never echoes its value."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$.")
        raise invalid(f"{message}.", param=at.rstrip("`") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise invalid("The body is not valid JSON.") from None


def _checked(target: Target) -> Target:
    if target.url is not None and target.secret is None:
        raise invalid("A webhook needs a secret.", param="secret")
    return target
