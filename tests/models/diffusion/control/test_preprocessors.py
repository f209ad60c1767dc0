"""Preprocessors on images whose condition image is known beforehand, and those with weights on tiny random models."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from transformers import (
    BeitConfig,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

from models.catalog.preprocessors import PREPROCESSORS, Preprocessor
from models.diffusion.control.ade20k import COLOURS
from models.diffusion.control.preprocessors import preprocess
from models.errors import DrawingFailed, ModelUnavailable

SIZE = (96, 64)
RUNNABLE = [each for each in PREPROCESSORS.values() if each.refusal is None]
WITHOUT_WEIGHTS = [each.name for each in RUNNABLE if each.weights is None]
WITH_WEIGHTS = [each.name for each in RUNNABLE if each.weights is not None]
REFUSED = [each for each in PREPROCESSORS.values() if each.refusal is not None]


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """A grey-blue ground, a black bar across it, a red disc, and noise of one grey level."""
    image = Image.new("RGB", SIZE, (150, 160, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 0, 43, 63), fill=(0, 0, 0))
    draw.ellipse((60, 20, 84, 44), fill=(220, 30, 30))
    noise = np.random.default_rng(0).integers(0, 2, (SIZE[1], SIZE[0], 3))
    return Image.fromarray((np.asarray(image) + noise).astype(np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random DPT as ``depth``, a random ZoeDepth, a random SegFormer."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    models = {
        "depth": DPTForDepthEstimation(DPTConfig(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=32,
            patch_size=8, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        )),
        "depth_zoe": ZoeDepthForDepthEstimation(ZoeDepthConfig(
            backbone_config=BeitConfig(
                hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64,
                patch_size=16, out_indices=[1, 2, 3, 4], use_relative_position_bias=True, reshape_hidden_states=False,
            ),
            neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, bottleneck_features=8, num_relative_features=8,
            bin_embedding_dim=8, num_attractors=[4, 4, 4, 4], patch_transformer_hidden_size=8,
            patch_transformer_intermediate_size=16, patch_transformer_num_attention_heads=2,
        )),
        "segmentation": SegformerForSemanticSegmentation(SegformerConfig(
            depths=[1, 1], num_encoder_blocks=2, sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
            strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=150,
        )),
    }  # fmt: skip
    processors = {
        "depth": DPTImageProcessor(size={"height": 32, "width": 32}),
        "depth_zoe": ZoeDepthImageProcessor(size={"height": 64, "width": 64}, ensure_multiple_of=16),
        "segmentation": SegformerImageProcessor(size={"height": 32, "width": 32}),
    }
    for tensor in models["depth_zoe"].parameters():
        tensor.data.normal_(std=0.3)  # as it is made, it predicts the same distance everywhere
    for name, model in models.items():
        model.save_pretrained(folder / name)
        processors[name].save_pretrained(folder / name)
    return {name: folder / name for name in models}


def run(name: str, image: Image.Image, weights: dict[str, Path] | None = None, **options: float) -> NDArray[np.int_]:
    """The condition image at the image's size, as numbers."""
    seed = int(options.pop("seed", 0))
    made = preprocess(name, image, size=image.size, seed=seed, weights=weights or {}, **options)
    assert made.mode == "RGB"
    assert made.size == image.size
    return np.asarray(made).astype(int)


@pytest.mark.parametrize("size", [(64, 96), (200, 136), (8, 8)])
@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_the_result_has_the_size_asked_for_and_is_always_the_same(
    scene: Image.Image, name: str, size: tuple[int, int]
) -> None:
    made = [preprocess(name, scene, size=size, seed=7, weights={}) for _ in range(2)]
    assert made[0].size == size
    assert made[0].mode == "RGB"
    assert made[0].tobytes() == made[1].tobytes()


def test_none_and_invert(scene: Image.Image) -> None:
    pixels = np.asarray(scene).astype(int)
    assert (run("none", scene) == pixels).all()
    assert (run("invert", scene) == 255 - pixels).all()


