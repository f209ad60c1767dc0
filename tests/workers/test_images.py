"""Loading images: they are reduced to what is drawn, and a job that would cost too much fails before it is decoded."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from models.catalog.catalog import Catalog
from models.errors import InputUnavailable
from models.jobs.cost import NO_LIMITS, CostLimits
from models.jobs.params import DrawRequest, JobParams, JobRequest, Mask, UpscaleRequest
from models.jobs.tickets import complete
from models.media.fitting import fit
from models.media.images import decode, decode_mask
from models.media.pixel_budget import PixelBudget
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from workers.fetch import FetchLimits
from workers.images import ImageLoader

CATALOG = Catalog({})
SIZE = (300, 200)


def encoded(image: Image.Image, name: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, name)
    return buffer.getvalue()


PHOTO, MASK = encoded(Image.effect_noise(SIZE, 90).convert("RGB")), encoded(Image.effect_noise(SIZE, 90))


@pytest.fixture
def inputs(tmp_path: Path) -> InputStore:
    return InputStore(tmp_path / "inputs")


@pytest.fixture
def budget() -> PixelBudget:
    return PixelBudget(1_000_000)


def loader(inputs: InputStore, budget: PixelBudget, costs: CostLimits = NO_LIMITS) -> ImageLoader:
    return ImageLoader(inputs, ImageStore(Path("/nowhere")), FetchLimits(max_bytes=1 << 20), budget, costs)


def source(inputs: InputStore, data: bytes) -> str:
    return f"input:{inputs.add(data)}"


def params(request: JobRequest) -> JobParams:
    return complete(request, CATALOG)


@pytest.mark.parametrize("mode", ["stretch", "crop", "fill"])
def test_images_are_reduced_as_the_plan_would(mode: str, inputs: InputStore, budget: PixelBudget) -> None:
    image, mask = source(inputs, PHOTO), source(inputs, MASK)
    request = DrawRequest(
        kind="inpaint", prompt="x", image=image, mask=Mask(image=mask), resize_mode=mode, width=128, height=64
    )
    loaded = loader(inputs, budget).load(params(request), CATALOG)
    assert loaded[image].tobytes() == fit(decode(PHOTO), (128, 64), mode).tobytes()
    assert loaded[mask].tobytes() == fit(decode_mask(MASK), (128, 64), mode).tobytes()
    assert fit(loaded[image], (128, 64), mode).tobytes() == loaded[image].tobytes(), "the plan fits it once more"
    assert budget.held_px == 0


def test_images_that_are_needed_whole_are_held_until_they_are_gone(inputs: InputStore, budget: PixelBudget) -> None:
    image, mask = source(inputs, PHOTO), source(inputs, MASK)
    request = DrawRequest(kind="inpaint", prompt="x", image=image, mask=Mask(image=mask, only_masked=True))
    loaded = loader(inputs, budget).load(params(request), CATALOG)
    assert [loaded[each].size for each in (image, mask)] == [SIZE, SIZE]
    assert budget.held_px == 3 * 300 * 200  # the image, the mask, and the result
    loaded.clear()
    assert budget.held_px == 0


def test_equal_jobs_share_a_reduced_image(inputs: InputStore, budget: PixelBudget) -> None:
    request = params(DrawRequest(kind="img2img", prompt="x", image=source(inputs, PHOTO)))
    one = loader(inputs, budget)
    first, second = (one.load(request, CATALOG) for _ in range(2))
    assert next(iter(first.values())) is next(iter(second.values()))
    other = params(DrawRequest(kind="img2img", prompt="x", image=source(inputs, PHOTO), width=64, height=64))
    assert next(iter(one.load(other, CATALOG).values())).size == (64, 64)


def test_a_damaged_image_holds_nothing(inputs: InputStore, budget: PixelBudget) -> None:
    request = params(UpscaleRequest(image=source(inputs, PHOTO[: len(PHOTO) // 2] + b"x" * 5000)))
    with pytest.raises(InputUnavailable):
        loader(inputs, budget).load(request, CATALOG)
    assert budget.held_px == 0


def test_what_would_cost_too_much_fails_before_it_is_decoded(
    inputs: InputStore, budget: PixelBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.images.decode", lambda *_: pytest.fail("it was decoded"))
    request = params(UpscaleRequest(image=source(inputs, PHOTO), scale=4))
    with pytest.raises(InputUnavailable, match="960000 pixels; at most 900000 are allowed"):
        loader(inputs, budget, CostLimits(output_px=900_000)).load(request, CATALOG)
    assert budget.held_px == 0


def test_a_very_large_jpeg_is_decoded_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.media.images._DRAFT_PX", 10_000)
    photo = Image.linear_gradient("L").resize((1600, 1200)).convert("RGB")
    assert decode(encoded(photo, "JPEG"), 100).size == (400, 300)
    assert decode(encoded(photo, "JPEG"), 1000).size == (1600, 1200)
    assert decode(encoded(photo, "JPEG")).size == (1600, 1200)
    assert decode(encoded(photo, "PNG"), 100).size == (1600, 1200)
    assert decode(encoded(photo.resize((90, 90)), "JPEG"), 10).size == (90, 90)
