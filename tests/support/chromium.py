"""The system's Chromium, driven by Playwright, with a passkey device of its own for each page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

MISSING = "Chromium is not installed; run as root: scripts/system-packages"
_PATIENCE_MS = 15_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
).split()


def chromium_path() -> str:
    """Return where Chromium is; skips with the one line that mends it."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(MISSING)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at a browser of their own, with a passkey device; notes all that a page must not do.

    `faults` are what the browser reported: violations of the content security policy, errors of
    scripts, dialogs. `outside` are requests to any other origin than `origin` and `others`.
    """

    def __init__(self, browser: Browser, origin: str, *, others: tuple[str, ...] = ()) -> None:
        self.origin = origin
        self._known = (origin + "/", "data:", *others)
        self.faults: list[str] = []
        self.outside: list[str] = []
        self.context: BrowserContext = browser.new_context()
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error("
            "'violated ' + e.violatedDirective + ' ' + e.blockedURI))"
        )
        self._devtools = self.context.new_cdp_session(self.page)
        self._devtools.send("WebAuthn.enable")
        self.device = self._new_device()

    def change_device(self) -> None:
        """Put the passkey device away and take a new one, which holds nothing."""
        self._devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.device})
        self.device = self._new_device()

    def _new_device(self) -> str:
        answer = self._devtools.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )
        device: str = answer["authenticatorId"]
        return device

    def close(self) -> None:
        """Close the browser's profile."""
        self.context.close()

    def open(self, path: str) -> Page:
        """Go to a page of the console."""
        self.page.goto(self.origin + path)
        return self.page

    def passkeys(self) -> list[dict[str, Any]]:
        """Return what the passkey device holds."""
        answer = self._devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.device})
        found: list[dict[str, Any]] = answer["credentials"]
        return found

    @property
    def text(self) -> str:
        """What the page says."""
        return self.page.inner_text("body")

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        if not url.startswith(self._known):
            self.outside.append(url)
