"""One declaration per page: method, path, action, fields, handler.

As with the routes of the API, a page whose action is not known does not start; neither does one
that changes something and takes no token, or reads something and takes a form.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from strongroom.access import PUBLIC, require_known
from strongroom.console import decide, errors
from strongroom.console.model import ConsoleSettings, Reply, Services
from strongroom.console.render import Renderer
from strongroom.identity import Principal
from strongroom.kernel.secret import Secret

ROOT = "/console"
TOKEN = "form_token"  # noqa: S105 - the name of a field, not a secret
LINE = 200
"""Characters of a one-line field: logins, names, reasons, names of passkeys."""

_SEGMENT = re.compile(r"[a-z][a-z-]{0,31}\Z", re.ASCII)
_ID = re.compile(r"[a-z]{2,5}_[0-7][0-9a-hjkmnp-tv-z]{25}\Z", re.ASCII)


class Visit:
    """One request, checked: who visits, in which browser, with which fields. No telling `repr`."""

    __slots__ = (
        "device", "fields", "id", "new_device", "page", "principal", "renderer", "request",
        "services", "session", "settings", "source",
    )  # fmt: skip

    def __init__(
        self, page: Page, services: Services, settings: ConsoleSettings, renderer: Renderer
    ) -> None:
        self.page = page
        self.services = services
        self.settings = settings
        self.renderer = renderer
        self.request = ""
        self.source = ""
        self.id = ""
        self.fields: Mapping[str, str] = {}
        self.session: Secret[str] | None = None
        self.device: Secret[str] = Secret("")
        self.new_device = False
        self.principal: Principal | None = None

    @property
    def token(self) -> Secret[str]:
        """The session's token; there is one on every page that is not public."""
        if self.session is None:
            raise errors.cross_site()
        return self.session

    @property
    def visitor(self) -> Principal:
        """The operator; there is one on every page that is not public."""
        if self.principal is None:
            raise errors.cross_site()
        return self.principal

    def get(self, name: str) -> str:
        """Return a field's text, empty when it was not sent."""
        return self.fields.get(name, "")

    def secret(self, name: str) -> Secret[str]:
        """Return a field that no page, log or error may show."""
        return Secret(self.fields.get(name, ""))

    def show(self, template: str, *, status: int = 200, **values: Any) -> Reply:
        """Return a page made from a template."""
        body = self.renderer.page(
            template,
            {
                "visitor": self.principal,
                "form_token": decide.form_token(self.device, self.session),
                "live": self.settings.live,
                **values,
            },
        )
        return Reply(status, body)


Handler = Callable[[Visit], Awaitable[Reply]]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page or what a form of one does.

    `fields` maps the names that a form (POST) or the query (GET) may have to the characters each
    may have. `lenient` pages are opened by others, who add parameters of their own. What
    `confirmed` pages do takes a proof of its own (`confirm.py`), so their action may be one that
    wants a fresh second factor.
    """

    method: str
    path: str
    action: str
    handler: Handler
    fields: Mapping[str, int] = {}
    lenient: bool = False
    confirmed: bool = False

    def __post_init__(self) -> None:
        require_known(self.action)
        if self.method not in ("GET", "POST"):
            raise errors.broken_page(self.path, "a page is read or sent a form")
        if TOKEN in self.fields or (self.lenient and self.method != "GET"):
            raise errors.broken_page(self.path, "its fields are not a page's")
        if self.path != ROOT and not self.path.startswith(ROOT + "/"):
            raise errors.broken_page(self.path, "it is not under /console")
        for segment in self.path[1:].split("/"):
            if segment != "{id}" and not _SEGMENT.match(segment):
                raise errors.broken_page(self.path, "a path is small words and at most one id")

    @property
    def public(self) -> bool:
        """Whether nobody has to be signed in."""
        return self.action == PUBLIC


class Router:
    """Exact paths, and paths with one id; nothing else is a page."""

    def __init__(self, pages: tuple[Page, ...]) -> None:
        self._pages: dict[str, dict[str, Page]] = {}
        for page in pages:
            methods = self._pages.setdefault(page.path, {})
            if page.method in methods:
                raise errors.broken_page(page.path, "two pages for one path and method")
            methods[page.method] = page

    def find(self, path: str) -> tuple[Mapping[str, Page], str] | None:
        """Return the pages of a path by method, and the id in it; None when there is none."""
        found = self._pages.get(path)
        if found is not None and "{" not in path:
            return found, ""
        segments = path.split("/")
        for at, segment in enumerate(segments):
            if _ID.match(segment):
                shape = "/".join([*segments[:at], "{id}", *segments[at + 1 :]])
                methods = self._pages.get(shape)
                return None if methods is None else (methods, segment)
        return None
