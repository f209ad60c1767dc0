"""The commands that need the server's language model: rewrite and assist."""

import argparse
import sys
from dataclasses import asdict

from photogram import Photogram

from .drawing import draw
from .files import check_one_standard_input, image_of, output_of, text_of
from .output import print_lines, proposal_lines, rewritten_lines, to_json


def rewrite(options: argparse.Namespace, client: Photogram) -> None:
    """Rewrite a prompt without generating an image."""
    rewritten = client.rewrite(text_of(options.prompt), model=options.model)
    print_lines([to_json(asdict(rewritten))] if options.json else rewritten_lines(rewritten))


def assist(options: argparse.Namespace, client: Photogram) -> None:
    """Turn a request in plain words into a job; with --draw, run it."""
    if options.output is not None and not options.draw:
        raise ValueError("--output needs --draw, which generates the image")
    check_one_standard_input(options.message, *options.image)
    output = output_of(options.output, options.json, overwrite=options.overwrite) if options.draw else None
    proposal = client.assist(text_of(options.message), images=[image_of(each) for each in options.image])
    if not options.json:
        print_lines(proposal_lines(proposal), sys.stdout if output is None or output.path else sys.stderr)
    elif not options.draw:
        print_lines([to_json(asdict(proposal))])
    if output is not None:
        draw(options, client, "generate", {"prompt": proposal}, output, proposal)
