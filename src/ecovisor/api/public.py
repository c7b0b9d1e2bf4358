"""What anyone may ask: whether the server lives and is ready, and what the interface is."""

from __future__ import annotations

from ecovisor import wire
from ecovisor.api.calls import Call, Reply

#: The page has one style sheet, in itself, and nothing else.
_PAGE_POLICY = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"),
)


async def get_health(call: Call) -> wire.Health:
    """``GET /healthz``: it answers, so it is alive."""
    return wire.Health(ok=True, reasons=[])


async def get_readiness(call: Call) -> Reply:
    """``GET /readyz``: reasons are for the operator."""
    reasons = list(call.backend.ready())
    operator = call.principal is not None and call.principal.app is None
    health = wire.Health(ok=not reasons, reasons=reasons if operator else [])
    return call.json(health, status=503 if reasons else 200, headers=((b"cache-control", b"no-store"),))


async def get_openapi(call: Call) -> Reply:
    """``GET /openapi.json``."""
    return Reply(call.api.openapi)


async def get_docs(call: Call) -> Reply:
    """``GET /docs``."""
    return Reply(call.api.docs_page, media=b"text/html; charset=utf-8", headers=_PAGE_POLICY)
