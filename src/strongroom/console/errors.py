"""The failures of the console itself, each with its stable code (docs/errors.md)."""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


def not_found() -> StrongroomError:
    """Return `not_found`: no such page."""
    return StrongroomError("not_found", "There is nothing here.")


def method_not_allowed() -> StrongroomError:
    """Return `method_not_allowed`."""
    return StrongroomError("method_not_allowed", "This method is not allowed here.")


def wrong_host() -> StrongroomError:
    """Return `console_wrong_host`: another name than the console's; DNS rebinding, for one."""
    return StrongroomError("console_wrong_host", "The console is not at this address.")


def cross_site() -> StrongroomError:
    """Return `console_cross_site`: another site sent this, or the form is of another session."""
    return StrongroomError(
        "console_cross_site", "This form was not sent from this session. Open the page again."
    )


def duplicate_cookie() -> StrongroomError:
    """Return `duplicate_header`: two cookies where only one can be meant."""
    return StrongroomError("duplicate_header", "A cookie may be sent once.", param="Cookie")


def form_invalid(public: str, param: str | None = None) -> StrongroomError:
    """Return `invalid_parameter`: a form that no page of ours sends."""
    return StrongroomError("invalid_parameter", public, param=param)


def form_too_large(limit: int) -> StrongroomError:
    """Return `body_too_large`."""
    return StrongroomError("body_too_large", f"The form may have {limit} bytes.")


def media_type() -> StrongroomError:
    """Return `unsupported_media_type`."""
    return StrongroomError("unsupported_media_type", "Send the form as a browser does.")


def overloaded() -> StrongroomError:
    """Return `overloaded`: as many pages as this process makes at once are under way."""
    return StrongroomError(
        "overloaded", "The console is busy. Try again shortly.", retryable=True, retry_after_s=1
    )


def timed_out() -> StrongroomError:
    """Return `request_timeout`."""
    return StrongroomError(
        "request_timeout", "The answer takes too long. Look whether it was done, then try again."
    )


def broken_page(page: str, why: str) -> StrongroomError:
    """Return `settings_invalid` for a page that cannot be served; the program must not start."""
    return StrongroomError("settings_invalid", f"{page}: {why}.")
