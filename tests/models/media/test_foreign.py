"""Images of other programs, whose metadata is made here in their exact form, read as A1111's settings."""

from __future__ import annotations

import json
import zlib
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.media.foreign import foreign_infotext
from models.media.infotext import parse_parameters
from models.media.png import read_texts
from models.media.texts import TEXTS_MAX_BYTES

COMFYUI = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 156680208700286, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras",
        "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SDXL/sd_xl_base_1.0.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["12", 0], "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["10", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "film.safetensors", "strength_model": 0.7,
                                                  "strength_clip": 0.8, "model": ["4", 0], "clip": ["4", 1]}},
    "12": {"class_type": "PrimitiveString", "inputs": {"value": "a glass bottle, (galaxy:1.2)"}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip
INVOKEAI = {
    "generation_mode": "txt2img", "positive_prompt": "a red apple", "negative_prompt": "blurry", "width": 512,
    "height": 640, "seed": 42, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k",
    "model": {"key": "k", "hash": "h", "name": "dreamshaper-8", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "film", "base": "sd-1"}, "weight": 0.75}], "app_version": "5.4.0",
}  # fmt: skip
SD_METADATA = {
    "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "app_version": "2.3.0",
    "image": {"prompt": [{"prompt": "a red apple [blurry]", "weight": 1}], "steps": 50, "cfg_scale": 7.5, "seed": 7,
              "width": 512, "height": 512, "sampler": "k_euler_a", "type": "txt2img"},
}  # fmt: skip
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "guidance_scale": 4, "prompt": "a red apple",
    "negative_prompt": "blurry", "performance": "Speed", "refiner_model": "None", "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "3317", "sharpness": 2, "steps": 30,
    "styles": "['Fooocus V2']", "version": "Fooocus v2.5.5", "loras": [["film", 0.5, "abcdef"]],
}  # fmt: skip
NOVELAI = {"steps": 28, "sampler": "k_euler_ancestral", "seed": 1, "strength": 0.7, "scale": 11.0, "uc": "blurry"}
CIVITAI = """a red apple
Negative prompt: blurry
Steps: 25, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 832x1216, Clip skip: 2, Created Date: 2024-10-11T12:34:56Z, \
Civitai resources: [{"type":"checkpoint","modelVersionId":1,"modelName":"Mix, v3","modelVersionName":"a: b"},\
{"type":"lora","weight":0.8,"modelVersionId":2}], Civitai metadata: {}, Version: v1.0"""


def png(**texts: str) -> bytes:
    info, buffer = PngInfo(), BytesIO()
    for name, text in texts.items():
        info.add_itxt(name.replace("__", " "), text, zip=len(text) > 500)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def with_exif(name: str, tags: dict[int, str], comment: bytes = b"") -> bytes:
    exif, buffer = Image.Exif(), BytesIO()
    for tag, text in tags.items():
        exif[tag] = text
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (8, 8)).save(buffer, name, exif=exif)
    return buffer.getvalue()


