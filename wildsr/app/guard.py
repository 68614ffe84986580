"""Who may ask the page's server for something."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

Ask = Callable[..., Awaitable[Any]]

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class OwnPagesAlone:
    """An ASGI application before another one: what another site's page asks for gets 403, lest it fill the disk with uploads. `here`, the
    server is for this machine alone: so does a request under any other name, which a foreign site could have made to lead here."""

    def __init__(self, app: Ask, here: bool) -> None:
        self.app = app
        self.here = here

    async def __call__(self, scope: dict[str, Any], receive: Ask, send: Ask) -> None:
        if scope["type"] not in ("http", "websocket") or self.lets_in({key.lower(): value for key, value in scope["headers"]}):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"only for this server's own page\n"})

    def lets_in(self, headers: dict[bytes, bytes]) -> bool:
        """Whether headers are those of a request that does not come from another site's page.

        A proxy on this machine tells the name that it has outside by X-Forwarded-Host, which no page can set for another site; a foreign
        name that was made to lead here could, for it is the page's own site then, but is not a name of this machine."""
        host, outside = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"x-forwarded-host"))
        origin = headers.get(b"origin")
        try:
            named_here = urlsplit(f"//{host}").hostname in _HERE
            own = origin is None or urlsplit(origin.decode("latin-1")).netloc in {host, outside} - {""}
        except ValueError:  # no address
            return False
        return own and (named_here or not self.here)
