"""The command `photogram webhooks`: endpoints of the API key, tests, and deliveries that were given up."""

import argparse
import time
from dataclasses import asdict

from photogram import Photogram, PhotogramError, WebhookAttempt

from .output import to_json, webhook_attempt_line, webhook_delivery_line, webhook_endpoint_lines

_TEST_S = 15.0
_POLL_S = 0.1


class TestFailed(PhotogramError):
    """The endpoint did not accept the test event."""


def list_endpoints(options: argparse.Namespace, client: Photogram) -> None:
    for endpoint in client.webhooks.list():
        _print(webhook_endpoint_lines(endpoint), endpoint, options)


def add(options: argparse.Namespace, client: Photogram) -> None:
    endpoint = client.webhooks.add(options.endpoint_url, options.event or ["job.finished"])
    _print(webhook_endpoint_lines(endpoint), endpoint, options)


def remove(options: argparse.Namespace, client: Photogram) -> None:
    client.webhooks.remove(options.id)


def switch_on(options: argparse.Namespace, client: Photogram) -> None:
    endpoint = client.webhooks.change(options.id, is_on=True)
    _print(webhook_endpoint_lines(endpoint), endpoint, options)


def test(options: argparse.Namespace, client: Photogram) -> None:
    attempt = _attempt_of(client, options.id, client.webhooks.test(options.id))
    _print([webhook_attempt_line(attempt)], attempt, options)
    if attempt.status is None or not 200 <= attempt.status < 300:
        raise TestFailed("the endpoint did not accept the test event")


def _attempt_of(client: Photogram, endpoint_id: str, delivery_id: str) -> WebhookAttempt:
    deadline = time.monotonic() + _TEST_S
    while time.monotonic() < deadline:
        for attempt in client.webhooks.attempts(endpoint_id):
            if attempt.delivery_id == delivery_id:
                return attempt
        time.sleep(_POLL_S)
    raise TestFailed(f"the test event was not sent within {_TEST_S:g} s")


def log(options: argparse.Namespace, client: Photogram) -> None:
    for attempt in client.webhooks.attempts(options.id):
        _print([webhook_attempt_line(attempt)], attempt, options)


def dead(options: argparse.Namespace, client: Photogram) -> None:
    for delivery in client.webhooks.deliveries("dead", 100):
        _print([webhook_delivery_line(delivery)], delivery, options)


def replay(options: argparse.Namespace, client: Photogram) -> None:
    delivery = client.webhooks.replay(options.id)
    _print([webhook_delivery_line(delivery)], delivery, options)


def secret(options: argparse.Namespace, client: Photogram) -> None:
    made = client.webhooks.rotate_secret(options.grace)
    print(to_json({"secret": made}) if options.json else made)


def _print(lines: list[str], value: object, options: argparse.Namespace) -> None:
    for line in [to_json(asdict(value))] if options.json else lines:  # type: ignore[call-overload]
        print(line)
