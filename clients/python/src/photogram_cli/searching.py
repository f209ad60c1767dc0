"""The commands `photogram search` and `photogram duplicates`: the images of the API key by what they show."""

import argparse
from dataclasses import asdict
from pathlib import Path

from photogram import FoundImage, Photogram

from .files import Output, check_folder, check_one_standard_input, image_of, text_of
from .flags import filters_of
from .output import duplicates_lines, found_image_row, labelled, print_lines, to_json


def search(options: argparse.Namespace, client: Photogram) -> None:
    """The images that show what is asked for, a line for each; with --save-to also their files."""
    check_one_standard_input(options.text, options.image)
    if sum(each is not None for each in (options.text, options.image, options.like)) != 1:
        raise ValueError("give exactly one of TEXT, --image and --like")
    if options.save_to is not None:
        check_folder(options.save_to)
    found = client.search_images(
        None if options.text is None else text_of(options.text),
        image=None if options.image is None else image_of(options.image),
        like=options.like,
        limit=options.limit,
        min_similarity=options.min_similarity,
        **filters_of(options),
    )
    saved = [] if options.save_to is None else [_save(client, image, Path(options.save_to)) for image in found]
    if options.json:
        paths = [{"file": str(path)} for path in saved] or [{}] * len(found)
        print_lines([to_json([asdict(image) | path for image, path in zip(found, paths, strict=True)])])
        return
    print_lines(map(found_image_row, found))
    print_lines(labelled("file", path) for path in saved)


def duplicates(options: argparse.Namespace, client: Photogram) -> None:
    """Groups of images that are nearly equal."""
    found = client.duplicate_images(options.max_distance, options.limit)
    print_lines([to_json(asdict(found))] if options.json else duplicates_lines(found))


def _save(client: Photogram, image: FoundImage, folder: Path) -> Path:
    """Write the image into `folder` under its id, unless it is there already; raises OSError."""
    path = folder / f"{Path(image.id).name}.png"
    if not path.exists():
        Output(path).write(client.download_image(image))
    return path