def test_an_image_with_transparency_or_in_grey_is_read_as_rgb(scene: Image.Image) -> None:
    assert (run("none", scene.convert("RGBA")) == run("none", scene)).all()
    assert (run("none", scene.convert("L"))[:, :, 0] == np.asarray(scene.convert("L"))).all()


def test_canny_finds_the_bar_and_the_disc_and_heeds_both_thresholds(scene: Image.Image) -> None:
    edges = run("canny", scene)
    assert set(np.unique(edges)) == {0, 255}
    assert edges[32, 36:48].any()
    assert not edges[:, 5:30].any()
    assert (edges[:, :, 0] == cv2.Canny(np.asarray(scene), 100, 200)).all()
    assert run("canny", scene, threshold_a=1, threshold_b=2).sum() > edges.sum()
    assert (run("canny", scene, threshold_a=30, threshold_b=60)[:, :, 0] == cv2.Canny(np.asarray(scene), 30, 60)).all()


def test_color_is_flat_in_squares_of_64_px() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    made = run("color", Image.fromarray(pixels))
    squares = made.reshape(2, 64, 3, 64, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    assert len(np.unique(made.reshape(-1, 3), axis=0)) == 6


def test_lines_are_white_on_black(scene: Image.Image) -> None:
    for name in ("lineart_standard", "scribble_xdog"):
        made = run(name, scene)
        assert made[32, 41].min() > 120, name
        assert made[:, 4:20].max() < 10, name


def test_lineart_standard_on_an_even_ground_is_black() -> None:
    assert run("lineart_standard", Image.new("RGB", SIZE, (90, 90, 90))).max() == 0


def test_a_higher_xdog_threshold_leaves_fewer_strokes(scene: Image.Image) -> None:
    ramp = np.tile(np.linspace(0, 250, 8).repeat(12).astype(np.uint8)[None, :, None], (64, 1, 3))
    strokes = [run("scribble_xdog", Image.fromarray(ramp), threshold_a=value).sum() for value in (1, 16, 64)]
    assert strokes[0] > strokes[1] > strokes[2] == 0
    assert run("scribble_xdog", scene, threshold_a=64).any()


def test_threshold_needs_all_three_channels_above_it(scene: Image.Image) -> None:
    expected = np.asarray(scene).min(axis=2) > 150
    assert ((run("threshold", scene, threshold_a=150) == 255) == expected[:, :, None]).all()
    assert run("threshold", scene)[2, 2].tolist() == [255, 255, 255]
    assert run("threshold", scene)[32, 72].tolist() == [0, 0, 0]


def test_tile_resample_loses_fine_detail_and_keeps_the_rest(scene: Image.Image) -> None:
    assert (run("tile_resample", scene) == np.asarray(scene)).all()
    coarse = run("tile_resample", scene, threshold_a=8)
    assert np.abs(coarse.mean((0, 1)) - np.asarray(scene).mean((0, 1))).max() < 3
    assert (
        np.abs(np.diff(coarse[:, :, 0], axis=1)).max() < np.abs(np.diff(np.asarray(scene)[:, :, 0].astype(int))).max()
    )


def test_shuffle_moves_colours_by_the_seed() -> None:
    ramp = Image.fromarray(np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8))
    first, again, other = (run("shuffle", ramp, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert np.abs(first - other).mean() > 10
    assert np.abs(first - np.asarray(ramp)).mean() > 10
    assert first.min() < 10
    assert first.max() > 245


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_with_weights_the_image_decides(scene: Image.Image, weights: dict[str, Path], name: str) -> None:
    made = run(name, scene, weights)
    assert (made == run(name, scene, weights)).all()
    assert (made != run(name, scene.rotate(180), weights)).any()


def test_depth_is_the_models_own_prediction(scene: Image.Image, weights: dict[str, Path]) -> None:
    processor = DPTImageProcessor.from_pretrained(weights["depth"])
    model = DPTForDepthEstimation.from_pretrained(weights["depth"])
    with torch.inference_mode():
        outputs = model(**processor(images=scene, return_tensors="pt"))
    near = processor.post_process_depth_estimation(outputs, target_sizes=[(64, 96)])[0]["predicted_depth"].numpy()
    near = (near - near.min()) / (near.max() - near.min())
    made = run("depth", scene, weights)
    assert np.abs(made[:, :, 0] - near * 255).max() <= 1
    assert (made.min(), made.max()) == (0, 255)


def test_distances_are_turned_round_and_the_margin_is_cut_off(scene: Image.Image, weights: dict[str, Path]) -> None:
    model = ZoeDepthForDepthEstimation.from_pretrained(weights["depth_zoe"])
    inputs = ZoeDepthImageProcessor.from_pretrained(weights["depth_zoe"])(images=scene, return_tensors="pt")
    with torch.inference_mode():
        padded = model(**inputs).predicted_depth[0].numpy()
    margin_y, margin_x = int(32**0.5 * 3), int(48**0.5 * 3)
    far = cv2.resize(padded, (96 + 2 * margin_x, 64 + 2 * margin_y), interpolation=cv2.INTER_CUBIC)
    far = far[margin_y:-margin_y, margin_x:-margin_x]
    low, high = np.percentile(far, (2, 85))
    made = run("depth_zoe", scene, weights)[:, :, 0]
    assert np.abs(made - 255 * (1 - ((far - low) / (high - low)).clip(0, 1))).max() <= 2
    assert made[far < low].min() > 250 > 5 > made[far > high].max()


def test_normals_look_ahead_where_it_is_far(scene: Image.Image, weights: dict[str, Path]) -> None:
    made, near = run("normal_map", scene, weights, threshold_a=0.5), run("depth", scene, weights)[:, :, 0]
    assert (made[near < 125] == [127, 127, 255]).all()
    assert (made[near > 130][:, :2] != 127).any()
    lengths = np.linalg.norm(made / 127.5 - 1, axis=2)
    assert np.abs(lengths - 1).max() < 0.02


def test_segmentation_uses_the_colours_of_ade20k(scene: Image.Image, weights: dict[str, Path]) -> None:
    assert COLOURS.shape == (150, 3)
    assert (COLOURS[[0, 2, 12, 149]] == [(120, 120, 120), (6, 230, 230), (150, 5, 61), (92, 0, 255)]).all()
    used = {tuple(colour) for colour in run("segmentation", scene, weights).reshape(-1, 3)}
    assert len(used) > 1
    assert used <= {tuple(int(value) for value in colour) for colour in COLOURS}


def test_a_segmenter_of_other_classes_is_refused(scene: Image.Image, tmp_path: Path, weights: dict[str, Path]) -> None:
    config = SegformerConfig.from_pretrained(weights["segmentation"], num_labels=19)
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    SegformerImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="19 classes"):
        run("segmentation", scene, {"segmentation": tmp_path})


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_absent_weights(scene: Image.Image, name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=f"{name}.*needs weights.*catalog as '{PREPROCESSORS[name].weights}'"):
        run(name, scene)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        run(name, scene, {str(PREPROCESSORS[name].weights): tmp_path})


@pytest.mark.parametrize("known", REFUSED, ids=lambda known: known.name)
def test_what_cannot_be_run_says_why(scene: Image.Image, known: Preprocessor) -> None:
    with pytest.raises(DrawingFailed) as caught:
        run(known.name, scene)
    assert str(known.refusal) in str(caught.value)


def test_an_unknown_preprocessor(scene: Image.Image) -> None:
    with pytest.raises(DrawingFailed, match="no preprocessor 'telepathy'"):
        run("telepathy", scene)


@pytest.mark.parametrize(
    ("name", "options"),
    [("canny", {"threshold_a": 0}), ("canny", {"threshold_b": 256}), ("tile_resample", {"threshold_a": 100})],
)
def test_a_threshold_out_of_its_range(scene: Image.Image, name: str, options: dict[str, float]) -> None:
    with pytest.raises(DrawingFailed, match=r"threshold_[ab] \(.*\) must be from"):
        run(name, scene, **options)
