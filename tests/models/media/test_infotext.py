"""A1111's texts, read back: ours, those that A1111 itself writes, and anything else."""

from __future__ import annotations

import time
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from models.catalog.families import TXT2IMG
from models.catalog.samplers import SAMPLERS, find_sampler
from models.errors import UnreadableImage
from models.jobs.params import DrawParams, LoraUse, Variation
from models.jobs.prompts import extract_loras
from models.media.infotext import a1111_parameters, parse_parameters
from models.media.png import encode, read_texts

PARAMS = DrawParams(
    prompt="a cat", negative_prompt="rain", model="house", sampler="DPM++ 2M", num_inference_steps=20,
    guidance_scale=7.5, seed=4294967295, width=512, height=384,
)  # fmt: skip
THEIRS = """masterpiece, (cat:1.2)
on two lines
Negative prompt: bad, worse
even worse
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 3, Size: 512x768, Model hash: 6ce0161689, \
Model: v1-5-pruned, Lora hashes: "film: 1234, grain: \\"5\\"", Hires resize: 1024x1536, Version: v1.10.1"""


def test_what_a1111_writes_is_read():
    assert parse_parameters(THEIRS) == {
        "Prompt": "masterpiece, (cat:1.2)\non two lines", "Negative prompt": "bad, worse\neven worse",
        "Clip skip": "1", "Schedule type": "Karras", "Steps": "25", "Sampler": "DPM++ 2M", "CFG scale": "7",
        "Seed": "3", "Size-1": "512", "Size-2": "768", "Model hash": "6ce0161689", "Model": "v1-5-pruned",
        "Lora hashes": 'film: 1234, grain: "5"', "Hires resize-1": "1024", "Hires resize-2": "1536",
        "Version": "v1.10.1",
    }  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_found_again(sampler):
    said = parse_parameters(a1111_parameters(TXT2IMG, replace(PARAMS, sampler=sampler)))
    assert find_sampler(said["Sampler"], said["Schedule type"]) == sampler


@pytest.mark.parametrize(
    ("variation", "strength"), [(None, None), (Variation(seed=8, strength=0.0), None), (Variation(seed=8), "0.1")]
)
def test_a_variation_is_said_if_it_has_an_effect(variation, strength):
    said = parse_parameters(a1111_parameters(TXT2IMG, replace(PARAMS, variation=variation)))
    assert (said.get("Variation seed"), said.get("Variation seed strength")) == (strength and "8", strength)


@pytest.mark.parametrize("number", [7.0, 7.5, 0.1 + 0.2, 1e-7, 50.0, 3.123456789012345])
def test_numbers_lose_nothing(number):
    params = replace(PARAMS, guidance_scale=number, loras=(LoraUse(name="film", weight=-number),))
    said = parse_parameters(a1111_parameters(TXT2IMG, params))
    assert float(said["CFG scale"]) == number and "e" not in said["CFG scale"]
    assert float(said["Prompt"].rpartition(":")[2].rstrip(">")) == -number


def test_two_weights_of_a_lora_are_written_as_a1111_reads_them():
    uses = (LoraUse(name="film", weight=0.7, text_encoder_weight=0.8), LoraUse(name="ink", weight=0.5))
    text = a1111_parameters(TXT2IMG, replace(PARAMS, loras=uses))
    assert text.startswith("a cat <lora:film:0.8:0.7> <lora:ink:0.5>")
    tags = extract_loras(parse_parameters(text)["Prompt"])[1]
    assert tuple(LoraUse(**tag._asdict()) for tag in tags) == uses


@pytest.mark.parametrize(
    ("text", "prompt"), [("a cat", "a cat"), ("a: b, c: d", "a: b, c: d"), ("x\n\n", "x"), ("Steps: 2", "Steps: 2")]
)
def test_a_text_without_settings_is_all_prompt(text, prompt):
    assert parse_parameters(text)["Prompt"] == prompt and "Steps" not in parse_parameters(text)


