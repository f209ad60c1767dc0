"""`client.webhooks`."""

from collections.abc import Sequence

from ._async_performer import AsyncPerformer
from ._webhook_calls import (
    DAY_S,
    FINISHED,
    Attempts,
    Deliveries,
    Endpoints,
    WebhookCalls,
    WebhookDelivery,
    WebhookEndpoint,
)


class AsyncWebhooks:
    """`client.webhooks`: the webhook endpoints of the API key, and the deliveries to them.

    `photogram.webhooks.verify` is for those who receive webhooks.
    """

    def __init__(self, performer: AsyncPerformer) -> None:
        self._performer, self._calls = performer, WebhookCalls(performer.flows)

    async def list(self) -> Endpoints:
        """All endpoints, the oldest first."""
        return await self._performer.run(self._calls.list())

    async def add(self, url: str, events: Sequence[str] = FINISHED, description: str = "") -> WebhookEndpoint:
        """Have events of all jobs sent to `url`; the first endpoint has the signing secret. Raises InvalidParams."""
        return await self._performer.run(self._calls.add(url, events, description))

    async def change(self, endpoint_id: str, **changes: object) -> WebhookEndpoint:
        """Change `url`, `events`, `description` or `is_on`; raises NotFound, InvalidParams."""
        return await self._performer.run(self._calls.change(endpoint_id, changes))

    async def remove(self, endpoint_id: str) -> None:
        """Delete the endpoint; raises NotFound."""
        await self._performer.run(self._calls.remove(endpoint_id))

    async def test(self, endpoint_id: str) -> str:
        """Send a test event; returns the id of its delivery, which `attempts` tells of. Raises NotFound."""
        return await self._performer.run(self._calls.test(endpoint_id))

    async def attempts(self, endpoint_id: str) -> Attempts:
        """The last attempts at the endpoint, the newest first; raises NotFound."""
        return await self._performer.run(self._calls.attempts(endpoint_id))

    async def deliveries(self, status: str = "dead", limit: int = 20) -> Deliveries:
        """The newest deliveries that were given up (`dead`), or that wait (`pending`)."""
        return await self._performer.run(self._calls.deliveries(status, limit))

    async def replay(self, delivery_id: str) -> WebhookDelivery:
        """Send a delivery again; raises NotFound."""
        return await self._performer.run(self._calls.replay(delivery_id))

    async def rotate_secret(self, grace_s: int = DAY_S) -> str:
        """Make a new signing secret and return it; the earlier ones sign as well for `grace_s` seconds."""
        return await self._performer.run(self._calls.rotate_secret(grace_s))
