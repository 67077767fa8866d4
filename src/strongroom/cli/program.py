"""The `strongroom` program: its commands, and how any failure ends as one line and a code.

Exit codes: 0 done, 1 a check failed or the operation was refused, 2 wrong usage, 3 something
needed was not reachable. No traceback is ever shown: it could carry what must not be seen.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from strongroom.cli.access import register as _access
from strongroom.cli.access_approvals import register as _access_approvals
from strongroom.cli.access_reviews import register as _access_reviews
from strongroom.cli.admin import register as _admin
from strongroom.cli.api_keys import register as _api_keys
from strongroom.cli.approvals import register as _approvals
from strongroom.cli.break_glass import register as _break_glass
from strongroom.cli.ceremony import register as _ceremony
from strongroom.cli.certificates import register as _certificates
from strongroom.cli.command import FAILED, OK, PLAIN, UNAVAILABLE, USAGE
from strongroom.cli.custodians import register as _custodians
from strongroom.cli.demo import register as _demo
from strongroom.cli.doctor import register as _doctor
from strongroom.cli.findings import register as _findings
from strongroom.cli.first_payment import register as _first_payment
from strongroom.cli.journal import register as _journal
from strongroom.cli.oauth_clients import register as _oauth_clients
from strongroom.cli.operators import register as _operators
from strongroom.cli.roots import register as _roots
from strongroom.cli.running import register as _running
from strongroom.cli.scan import register as _scan
from strongroom.cli.signing_keys import register as _signing_keys
from strongroom.cli.subjects import register as _subjects
from strongroom.cli.vault import register as _vault
from strongroom.cli.workload import register as _workload
from strongroom.kernel.errors import StrongroomError

_UNAVAILABLE = {
    "database_in_use",
    "database_programs_missing",
    "database_start_failed",
    "gateway_unavailable",
    "overloaded",
    "root_unavailable",
    "service_unreachable",
    "start_failed",
    "storage_unavailable",
    "vault_unavailable",
}
"""Codes that mean: something this command needs is not there now."""

app = typer.Typer(
    name="strongroom",
    help="A self-hosted payment service that tokenizes cards, takes payments and proves it.",
    **PLAIN,
)
for _register in (
    _running,
    _first_payment,
    _demo,
    _doctor,
    _admin,
    _api_keys,
    _oauth_clients,
    _operators,
    _signing_keys,
    _access,
    _certificates,
    _journal,
    _custodians,
    _approvals,
    _access_approvals,
    _access_reviews,
    _break_glass,
    _ceremony,
    _roots,
    _scan,
    _findings,
    _subjects,
    _vault,
    _workload,
):
    _register(app)


def main(arguments: Sequence[str] | None = None, *, root: typer.Typer = app) -> int:
    """Run one command of `root` and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(root, given or ["--help"])
    except typer.TyperException as error:
        return _usage(error)
    except StrongroomError as error:
        return _refused(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror or type(error).__name__}", code=FAILED)
    except Exception as error:  # noqa: BLE001 (the last line of defense; a traceback may tell secrets)
        return _say(
            f"This is a bug: {type(error).__name__} in {_place(error)}. Please report it.",
            code=FAILED,
        )


def _run(root: typer.Typer, arguments: list[str]) -> int:
    code = typer.main.get_command(root).main(
        arguments, prog_name="strongroom", standalone_mode=False
    )
    return code if isinstance(code, int) else OK


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    told = getattr(error, "format_message", lambda: str(error))()
    path = context.command_path if context is not None else "strongroom"
    return _say(f"{told.strip()} See: {path} --help", code=USAGE)


def _refused(error: StrongroomError) -> int:
    public = error.public if error.param is None else f"{error.param}: {error.public}"
    lines = [line.strip() for line in f"{public} ({error.code})".splitlines()]
    if error.code in ("storage_unavailable", "root_unavailable") and error.detail:
        lines.append(f"[{error.detail}]")
    return _say(
        " ".join(lines),
        code=UNAVAILABLE if error.retryable or error.code in _UNAVAILABLE else FAILED,
    )


def _say(text: str, *, code: int) -> int:
    sys.stderr.write(f"strongroom: {' '.join(text.split())}\n")
    return code


def _place(error: BaseException) -> str:
    """Return module and line of the innermost frame of ours; no values."""
    place, trace = "unknown", error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("strongroom"):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
