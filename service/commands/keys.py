"""``photogram keys``: manage the API keys of the server on this machine, without a key."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime

from photogram_cli.near_misses import Parser
from redis import Redis
from redis.exceptions import RedisError

from models.errors import PhotogramError, in_flags
from models.jobs.params import PROVENANCE
from models.jobs.safety import SAFETY
from service.backbone.allowances import Allowance
from service.backbone.catalog_file import CatalogFile
from service.backbone.configuration import configure
from service.backbone.connections import connect
from service.backbone.data_option import add_data_option
from service.backbone.key_records import KeyRecord, KeyRules, Scope
from service.backbone.key_store import IssuedKey, KeyStore, require_known
from service.backbone.keyspace import preferences_key
from service.backbone.objects.opening import open_stores
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.running import running_server
from service.backbone.setting_values import DURATION_MAX_S, whole
from service.backbone.settings import Settings, SettingsError
from service.backbone.usage import read_usage

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_USAGE_DAYS = 7
_FLAGS = (
    {"scopes": "--scope", "models": "--model", "kinds": "--kind"}
    | {f"limits.{limit.name}": f"--{limit.name.replace('_', '-')}" for limit in fields(Allowance)}
    | {name: f"--{name}" for name in ("reads", "weight")}
)
"""The flags of the rules of a key; its name is an argument of ``create``."""


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings, Redis], Iterator[str]] = options.run
    try:
        settings = configure(flags={"data": options.data}).settings
        with connect(_redis_url(settings), "photogram-keys") as connection:
            for line in run(options, settings, connection):
                print(line)
    except PhotogramError as error:
        print(f"photogram keys: {in_flags(error, _FLAGS)}", file=sys.stderr)
        return 1
    except (SettingsError, RedisError, OSError) as error:
        print(f"photogram keys: {error}", file=sys.stderr)
        return 1
    return 0


def _redis_url(settings: Settings) -> str:
    server = running_server(settings.data)
    url = (server and server.redis_url) or settings.redis_url
    if url is None:
        raise SettingsError(f"no photogram up runs with the folder {settings.data}, and REDIS_URL is not set")
    return url


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram keys", description="Manage the API keys of the server on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list all keys").set_defaults(run=list_keys)
    creating = commands.add_parser("create", help="create a key and print it once")
    creating.add_argument("name", help="what the key is for")
    _add_rules(creating)
    creating.set_defaults(run=create)
    changing = commands.add_parser("set", help="change the rules and limits of a key; what is left out stays")
    changing.add_argument("id")
    changing.add_argument("--name", help="what the key is for")
    _add_rules(changing)
    changing.set_defaults(run=change)
    for name, run, text in (
        ("show", show, "print what is known of a key"),
        ("usage", usage, "print what a key has used"),
        ("revoke", revoke, "refuse a key from now on"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("id")
        command.set_defaults(run=run)
    rotating = commands.add_parser("rotate", help="give a key a new secret and print it once")
    rotating.add_argument("id")
    rotating.add_argument("--grace", type=duration, default=0, help="how long the old one works: 30m, 12h, 7d")
    rotating.set_defaults(run=rotate)
    deleting = commands.add_parser("delete", help="delete a key that owns no jobs")
    deleting.add_argument("id")
    deleting.add_argument("--jobs", action="store_true", help="revoke it, and delete its jobs and images first")
    deleting.set_defaults(run=delete)
    add_data_option(parser)
    return parser


def _add_rules(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scope", action="append", choices=[scope.value for scope in Scope], help="may be repeated (default: submit)"
    )
    command.add_argument(
        "--expires", type=lifetime, help="after how long it ends: 30m, 12h, 90d, or seconds (default: never)"
    )
    command.add_argument("--reads", help="the id of the key whose jobs it reads; for a key without submit")
    command.add_argument("--model", action="append", help="a model that its jobs may use; may be repeated")
    command.add_argument("--kind", action="append", help="a kind that it may submit; may be repeated")
    command.add_argument("--max-priority", type=int, choices=range(-2, 3), help="the highest priority of its jobs")
    command.add_argument("--weight", type=int, help="its share of the workers, compared with other keys (default: 1)")
    command.add_argument(
        "--retention", type=lifetime, help="how long its jobs and their results are kept (default: the server's)"
    )
    command.add_argument(
        "--provenance", choices=PROVENANCE, help="the least that its images must carry (default: what the server marks)"
    )
    command.add_argument("--safety", choices=SAFETY, help="the policy for unsafe images (default: the server's)")
    command.add_argument(
        "--webhooks", action=argparse.BooleanOptionalAction, help="whether it may have webhooks (default: it may)"
    )
    command.add_argument("--enhance", choices=("on", "off"), help="whether prompts are rewritten by default")
    for limit in fields(Allowance):
        flag = f"--{limit.name.replace('_', '-')}"
        command.add_argument(flag, type=_limit, help="0 is no limit (default: the server's)")


def duration(text: str) -> int:
    """The seconds of a text such as 90, 30m, 12h or 7d; at most 100 years."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = whole(0, DURATION_MAX_S)(number) * _UNITS[unit]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90, 30m, 12h or 7d") from error
    if seconds > DURATION_MAX_S:
        raise argparse.ArgumentTypeError(f"{text} is longer than 100 years")
    return seconds


