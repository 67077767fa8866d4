"""The console as an ASGI application: finds the page, checks who sent what, answers with a page.

The order is: host, page, where the browser says it comes from, cookies, session, permission, form,
form token. Nothing of a form is read for another site, nothing is done for somebody unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from msgspec.structs import replace

from strongroom.console import cookies, decide, errors, forms, headers
from strongroom.console.model import ConsoleSettings, Front, Reply, Scope, Services, redirect
from strongroom.console.page import ROOT, TOKEN, Page, Router, Visit
from strongroom.console.pages import PAGES
from strongroom.console.render import Renderer
from strongroom.identity.operators import new_device
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.decided import run_under
from strongroom.kernel.edge_limits import (
    CONSOLE_CONCURRENCY_MAX,
    CONSOLE_FORM_TIMEOUT_S,
    CONSOLE_STRANGERS_EACH_MAX,
    CONSOLE_STRANGERS_MAX,
    CONSOLE_TIMEOUT_S,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SIGN_IN = ROOT + "/sign-in"
_TOKEN_CHARS = 64
_NO_SESSION = "unauthenticated"


class Console:
    """Operators' web pages (ASGI 3)."""

    def __init__(
        self,
        services: Services,
        settings: ConsoleSettings,
        front: Front,
        *,
        pages: tuple[Page, ...] = PAGES,
    ) -> None:
        self._services = services
        self._settings = settings
        self._front = front
        self._router = Router(pages)
        self._renderer = Renderer()
        self._static = {asset.path: asset for asset in self._renderer.assets.values()}
        self._host = decide.authority_of(settings.origin)
        self._none = asyncio.Event()
        self._strangers: Counter[str] = Counter()
        self.in_flight = 0

    async def idle(self, timeout_s: float) -> bool:
        """Wait until no page is being made; True when that came in time."""
        self._none.clear()
        if self.in_flight:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._none.wait()
            except TimeoutError:
                return False
        return True

    async def __call__(self, scope: Scope, receive: forms.Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        request = new_id("req")
        run_under(None)  # a pipelined request must not inherit what its forerunner was let do
        self.in_flight += 1
        try:
            reply = await self._bounded(scope, receive, request)
        except forms.ClientGone:
            pass
        else:
            await self._send(scope, send, reply, request)
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._none.set()

    async def _bounded(self, scope: Scope, receive: forms.Receive, request: str) -> Reply:
        page = Page(method="GET", path=ROOT, action="public", handler=_never)
        visit = Visit(page, self._services, self._settings, self._renderer)
        visit.request = request
        try:
            if self.in_flight > CONSOLE_CONCURRENCY_MAX:
                raise errors.overloaded()
            async with asyncio.timeout(CONSOLE_TIMEOUT_S):
                return await self._answer(visit, scope, receive)
        except TimeoutError:
            return self._failed(visit, errors.timed_out())
        except StrongroomError as error:
            return self._failed(visit, error)
        except forms.ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must still be answered
            return self._failed(visit, error)

    async def _answer(self, visit: Visit, scope: Scope, receive: forms.Receive) -> Reply:
        seen = decide.seen(scope["headers"])
        path = scope["raw_path"].decode("latin-1")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if seen.host != self._host:
            return self._elsewhere(seen, method, path)
        if method == "GET" and path in self._static:
            decide.check_reading(seen)
            return self._asset(path, scope)
        page, visit.id = self._page(path, method)
        visit.page = page
        if method == "GET":
            decide.check_reading(seen)
        else:
            decide.check_sending(seen, origin=self._settings.origin)
        self._bring(visit, scope)
        if not page.public and not await self._enter(visit):
            return redirect(SIGN_IN, cookies.ended())
        if method == "GET":
            raw = scope.get("query_string", b"")
            visit.fields = forms.query(raw, page.fields, lenient=page.lenient)
        elif page.public:
            await self._take_from_stranger(visit, seen, receive)
        else:
            await self._take(visit, seen, receive)
        reply = await page.handler(visit)
        return self._with_device(visit, reply)

    def _page(self, path: str, method: str) -> tuple[Page, str]:
        found = self._router.find(path)
        if found is None:
            raise errors.not_found()
        methods, given = found
        if method not in methods:
            raise errors.method_not_allowed()
        return methods[method], given

    def _bring(self, visit: Visit, scope: Scope) -> None:
        """Take source and cookies; a browser without a name gets one."""
        brought = cookies.read(scope["headers"])
        visit.source = self._front.source_of(scope)
        visit.session = brought.session
        visit.new_device = brought.device is None
        visit.device = brought.device or new_device()

    async def _take_from_stranger(
        self, visit: Visit, seen: decide.Seen, receive: forms.Receive
    ) -> None:
        """Read a form that anybody may send: few at once, and not for long."""
        whom = await self._front.admit(visit.source)
        if (
            self._strangers[whom] >= CONSOLE_STRANGERS_EACH_MAX
            or self._strangers.total() >= CONSOLE_STRANGERS_MAX
        ):
            raise errors.overloaded()
        self._strangers[whom] += 1
        try:
            async with asyncio.timeout(CONSOLE_FORM_TIMEOUT_S):
                await self._take(visit, seen, receive)
        finally:
            self._strangers[whom] -= 1
            if not self._strangers[whom]:
                del self._strangers[whom]

    async def _take(self, visit: Visit, seen: decide.Seen, receive: forms.Receive) -> None:
        forms.check_media(seen.content_type)
        known = {**visit.page.fields, TOKEN: _TOKEN_CHARS}
        given = forms.fields(await forms.body(receive), known)
        decide.check_token(given.pop(TOKEN, ""), visit.device, visit.session)
        visit.fields = given

    async def _enter(self, visit: Visit) -> bool:
        """Find out who visits and whether they may; False when nobody is signed in."""
        if visit.session is None:
            return False
        try:
            principal = await self._services.operators.session(
                visit.session, device=visit.device, source=visit.source
            )
        except StrongroomError as error:
            if error.code != _NO_SESSION:
                raise
            visit.session = None
            return False
        visit.principal = principal
        if visit.page.confirmed:  # asked again with the proof (confirm.py)
            principal = replace(principal, mfa_at=SystemClock().now())
        self._services.authorizer.check(
            principal, action=visit.page.action, merchant=None, source=visit.source
        )
        return True

    def _elsewhere(self, seen: decide.Seen, method: str, path: str) -> Reply:
        """Send a person at this machine's address on to its name; refuse every other host."""
        if method != "GET" or not decide.is_loopback_address(seen.host, self._settings.origin):
            raise errors.wrong_host()
        if self._router.find(path) is None:
            raise errors.not_found()
        return redirect(self._settings.origin + path)

    def _asset(self, path: str, scope: Scope) -> Reply:
        asset = self._static[path]
        known = [value for name, value in scope["headers"] if name == b"if-none-match"]
        tag = (b"etag", asset.etag)
        if known == [asset.etag]:
            return Reply(304, media=b"", headers=(tag,))
        return Reply(200, asset.body, asset.media, (tag,))

    def _with_device(self, visit: Visit, reply: Reply) -> Reply:
        if not visit.new_device:
            return reply
        fields = (*reply.headers, cookies.device(visit.device))
        return Reply(reply.status, reply.body, reply.media, fields)

    def _failed(self, visit: Visit, error: Exception) -> Reply:
        """Return the page of an error."""
        told = self._front.told(error, request=visit.request, route=visit.page.path)
        reply = visit.show("error.html", status=told.status, told=told, request=visit.request)
        wait = () if told.retry_s is None else ((b"retry-after", b"%d" % told.retry_s),)
        return Reply(reply.status, reply.body, headers=wait)

    async def _send(self, scope: Scope, send: Send, reply: Reply, request: str) -> None:
        is_asset = reply.media not in (b"", headers.HTML) or reply.status == 304
        fields = [*(headers.ASSET if is_asset else headers.PAGE), *reply.headers]
        fields.append((b"request-id", request.encode()))
        if reply.status == 303:
            fields.append((b"content-length", b"0"))
        elif reply.media:
            fields.append((b"content-type", reply.media))
            fields.append((b"content-length", str(len(reply.body)).encode()))
        if self._settings.behind_tls:
            fields.append(headers.HSTS)
        await send({"type": "http.response.start", "status": reply.status, "headers": fields})
        body = b"" if scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body})


async def _never(visit: Visit) -> Reply:
    raise errors.not_found()
