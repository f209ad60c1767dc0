"""The limits of the gateway's connections, from its settings."""

from __future__ import annotations

from service.backbone.addresses import AddressSet
from service.backbone.settings import Settings
from service.http.descriptors import connections_for, raise_descriptor_limit
from service.http.protocol import GuardedProtocol, guarded_protocol
from service.http.registry import ConnectionLimits, ConnectionRegistry

KEEP_ALIVE_S = 75
DRAIN_S = 5.0


def protocol_for(settings: Settings) -> type[GuardedProtocol]:
    """The protocol class for uvicorn's option ``http``; raises the process's limit of open files."""
    limits = ConnectionLimits(
        total=connections_for(raise_descriptor_limit(), settings.max_connections),
        per_address=settings.max_connections_per_address,
        trusted=AddressSet(settings.trusted_proxies),
        header_s=settings.request_timeout_s,
        drain_s=DRAIN_S,
        drain_bytes=settings.max_body_bytes,
        keep_alive_s=KEEP_ALIVE_S,
        write_s=settings.response_timeout_s,
    )
    return guarded_protocol(ConnectionRegistry(limits))
