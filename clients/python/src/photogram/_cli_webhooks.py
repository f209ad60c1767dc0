"""The command `photogram webhooks`: endpoints of the API key, tests, and deliveries that were given up."""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict

from ._cli_output import to_json, webhook_attempt_line, webhook_delivery_line, webhook_endpoint_lines
from ._client import Photogram
from ._errors import PhotogramError
from ._webhooks import DAY_S, WebhookAttempt

EVENTS = ("job.started", "job.progress", "job.finished")
_TEST_S = 15.0
_POLL_S = 0.1

Verb = Callable[[argparse.Namespace, Photogram], None]


class TestFailed(PhotogramError):
    """The endpoint did not accept the test event."""


def add_webhooks_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    """Add the command with its verbs."""
    webhooks = commands.add_parser("webhooks", help="have events of jobs sent to a URL")
    verbs = webhooks.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Verb, text: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, parents=[common], help=text)
        command.set_defaults(run=run, arguments={})
        return command

    verb("list", _list, "list the endpoints")
    adding = verb("add", _add, "add an endpoint; the first one prints the signing secret")
    adding.add_argument("endpoint_url", metavar="URL")
    adding.add_argument("--event", action="append", choices=EVENTS, help="may be repeated (default: job.finished)")
    for name, run, text in (
        ("rm", _remove, "delete an endpoint"),
        ("test", _test, "send a test event to an endpoint, and print what it answers"),
        ("log", _log, "print the last attempts at an endpoint"),
        ("on", _switch_on, "switch an endpoint on again"),
    ):
        verb(name, run, text).add_argument("id", metavar="ID", help="the id of the endpoint")
    verb("dead", _dead, "list the deliveries that were given up")
    verb("replay", _replay, "send a delivery again").add_argument("id", metavar="ID", help="the id of the delivery")
    rotating = verb("secret", _secret, "make a new signing secret and print it")
    rotating.add_argument("--grace", type=int, default=DAY_S, metavar="S", help="how long earlier ones sign as well")


def _list(options: argparse.Namespace, client: Photogram) -> None:
    for endpoint in client.webhooks.list():
        _print(webhook_endpoint_lines(endpoint), endpoint, options)


def _add(options: argparse.Namespace, client: Photogram) -> None:
    endpoint = client.webhooks.add(options.endpoint_url, options.event or ["job.finished"])
    _print(webhook_endpoint_lines(endpoint), endpoint, options)


def _remove(options: argparse.Namespace, client: Photogram) -> None:
    client.webhooks.remove(options.id)


def _switch_on(options: argparse.Namespace, client: Photogram) -> None:
    endpoint = client.webhooks.change(options.id, is_on=True)
    _print(webhook_endpoint_lines(endpoint), endpoint, options)


def _test(options: argparse.Namespace, client: Photogram) -> None:
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


def _log(options: argparse.Namespace, client: Photogram) -> None:
    for attempt in client.webhooks.attempts(options.id):
        _print([webhook_attempt_line(attempt)], attempt, options)


def _dead(options: argparse.Namespace, client: Photogram) -> None:
    for delivery in client.webhooks.deliveries("dead", 100):
        _print([webhook_delivery_line(delivery)], delivery, options)


def _replay(options: argparse.Namespace, client: Photogram) -> None:
    delivery = client.webhooks.replay(options.id)
    _print([webhook_delivery_line(delivery)], delivery, options)


def _secret(options: argparse.Namespace, client: Photogram) -> None:
    made = client.webhooks.rotate_secret(options.grace)
    print(to_json({"secret": made}) if options.json else made)


def _print(lines: list[str], value: object, options: argparse.Namespace) -> None:
    for line in [to_json(asdict(value))] if options.json else lines:  # type: ignore[call-overload]
        print(line)
