"""The pages say what the code does: state table, routes, headers."""

from __future__ import annotations

import re

from strongroom.api import headers
from strongroom.api.routes import ENDPOINTS
from strongroom.payments import Status
from strongroom.payments.states import table_markdown
from tests.tidy.tree import ROOT

PAYMENTS = (ROOT / "docs" / "payments.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
_ROUTE = re.compile(r"`(GET|POST|DELETE) ([^\s`]+)`")


def test_the_state_table_is_the_one_in_the_code() -> None:
    start = PAYMENTS.index("-->\n", PAYMENTS.index("<!-- states:")) + 4
    shown = PAYMENTS[start : PAYMENTS.index("<!-- end of states")].strip()
    assert shown == table_markdown().strip()


def test_every_status_is_explained() -> None:
    assert set(re.findall(r"^\| `([a-z_]+)` \|", PAYMENTS, re.MULTILINE)) >= {
        status.value for status in Status
    }


def test_every_route_is_listed_with_its_action_and_key() -> None:
    lines = [line for line in API.splitlines() if line.startswith("| `")]
    told = {}
    for line in lines:
        for method, path in _ROUTE.findall(line):
            told[method, path] = (line.split(" | ")[1].strip("` "), " key |" in line)
    assert told == {(e.method, e.path): (e.action, e.keyed) for e in ENDPOINTS}


def test_the_version_is_the_current_one() -> None:
    assert f"Version {headers.VERSIONS[0]}." in API