def lifetime(text: str) -> int:
    """As :func:`duration`, but at least a second."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError("what ends after no time at all is of no use")
    return seconds


def _limit(text: str) -> int:
    try:
        return whole(0)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def create(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """Create a key."""
    rules = _with_options(KeyRules(name=options.name), options, settings)
    issued = KeyStore(connection).create(rules)
    _set_preference(connection, issued.record.key_id, options)
    yield from _issued(issued)


def change(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """Change the rules of a key."""
    store = KeyStore(connection)
    record = store.change(options.id, lambda rules: _with_options(rules, options, settings))
    _set_preference(connection, options.id, options)
    yield from _shown(record, store.used_at().get(options.id))


def _with_options(rules: KeyRules, options: argparse.Namespace, settings: Settings) -> KeyRules:
    """``rules`` with what the options say; raises :class:`InvalidKeyRules` if they name what there is not."""
    given = {
        "name": options.name,
        "scopes": options.scope and tuple(dict.fromkeys(map(Scope, options.scope))),
        "expires_at": options.expires and time.time() + options.expires,
        "reads": options.reads,
        "models": options.model and tuple(options.model),
        "kinds": options.kind and tuple(options.kind),
        "max_priority": options.max_priority,
        "weight": options.weight,
        "retention_s": options.retention,
        "provenance": options.provenance,
        "safety": options.safety,
        "webhooks": options.webhooks,
    }
    limits = {limit.name: getattr(options, limit.name) for limit in fields(Allowance)}
    allowance = replace(rules.allowance, **{name: limit for name, limit in limits.items() if limit is not None})
    changed = replace(rules, allowance=allowance, **{name: value for name, value in given.items() if value is not None})
    if options.model or options.kind:
        require_known(changed, CatalogFile(settings.catalog_path).current())
    return changed


def _set_preference(connection: Redis, key_id: str, options: argparse.Namespace) -> None:
    if options.enhance is not None:
        connection.hset(preferences_key(key_id), "enhance_prompt", int(options.enhance == "on"))


def list_keys(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """One line for each key."""
    store, now = KeyStore(connection), time.time()
    used_at = store.used_at()
    for record in store.all():
        state = record.problem(now) or "is valid"
        scopes, used = ",".join(record.rules.scopes), _time(used_at.get(record.key_id))
        yield f"{record.key_id:16}  {scopes:17}  {state:16}  used {used}  {record.rules.name}"


def show(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """What is known of the key, without its secret."""
    store = KeyStore(connection)
    yield from _shown(store.get(options.id), store.used_at().get(options.id))


def _shown(record: KeyRecord, used_at: float | None) -> Iterator[str]:
    rules = record.rules
    times = {"created": record.created_at, "expires": rules.expires_at, "revoked": record.revoked_at, "used": used_at}
    yield f"id: {record.key_id}"
    yield f"name: {rules.name}"
    yield f"scopes: {', '.join(rules.scopes)}"
    yield from (f"{name}: {_time(at)}" for name, at in times.items())
    lists = {"models": ", ".join(rules.models), "kinds": ", ".join(rules.kinds)}
    numbers = {
        "max_priority": rules.max_priority,
        "weight": rules.weight,
        "retention_s": rules.retention_s,
        **asdict(rules.allowance),
    }
    webhooks = None if rules.webhooks else "none allowed"
    marks = {"provenance": rules.provenance, "safety": rules.safety, "webhooks": webhooks}
    others = {"reads": rules.reads, **lists, **numbers, **marks}
    yield from (f"{name}: {value}" for name, value in others.items() if value not in (None, ""))


def rotate(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """A new secret for the key."""
    yield from _issued(KeyStore(connection).rotate(options.id, options.grace))


def _issued(issued: IssuedKey) -> Iterator[str]:
    yield f"id: {issued.record.key_id}"
    yield f"API key, shown this once: {issued.key}"


def revoke(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """Refuse the key from now on."""
    record = KeyStore(connection).revoke(options.id)
    yield f"{record.key_id} is refused within five seconds; its jobs stay"


def delete(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """Delete the key."""
    store = KeyStore(connection)
    if options.jobs:
        store.revoke(options.id)
        stores = open_stores(settings)
        found = OwnedJobs(connection, stores.images, stores.files, settings.record_ttl_s).delete_all(options.id)
        yield f"deleted {found.deleted} jobs; {found.running} still run"
    store.delete(options.id)
    yield f"{options.id} is deleted"


def usage(options: argparse.Namespace, settings: Settings, connection: Redis) -> Iterator[str]:
    """What the key used in the last days and in this month."""
    KeyStore(connection).get(options.id)
    found = read_usage(connection, options.id, time.time(), _USAGE_DAYS)
    yield f"now: {found.queued} queued, {found.running} running, {found.stored_bytes} bytes stored"
    for period in (*found.days, found.month):
        yield (
            f"{period.period:10}  {period.jobs} jobs  {period.units:g} units  {period.succeeded} succeeded"
            f"  {period.failed} failed  {period.canceled} canceled"
        )


def _time(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


if __name__ == "__main__":
    sys.exit(main())