def test_no_text_has_no_settings():
    assert parse_parameters("") == parse_parameters(" \n ") == {}


@pytest.mark.parametrize(
    "text",
    ['a: "' * 100_000, "a" * 1_000_000, 'a: "\\"' * 100_000, "," * 500_000, ": " * 500_000, '"' * 500_000,
     " " * 500_000 + "x", "\n" * 500_000 + "x", "a:" + " " * 500_000 + "b", 'a: "\ud800", b: "\\ud800", c: "\\x"'],
)  # fmt: skip
def test_any_text_is_read_in_time_linear_in_its_length(text):
    def parse_s(part: str) -> float:
        started_at = time.process_time()
        parse_parameters(part)
        return time.process_time() - started_at

    # Four times the text in four times the time is linear; sixteen times would be quadratic.
    whole_s, quarter_s = (min(parse_s(part) for _ in range(2)) for part in (text, text[: len(text) // 4]))
    assert whole_s < 10 * quarter_s + 0.05


def saved(name: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.effect_noise((16, 16), 50).convert("RGB").save(buffer, name, **options)
    return buffer.getvalue()


def exif(comment: bytes) -> Image.Exif:
    made = Image.Exif()
    made.get_ifd(0x8769)[0x9286] = comment
    return made


@pytest.mark.parametrize("name", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "a café in 東京".encode("utf-16-be"),
        b"UNICODE\0" + "a café in 東京".encode("utf-16-le"),
        "a café in 東京".encode(),
    ],
)
def test_exif_comments_are_read(name, comment):
    assert read_texts(saved(name, exif=exif(comment))) == ("a café in 東京", {})


def test_texts_of_other_formats():
    assert read_texts(saved("JPEG", exif=exif(b"ASCII\0\0\0a cat"))) == ("a cat", {})
    assert read_texts(saved("GIF", comment=b"a cat")) == ("a cat", {})
    assert read_texts(saved("BMP")) == read_texts(saved("PNG")) == ("", {})
    info, items = read_texts(encode(Image.new("RGB", (8, 8)), TXT2IMG, PARAMS))
    assert info == a1111_parameters(TXT2IMG, PARAMS) and list(items) == ["photogram"]


def test_damage_anywhere_is_no_surprise():
    for data in (saved("JPEG", exif=exif(b"UNICODE\0\0a")), encode(Image.new("RGB", (8, 8)), TXT2IMG, PARAMS)):
        for place in range(0, len(data), 2):
            for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
                try:
                    text, items = read_texts(broken)
                except UnreadableImage:
                    continue
                assert isinstance(text, str) and all(isinstance(item, str) for item in items.values())


SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (", Version: v1.6\nTemplate: a {red|blue} cat, sitting\nNegative Template: blurry, {a|b}",
         {"Version": "v1.6", "Template": "a {red|blue} cat, sitting", "Negative Template": "blurry, {a|b}"}),
        ("\nTemplate: a __colour__ cat\non two lines", {"Template": "a __colour__ cat\non two lines"}),
        (", Hires prompt: a cat\nin the rain, Hires upscale: 2",
         {"Hires prompt": "a cat\nin the rain", "Hires upscale": "2"}),
        (', Civitai resources: [{"modelName": "a, b: c"}, {"weight": 1}], Clip skip: 2',
         {"Civitai resources": '[{"modelName": "a, b: c"}, {"weight": 1}]', "Clip skip": "2"}),
        (", Hashes: {\"model\": \"1, 2\"}", {"Hashes": '{"model": "1, 2"}'}),
        (", Odd: [not json, Clip skip: 2", {"Odd": "[not json", "Clip skip": "2"}),
    ],
)  # fmt: skip
def test_settings_that_are_not_on_the_last_line_alone(tail, expected):
    said = parse_parameters(f"a cat\nNegative prompt: rain\n{SETTINGS}{tail}")
    assert (said["Prompt"], said["Negative prompt"], said["Steps"], said["Seed"]) == ("a cat", "rain", "20", "1")
    assert {name: said[name] for name in expected} == expected
