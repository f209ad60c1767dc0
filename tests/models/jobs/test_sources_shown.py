"""What others see of URLs with credentials: nothing of the credentials, whichever field they are in."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

from PIL import Image

from models.catalog.catalog import Catalog
from models.jobs.params import Control, DrawRequest, Mask
from models.jobs.sources import shown_params
from models.jobs.tickets import complete
from models.media import png

SECRET = "https://user:secret@example.org/a.png?x=@"


def test_credentials_are_not_shown() -> None:
    request = DrawRequest(kind="inpaint", prompt="a@b", image=SECRET, mask=Mask(image=SECRET))
    params = replace(complete(request, Catalog({})), controls=(Control(model="canny", image=SECRET),))  # type: ignore[type-var]
    assert list(params.sources) == [SECRET] * 3
    shown = shown_params(params)
    assert set(shown.sources) == {"https://example.org/a.png?x=@"}
    assert "secret" not in str(shown.to_payload()) and shown.to_payload()["prompt"] == "a@b"
    assert shown_params(shown) == shown


def test_credentials_are_not_in_images() -> None:
    params = complete(DrawRequest(kind="img2img", prompt="x", image=SECRET), Catalog({}))
    assert b"secret" not in png.encode(Image.new("RGB", (8, 8)), "img2img", params)
    assert Image.open(BytesIO(png.encode(Image.new("RGB", (8, 8)), "img2img", params))).info["photogram"]