GRAPH = json.dumps(COMFYUI)
COMFY_SAYS = {
    "Prompt": "a glass bottle, (galaxy:1.2) <lora:film:0.8:0.7>", "Negative prompt": "text, watermark", "Steps": "20",
    "Sampler": "dpmpp_2m_sde", "Schedule type": "Karras", "CFG scale": "8.0", "Seed": "156680208700286",
    "Size-1": "512", "Size-2": "768", "Model": "sd_xl_base_1.0",
}  # fmt: skip
SAMPLES = {
    "ComfyUI": (png(prompt=GRAPH, workflow='{"nodes": [], "links": []}'), COMFY_SAYS),
    "ComfyUI WebP": (with_exif("WEBP", {0x0110: f"prompt:{GRAPH}", 0x010F: 'workflow:{"nodes": []}'}), COMFY_SAYS),
    "ComfyUI JPEG": (with_exif("JPEG", {0x010F: f"Prompt: {GRAPH}"}), COMFY_SAYS),
    "InvokeAI": (png(invokeai_metadata=json.dumps(INVOKEAI)),
                 {"Prompt": "a red apple <lora:film:0.75>", "Negative prompt": "blurry", "Steps": "30", "Seed": "42",
                  "Sampler": "dpmpp_2m", "Schedule type": "Karras", "Size-2": "640", "Model": "dreamshaper-8"}),
    "InvokeAI 2": (png(**{"sd-metadata": json.dumps(SD_METADATA)}),
                   {"Prompt": "a red apple", "Negative prompt": "blurry", "Steps": "50", "Sampler": "k_euler_a"}),
    "Dream": (png(Dream='"a red apple [blurry]" -s 50 -S 1793636136 -W 512 -H 448 -C 7.5 -A k_lms'),
              {"Prompt": "a red apple", "Negative prompt": "blurry", "Seed": "1793636136", "Size-2": "448",
               "Sampler": "k_lms", "CFG scale": "7.5"}),
    "Fooocus": (png(parameters=json.dumps(FOOOCUS), fooocus_scheme="fooocus"),
                {"Prompt": "a red apple <lora:film:0.5>", "Size-1": "1152", "Size-2": "896", "Seed": "3317",
                 "Model": "juggernautXL_v8", "CFG scale": "4", "Schedule type": "karras"}),
    "Fooocus JPEG": (with_exif("JPEG", {}, b"UNICODE\0" + json.dumps(FOOOCUS).encode("utf-16-be")),
                     {"Prompt": "a red apple <lora:film:0.5>", "Steps": "30"}),
    "Fooocus a1111": (png(parameters="a red apple\nNegative prompt: blurry\nSteps: 30, Sampler: DPM++ 2M SDE, Seed: 1, "
                          'Size: 1152x896, CFG scale: 4, Sharpness: 2, ADM Guidance: "(1.5, 0.8, 0.3)", Version: F',
                          fooocus_scheme="a1111"), {"Steps": "30", "ADM Guidance": "(1.5, 0.8, 0.3)"}),
    "NovelAI": (png(Software="NovelAI", Title="AI generated image", Description="a red apple", Source="SD 1",
                    Comment=json.dumps(NOVELAI)),
                {"Prompt": "a red apple", "Negative prompt": "blurry", "Sampler": "k_euler_ancestral", "Steps": "28",
                 "CFG scale": "11.0"}),
    "Civitai": (with_exif("JPEG", {}, b"UNICODE\0" + CIVITAI.encode("utf-16-le")),
                {"Size-2": "1216", "Version": "v1.0", "Civitai metadata": "{}", "Seed": "5"}),
    "Civitai ComfyUI": (with_exif("JPEG", {}, b"UNICODE\0" + json.dumps({
        "3": {"class_type": "KSampler"}, "extraMetadata": json.dumps({
            "prompt": "a red apple", "negativePrompt": "blurry", "steps": 25, "cfgScale": 7, "sampler": "Euler",
            "seed": 9})}).encode("utf-16-be")), {"Prompt": "a red apple", "CFG scale": "7", "Seed": "9"}),
    "Forge": (png(parameters="a red apple\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, "
                  "Distilled CFG Scale: 3.5, Seed: 1, Size: 896x1152, Model: flux1-dev, Version: f2.0.1"),
              {"Schedule type": "Simple", "Distilled CFG Scale": "3.5", "Model": "flux1-dev"}),
    "SD.Next": (png(parameters="a red apple\nNegative prompt: x\nSteps: 20, Size: 512x512, Seed: 1, Sampler: Euler a, "
                    "CFG scale: 6, App: SD.Next, Version: 1ab2c3d, Pipeline: StableDiffusionPipeline"),
                {"App": "SD.Next", "Sampler": "Euler a"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_other_programs_images_are_read(name):
    data, expected = SAMPLES[name]
    said = parse_parameters(read_texts(data)[0])
    assert {each: said.get(each) for each in expected} == expected


def test_what_a_program_wrote_stays_among_the_items():
    _, items = read_texts(SAMPLES["ComfyUI"][0])
    assert json.loads(items["prompt"]) == COMFYUI and "workflow" in items
    assert parse_parameters(CIVITAI)["Civitai resources"].startswith('[{"type":"checkpoint"')
    assert json.loads(parse_parameters(CIVITAI)["Civitai resources"])[1]["weight"] == 0.8


@pytest.mark.parametrize(
    "code", [b"UNICODE\0\xff\xfe" + "a café".encode("utf-16-le"), b"UNICODE\0\xfe\xff" + "a café".encode("utf-16-be"),
             b"UNICODE\0" + "a café".encode(), b"\0" * 8 + "a café".encode(), "\ufeffa café".encode("utf-16-le"),
             "\ufeffa café".encode(), b"UNICODE\0" + "a café\0".encode("utf-16-be")]
)  # fmt: skip
def test_comments_in_every_spelling(code):
    assert read_texts(with_exif("JPEG", {}, code))[0] == "a café"


def test_texts_after_the_pixels_and_packed_ones_are_read():
    plain = png()
    chunk = b"zTXtparameters\0\0" + zlib.compress(b"a cat")
    after = plain[:-12] + (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + plain[-12:]
    assert read_texts(after)[0] == "a cat"


def test_a_small_file_unfolds_to_a_bounded_text():
    chunks = b""
    for number in range(60):
        chunk = b"zTXtc%d\0\0" % number + zlib.compress(b"x" * 1_000_000)
        chunks += (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    plain = png()
    data = plain[:-12] + chunks + plain[-12:]
    info, items = read_texts(data)
    assert len(data) < 100_000 and sum(map(len, items.values())) + len(info) <= TEXTS_MAX_BYTES


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-9, 9)
    | st.sampled_from(["", "a", "3", "<lora:x>", "(1, 2)"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["inputs", "prompt", "image", "model", "positive", "negative", "steps", "text", "loras", "name",
                         "base_model", "resolution", "latent_image", "width", "lora_name", "3", "extraMetadata"]),
        inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
CHUNKS = st.sampled_from(
    ["prompt", "parameters", "invokeai_metadata", "sd-metadata", "Comment", "UserComment", "Dream"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(CHUNKS, JSON.map(json.dumps) | st.text('"[a]-s 1', max_size=12), max_size=3), st.booleans())
def test_no_metadata_is_a_surprise(texts, is_novelai):
    text = foreign_infotext({**texts, **({"Software": "NovelAI"} if is_novelai else {})})
    assert text is None or isinstance(parse_parameters(text), dict)
