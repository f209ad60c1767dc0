"""How long it takes to store and to read an image, in a folder and in S3: ``python -m benchmarks.storage s3://bucket/bench``.

The endpoint and the keys of S3 come from the settings, as for ``photogram storage``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median

from service.backbone.configuration import configure
from service.backbone.objects.opening import IMAGES, opener
from service.backbone.store import ImageStore

SIZES_BYTES = (40_000, 400_000, 4_000_000)
"""About the PNG files of 128, 512 and 1536 pixels squared."""
TIMES = 30


def main() -> None:
    """Print the medians of :data:`TIMES` runs, in milliseconds."""
    parser = argparse.ArgumentParser(description="Measure stores of images.")
    parser.add_argument("place", help="s3://bucket/prefix, or a folder")
    place, settings = parser.parse_args().place, configure().settings
    with tempfile.TemporaryDirectory() as folder:
        stores = {each: ImageStore(opener(each, settings)(IMAGES)) for each in (folder, place)}
        for size in SIZES_BYTES:
            for name, store in stores.items():
                wrote, read = measure(store, size)
                print(f"{size:>9} bytes  store {wrote:6.1f} ms  find and read {read:6.1f} ms  {name}")


def measure(store: ImageStore, size: int) -> tuple[float, float]:
    """The medians of storing and of finding and reading images of ``size`` bytes, in milliseconds."""
    ids: list[str] = []
    wrote = _median_ms(lambda _: ids.append(store.add(os.urandom(size))))
    read = _median_ms(lambda number: _read(store, ids[number]))
    for each in ids:
        store.remove(each)
    return wrote, read


def _median_ms(run: Callable[[int], object]) -> float:
    times = []
    for number in range(TIMES):
        began_at = time.perf_counter()
        run(number)
        times.append(time.perf_counter() - began_at)
    return median(times) * 1000


def _read(store: ImageStore, image_id: str) -> bytes:
    found = store.find(image_id)
    assert found is not None
    return found.read()


if __name__ == "__main__":
    main()
