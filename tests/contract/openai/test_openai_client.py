"""The unmodified ``openai`` client from PyPI, through every call on images and models that it has."""

from __future__ import annotations

import base64
from io import BytesIO

import httpx
import numpy as np
import openai
import pytest
from openai.types import (
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
)
from PIL import Image

from models.media.png import read_request
from tests.contract.openai.conftest import KEY

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # create_variation, the client says

APPLE = {"prompt": "a red apple", "extra_body": {"steps": 4, "seed": 7}}


def opened(data: bytes, name: str = "PNG", size: tuple[int, int] = (128, 128)) -> Image.Image:
    """The image in ``data``, which is of that format and size and shows something."""
    image = Image.open(BytesIO(data))
    assert (image.format, image.size) == (name, size)
    assert np.asarray(image.convert("L")).std() > 5
    return image


def decoded(text: str | None, name: str = "PNG", size: tuple[int, int] = (128, 128)) -> Image.Image:
    assert text is not None
    return opened(base64.b64decode(text, validate=True), name, size)


def seed_of(data: bytes) -> int:
    request = read_request(data)
    assert request is not None
    return request["params"]["seed"]


def as_png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def apple(base_url: str) -> bytes:
    """An image of a red apple, as the service drew it."""
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        answer = client.images.generate(response_format="b64_json", **APPLE)
    return base64.b64decode(answer.data[0].b64_json)


def test_an_image_comes_as_a_link(client):
    answer = client.images.generate(model="dall-e-3", size="64x72", quality="standard", style="natural", **APPLE)
    (image,) = answer.data
    assert image.b64_json is None
    data = httpx.get(image.url).content
    opened(data, size=(64, 72))
    assert seed_of(data) == image.seed == 7
    assert image.revised_prompt.startswith("photograph of a red apple, natural light")
    assert (answer.size, answer.output_format, answer.background) == ("64x72", "png", "opaque")


def test_two_images_come_in_base64_with_seeds_that_follow_one_another(client):
    answer = client.images.generate(model="gpt-image-1", n=2, **APPLE)
    files = [base64.b64decode(each.b64_json) for each in answer.data]
    assert [seed_of(file) for file in files] == [7, 8]
    first, second = map(opened, files)
    assert first.tobytes() != second.tobytes()
    assert [each.url for each in answer.data] == [None, None]
    assert answer.usage.total_tokens == 0 and answer.created > 1_700_000_000


@pytest.mark.parametrize("name", ["JPEG", "WEBP"])
def test_other_formats_carry_how_they_were_made(client, name):
    answer = client.images.generate(model="gpt-image-1", output_format=name.lower(), output_compression=80, **APPLE)
    image = decoded(answer.data[0].b64_json, name)
    comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert "Seed: 7" in comment.removeprefix(b"UNICODE\0").decode("utf-16-be")


def test_the_quality_decides_the_steps(client):
    answer = client.images.generate(prompt="a red apple", model="someone/house", quality="xhigh", response_format="url")
    request = read_request(httpx.get(answer.data[0].url).content)
    assert request["params"]["num_inference_steps"] == 6
    assert answer.quality == "xhigh"


def test_an_image_comes_as_a_stream_of_previews(client):
    with client.images.generate(
        prompt="a red apple", stream=True, partial_images=2, output_format="webp", extra_body={"seed": 7}
    ) as stream:
        *previews, last = list(stream)
    assert [type(event) for event in previews] == [ImageGenPartialImageEvent] * len(previews)
    assert 1 <= len(previews) <= 2
    assert [event.partial_image_index for event in previews] == list(range(len(previews)))
    for event in (*previews, last):
        decoded(event.b64_json, "WEBP")
        assert (event.size, event.output_format, event.background) == ("128x128", "webp", "opaque")
    assert isinstance(last, ImageGenCompletedEvent)
    assert last.usage.total_tokens == 0


def test_what_is_not_masked_stays(client, apple):
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 64, 128, 128))
    answer = client.images.edit(
        image=("apple.png", apple), mask=as_png(mask), prompt="a blue car", response_format="b64_json",
        extra_body={"seed": 3, "steps": 4},
    )  # fmt: skip
    before, after = (np.asarray(Image.open(BytesIO(data)), dtype=int)
                     for data in (apple, base64.b64decode(answer.data[0].b64_json)))  # fmt: skip
    assert np.abs(before - after)[:48].max() == 0
    assert np.abs(before - after)[72:].mean() > 3


