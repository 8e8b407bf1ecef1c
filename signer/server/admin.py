"""The admin port: /metrics, /livez, /readyz, /spiffe/bundle; a development server also hands out tokens there."""

import logging
from collections.abc import Callable

from aiohttp import web

from signer.core.hosts import LOOPBACK
from signer.observe.health import Health

_log = logging.getLogger("istio_signer.admin")

# namespace, service account, pod -> a token; raises ValueError with a text for people.
MintToken = Callable[[str, str, str], str]
# A web page on a name that resolves to 127.0.0.1 must not get at the tokens.

BUNDLE_PATH = "/spiffe/bundle"
TOKEN_PATH = "/development/token"  # noqa: S105  a path


class Admin:
    """Serves the admin endpoints over plain HTTP.

    Args:
        health: For the probes.
        scrape: Renders the metrics for an ``Accept`` header: body and content type.
    """

    def __init__(self, health: Health, scrape: Callable[[str], tuple[bytes, str]]) -> None:
        self._health = health
        self._scrape = scrape
        self._app = web.Application(client_max_size=64 * 1024)
        self._app.router.add_get("/livez", self._livez)
        self._app.router.add_get("/healthz", self._livez)
        self._app.router.add_get("/readyz", self._readyz)
        self._app.router.add_get("/metrics", self._metrics)
        self._runner: web.AppRunner | None = None
        self._hands_out_tokens = False
        self.port = 0

    def add_token_endpoint(self, mint: MintToken) -> None:
        """Hand out development tokens. The caller has made sure that this listens on loopback only."""

        async def token(request: web.Request) -> web.Response:
            if request.url.host not in LOOPBACK:
                raise web.HTTPForbidden(text="only for callers on this machine\n")
            query = request.query
            try:
                text = mint(
                    query.get("namespace", ""), query.get("service_account", ""), query.get("pod", "development")
                )
            except ValueError as error:
                raise web.HTTPBadRequest(text=f"{error}\n") from None
            return web.Response(text=text)

        self._app.router.add_post(TOKEN_PATH, token)
        self._hands_out_tokens = True

    def add_bundle_endpoint(self, document: Callable[[], str]) -> None:
        """Serve the trust bundle to federated meshes; it is public."""

        async def bundle(_: web.Request) -> web.Response:
            return web.Response(text=document(), content_type="application/json")

        self._app.router.add_get(BUNDLE_PATH, bundle)

    async def start(self, host: str, port: int) -> None:
        """Bind and serve.

        Raises:
            OSError: The address cannot be bound.
        """
        self._runner = web.AppRunner(self._app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        _log.info("admin endpoints on %s, port %d", host, self.port)
        if self._hands_out_tokens:
            query = "namespace=NAMESPACE&service_account=ACCOUNT"
            _log.warning("tokens for anybody: curl -X POST 'http://%s:%d%s?%s'", host, self.port, TOKEN_PATH, query)

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        status = 200 if self._health.ready else 503
        if "verbose" in request.query:
            return web.Response(text=self._health.report(), status=status)
        text = "ok\n" if self._health.ready else f"pending: {', '.join(self._health.pending)}\n"
        return web.Response(text=text, status=status)

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
