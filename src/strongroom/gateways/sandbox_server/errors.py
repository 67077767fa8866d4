"""Requests that the sandbox gateway refuses. A refusal changes nothing and is kept nowhere."""

from __future__ import annotations


class Refused(Exception):
    """Answered with `status` and `{"error": {"code", "message", "param"}}`."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.param = param


def invalid(message: str, *, param: str | None = None) -> Refused:
    """Return the refusal of a request that is malformed."""
    return Refused(400, "invalid_request", message, param=param)


def not_found(what: str) -> Refused:
    """Return the refusal for a `what` that is not known here."""
    return Refused(404, f"{what}_not_found", f"There is no such {what}.")