def test_an_image_with_holes_is_its_own_mask(client, apple):
    holed = opened(apple).convert("RGBA")
    holed.paste((0, 0, 0, 0), (0, 0, 128, 40))
    answer = client.images.edit(
        image=as_png(holed), prompt="a blue car", response_format="b64_json", extra_body={"steps": 4}
    )
    request = read_request(base64.b64decode(answer.data[0].b64_json))
    assert request["kind"] == "inpaint"


def test_all_of_an_image_is_drawn_over_in_a_stream(client, apple):
    stream = client.images.edit(
        image=[apple], prompt="a green apple", stream=True, partial_images=1, input_fidelity="high", quality="high",
        extra_body={"seed": 3},
    )  # fmt: skip
    *previews, last = list(stream)
    assert [type(event) for event in previews] == [ImageEditPartialImageEvent]
    assert isinstance(last, ImageEditCompletedEvent)
    request = read_request(base64.b64decode(last.b64_json))
    assert request["kind"] == "img2img"
    assert (request["params"]["strength"], request["params"]["num_inference_steps"]) == (0.5, 40)


def test_several_images_are_beside_each_other_on_one_canvas(client):
    colours = [as_png(Image.new("RGB", (64, 128), colour)) for colour in ("red", "blue")]
    answer = client.images.edit(
        image=colours, prompt="two walls", size="128x128", response_format="b64_json",
        extra_body={"seed": 3, "strength": 0.05, "steps": 20},
    )  # fmt: skip
    image = np.asarray(opened(base64.b64decode(answer.data[0].b64_json)), dtype=int)
    left, right = image[:, :56].mean((0, 1)), image[:, 72:].mean((0, 1))
    assert left.argmax() == 0 and right.argmax() == 2


def test_variations_have_the_words_of_the_image(client, apple):
    answer = client.images.create_variation(image=apple, n=2, size="64x64", response_format="b64_json")
    images = [decoded(each.b64_json, size=(64, 64)) for each in answer.data]
    assert images[0].tobytes() != images[1].tobytes()
    assert answer.data[0].revised_prompt == "a red apple"


def test_variations_of_other_images_are_drawn_without_words(client, apple):
    bare = as_png(opened(apple).convert("RGB"))
    answer = client.images.create_variation(image=bare, extra_body={"steps": 4})
    data = httpx.get(answer.data[0].url).content
    opened(data)
    assert read_request(data)["params"]["guidance_scale"] == 1


def test_models_are_listed_and_retrieved(client):
    assert [model.id for model in client.models.list()] == ["house", "someone/house", "broken"]
    model = client.models.retrieve("someone/house")
    assert (model.id, model.object, model.owned_by) == ("someone/house", "model", "photogram")
    assert model.created > 1_700_000_000
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("none/such")
    assert caught.value.code == "model_not_found"


def test_a_job_that_fails_says_why_and_is_not_repeated(base_url):
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.images.generate(prompt="x", model="broken")
        assert caught.value.code == "model_unavailable"
        assert caught.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(openai.APIError, match="model"):
            list(client.images.generate(prompt="x", model="broken", stream=True))


async def test_the_asynchronous_client_does_the_same(base_url, apple):
    async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        drawn = await client.images.generate(model="gpt-image-1", **APPLE)
        decoded(drawn.data[0].b64_json)
        changed = await client.images.edit(image=apple, prompt="a cat", model="gpt-image-1", extra_body={"steps": 4})
        decoded(changed.data[0].b64_json)
        varied = await client.images.create_variation(image=apple, response_format="b64_json")
        decoded(varied.data[0].b64_json)
        events = [event async for event in await client.images.generate(stream=True, **APPLE)]
        assert [event.type for event in events] == ["image_generation.completed"]
        assert [model.id async for model in client.models.list()] == ["house", "someone/house", "broken"]
        with pytest.raises(openai.BadRequestError):
            await client.images.generate(prompt="x", n=0)


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"n": 11}, "n", "invalid_value"),
        ({"size": "9000x64"}, "size", "invalid_value"),
        ({"background": "transparent"}, "background", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"complexity": "high"}, "complexity", "unsupported_parameter"),
        ({"extra_body": {"bogus": 1}}, "bogus", "unknown_parameter"),
        ({"extra_body": {"sampler": "DPM adaptive"}}, "sampler", "invalid_value"),
    ],
)
def test_what_cannot_be_done_is_a_bad_request_that_names_the_parameter(client, given, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="x", **given)
    error = caught.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert param in str(error)


def test_an_unknown_model_and_an_unknown_key_have_errors_of_their_own(client, base_url):
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(prompt="x", model="none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0) as stranger:
        for call in (lambda: stranger.images.generate(prompt="x"), lambda: stranger.models.list()):
            with pytest.raises(openai.AuthenticationError):
                call()
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.models.retrieve("house")
    assert refused.value.code == "invalid_api_key"
