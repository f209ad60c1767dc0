"""What marks cost, and what the watermark survives.

``python -m benchmarks.provenance`` prints the time of each mark, the memory before and after 2,000 signatures, and how
many of the watermarks are read after each change of the image. The images are synthetic: noise with the spectrum of
photographs, and flat icons. ``--images`` says how many of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from PIL.PngImagePlugin import PngInfo

from models.media.iptc import PNG_CHUNK, TRAINED, packet
from models.provenance.certificates import make_pair
from models.provenance.signing import CREATED, Claim, ManifestSigner
from models.provenance.watermark import embed, read

SIDES_PX = (128, 512, 1024)
SIGNATURES = 2000
_ROUNDS = 15

Change = Callable[[Image.Image], Image.Image]


def sample(side: int, seed: int) -> Image.Image:
    """An icon on white, or three times in four noise whose amplitude falls with the frequency as in photographs."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), "white")
    if seed % 4:
        frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
        frequency[0, 0] = 1
        falling = frequency ** -(0.5 + 0.3 * (seed % 4))
        planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) * falling).real for _ in range(4)]
        mixed = [planes[0] + 0.4 * plane for plane in planes[1:]]
        levels = [np.clip(128 + 50 * (plane - plane.mean()) / plane.std(), 0, 255) for plane in mixed]
        image = Image.fromarray(np.stack(levels, -1).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, radius = (int(value) for value in random.integers(0, side, 3))
        box, color = (x - radius // 4, y - radius // 4, x + radius // 4, y + radius // 4), random.integers(0, 255, 3)
        pen.ellipse(box, fill=tuple(int(value) for value in color))
    return image


def encoded(image: Image.Image, name: str = "PNG", **options: int | PngInfo) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _again(name: str, **options: int) -> Change:
    return lambda image: Image.open(BytesIO(encoded(image, name, **options))).convert("RGB")


def _resized(factor: float) -> Change:
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)))


def _cropped(share: float) -> Change:
    def crop(image: Image.Image) -> Image.Image:
        left, top = round(image.width * (1 - share) / 3), round(image.height * (1 - share) / 2)
        return image.crop((left, top, left + round(image.width * share), top + round(image.height * share)))

    return crop


CHANGES: Mapping[str, Change] = MappingProxyType({
    "PNG": _again("PNG"),
    "JPEG 95": _again("JPEG", quality=95),
    "JPEG 85": _again("JPEG", quality=85),
    "JPEG 75": _again("JPEG", quality=75),
    "JPEG 50": _again("JPEG", quality=50),
    "WebP 80": _again("WEBP", quality=80),
    "half the size": _resized(0.5),
    "half the size, JPEG 75": lambda image: _again("JPEG", quality=75)(_resized(0.5)(image)),
    "1.5 times the size": _resized(1.5),
    "cropped to 90 % of each side": _cropped(0.9),
    "cropped to 75 % of each side": _cropped(0.75),
    "brightness 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "contrast 0.7": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "Gaussian blur, 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
})  # fmt: skip


def survival(side: int, count: int) -> None:
    """Print how many of ``count`` watermarks are read after each change, and found in images without one."""
    read_after, psnr_db, wrong = dict.fromkeys(CHANGES, 0), [], 0
    for seed in range(count):
        image, mark = sample(side, seed), int(np.random.default_rng(seed).integers(0, 2**32))
        marked = embed(image, mark)
        error = np.mean((np.asarray(image, np.float64) - np.asarray(marked, np.float64)) ** 2)
        psnr_db.append(10 * np.log10(255**2 / error))
        for name, change in CHANGES.items():
            found = read(change(marked))
            read_after[name] += found is not None and found.mark == mark
        wrong += read(image) is not None
    print(f"{side} px, {count} images: PSNR {np.mean(psnr_db):.1f} dB (least {min(psnr_db):.1f}), {wrong} false marks")
    for name, found_count in read_after.items():
        print(f"  {name}: {100 * found_count / count:.0f} %")


def times(signer: ManifestSigner) -> None:
    """Print what each mark adds to an image of 512 x 512 pixels, as medians in milliseconds."""
    image = sample(512, 1)
    info = PngInfo()
    info.add_itxt(PNG_CHUNK, packet(TRAINED))
    png, claim = encoded(image), Claim([CREATED], TRAINED, "txt2img with the model house")
    embed(image, 1)
    print(f"encoding the PNG: {_median_ms(lambda: encoded(image)):.1f} ms")
    print(f"encoding it with IPTC: {_median_ms(lambda: encoded(image, pnginfo=info)):.1f} ms")
    print(f"signing: {_median_ms(lambda: signer.sign(png, 'image/png', claim)):.1f} ms")
    print(f"watermark: {_median_ms(lambda: embed(image, 1)):.1f} ms")
    print(f"reading a watermark: {_median_ms(lambda: read(image)):.1f} ms, if there is none")


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        began_at = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began_at)
    return 1000 * statistics.median(taken)


def memory(signer: ManifestSigner) -> None:
    """Print the resident memory before and after many signatures."""
    png, claim = encoded(sample(512, 1)), Claim([CREATED], TRAINED)
    for _ in range(50):
        signer.sign(png, "image/png", claim)
    before = _resident_mib()
    for _ in range(SIGNATURES):
        signer.sign(png, "image/png", claim)
    print(f"memory: {before:.1f} MiB before and {_resident_mib():.1f} MiB after {SIGNATURES} signatures")


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the marks of images.")
    parser.add_argument("--images", type=int, default=40, help="how many images of each size (default: 40)")
    options = parser.parse_args()
    pair = make_pair()
    signer = ManifestSigner(pair.certificate, pair.key)
    times(signer)
    memory(signer)
    for side in SIDES_PX:
        survival(side, options.images)


if __name__ == "__main__":
    main()
