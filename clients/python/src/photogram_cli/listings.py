"""The commands that list what the server offers, and what the API key owns and uses."""

import argparse
import itertools
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from photogram import Capability, Lora, Photogram, Sampler, Style, Upscaler

from .output import key_row, model_row, own_image_row, print_lines, to_json, usage_lines


def samplers(options: argparse.Namespace, client: Photogram) -> None:
    """The samplers; with --json, the names of those that can be used."""
    found = client.samplers()
    if options.json:
        print_lines([to_json([sampler.name for sampler in found if sampler.problem is None])])
    else:
        print_lines(map(_named_row, found))


def upscalers(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.upscalers(), _named_row)


def loras(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.loras(), _named_row)


def styles(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.styles(), _style_row)


def kinds(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.capabilities(), _kind_row)


def models(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.models(), model_row)


def images(options: argparse.Namespace, client: Photogram) -> None:
    """The newest images of the API key."""
    filters: dict[str, Any] = {name: getattr(options, name) for name in ("tag", "search", "model")}
    _list(options, itertools.islice(client.images(**filters), options.limit), own_image_row)


def usage(options: argparse.Namespace, client: Photogram) -> None:
    found = client.usage()
    print_lines([to_json(asdict(found))] if options.json else usage_lines(found))


def keys(options: argparse.Namespace, client: Photogram) -> None:
    _list(options, client.keys.list(), key_row)


def create_key(options: argparse.Namespace, client: Photogram) -> None:
    key = client.keys.create(name=options.name, scopes=options.scope or ["submit"])
    print_lines([to_json(asdict(key))] if options.json else [key_row(key), f"the key, shown this once: {key.secret}"])


def revoke_key(options: argparse.Namespace, client: Photogram) -> None:
    key = client.keys.revoke(options.id)
    print_lines([to_json(asdict(key))] if options.json else [key_row(key)])


def _list(options: argparse.Namespace, found: Iterable[Any], row: Callable[[Any], str]) -> None:
    print_lines([to_json([asdict(each) for each in found])] if options.json else map(row, found))


def _named_row(each: Sampler | Upscaler | Lora) -> str:
    return each.name if each.problem is None else f"{each.name} (unusable: {each.problem})"


def _kind_row(each: Capability) -> str:
    return each.kind if each.problem is None else f"{each.kind} (unusable: {each.problem})"


def _style_row(style: Style) -> str:
    return f"{style.name}: {style.prefix}...{style.suffix}"
