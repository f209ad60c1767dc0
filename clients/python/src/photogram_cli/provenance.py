"""The command `photogram provenance`."""

import argparse
from dataclasses import asdict

from photogram import Photogram

from .files import image_of
from .output import print_lines, provenance_lines, to_json


def verify(options: argparse.Namespace, client: Photogram) -> None:
    """What an image carries of its provenance."""
    found = client.verify_provenance(image_of(options.image))
    print_lines([to_json(asdict(found))] if options.json else provenance_lines(found))
