"""Prompts' encodings: bit for bit diffusers' own where diffusers has an answer, and by definition beyond that."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from models.catalog.catalog import house_spec
from models.diffusion.text import Embedding, TextEncoding, count_tokens, encode_clip, load_embedding
from models.diffusion.text.chunks import MAX_CHUNKS, split
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.prompts import UnsupportedPromptSyntax
from tests.tiny import POOLED_WIDTH, TEXT_WIDTH, build_tiny_house, build_tiny_sd, build_tiny_sdxl

CPU = torch.device("cpu")
SHORT = ["", "a cat, a dog", "UPPER and lower-case! 2 + 2", "x" * 75]
Texts = Mapping[str, Embedding]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("text")
    return {
        "sd": build_tiny_sd(folder / "sd"),
        "sdxl": build_tiny_sdxl(folder / "sdxl"),
        "house": build_tiny_house(folder / "house"),
    }


@pytest.fixture(scope="module")
def sd(folders: dict[str, Path]) -> Any:
    return deepened(open_plain(folders["sd"]))


@pytest.fixture(scope="module")
def sdxl(folders: dict[str, Path]) -> Any:
    return deepened(open_plain(folders["sdxl"]))


@pytest.fixture(scope="module")
def tiny_bert(folders: dict[str, Path]) -> Any:
    return open_plain(folders["house"])


@pytest.fixture(scope="module")
def house() -> Any:
    """The built-in model itself."""
    folder = house_spec().folder
    assert folder is not None
    return open_plain(folder)


def open_plain(folder: Path) -> Any:
    index = (folder / "model_index.json").read_text(encoding="utf-8")
    is_sdxl = "StableDiffusionXL" in index
    options: dict[str, Any] = {} if is_sdxl else {"safety_checker": None, "requires_safety_checker": False}
    return DiffusionPipeline.from_pretrained(folder, **options)


def deepened(pipeline: Any) -> Any:
    """With text encoders of four layers and a mean that is not zero, so that layers can be skipped and means kept."""
    torch.manual_seed(1)
    for name, model_class in (("text_encoder", CLIPTextModel), ("text_encoder_2", CLIPTextModelWithProjection)):
        if getattr(pipeline, name, None) is not None:
            config = getattr(pipeline, name).config
            config.num_hidden_layers = 4
            model = model_class(config).eval()
            getattr(model, "text_model", model).final_layer_norm.bias.data += 0.5
            setattr(pipeline, name, model)
    return pipeline


def encode(pipeline: Any, *prompts: str | None, clip_skip: int = 1, embeddings: Texts | None = None) -> Any:
    return encode_clip(pipeline, prompts, clip_skip=clip_skip, embeddings=embeddings or {}, device=CPU)


def states(pipeline: Any, prompt: str, **options: Any) -> torch.Tensor:
    (encoding,) = encode(pipeline, prompt, **options)
    assert isinstance(encoding, TextEncoding)
    return encoding.hidden_states


@torch.no_grad()
def by_diffusers(pipeline: Any, prompt: str, negative: str | None, clip_skip: int | None = None) -> Any:
    """The negative prompt's and the prompt's hidden states, for SDXL each with the pooled embedding."""
    options = {"device": CPU, "num_images_per_prompt": 1, "do_classifier_free_guidance": True, "clip_skip": clip_skip}
    encoded = pipeline.encode_prompt(prompt, negative_prompt=negative, **options)
    prompted, without, pooled, pooled_without = (*encoded, None, None)[:4]
    return (without, pooled_without), (prompted, pooled)


def check_equal(encodings: tuple[TextEncoding, ...], expected: Any) -> None:
    for encoding, (hidden_states, pooled) in zip(encodings, expected, strict=True):
        assert torch.equal(encoding.hidden_states, hidden_states)
        assert (encoding.pooled is None) == (pooled is None)
        assert pooled is None or torch.equal(encoding.pooled, pooled)


@pytest.mark.parametrize("prompt", SHORT)
@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_a_plain_prompt_is_encoded_as_by_diffusers(request: pytest.FixtureRequest, model: str, prompt: str) -> None:
    pipeline = request.getfixturevalue(model)
    check_equal(encode(pipeline, "ugly", prompt), by_diffusers(pipeline, prompt, "ugly"))


@pytest.mark.parametrize("prompt", ["", "a red apple", "abc def", "x" * 22])
@pytest.mark.parametrize("model", ["tiny_bert", "house"])
def test_so_is_one_for_an_encoder_that_is_not_clip(request: pytest.FixtureRequest, model: str, prompt: str) -> None:
    pipeline = request.getfixturevalue(model)
    check_equal(encode(pipeline, "ugly", prompt), by_diffusers(pipeline, prompt, "ugly"))


def test_escaped_brackets_and_lora_tags_leave_a_plain_prompt(sd: Any) -> None:
    _, (expected, _) = by_diffusers(sd, "a (cat)", "")
    assert torch.equal(states(sd, r"a \(cat\)<lora:x:0.5>"), expected)


@pytest.mark.parametrize(("clip_skip", "diffusers_clip_skip"), [(1, None), (2, 1), (4, 3)])
def test_clip_skip(sd: Any, monkeypatch: pytest.MonkeyPatch, clip_skip: int, diffusers_clip_skip: int | None) -> None:
    # diffusers 0.42.1 looks for an attribute that transformers 5.6 did away with (diffusers issue 14124)
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda model: model), raising=False)
    _, (expected, _) = by_diffusers(sd, "a cat", "", diffusers_clip_skip)
    assert torch.equal(states(sd, "a cat", clip_skip=clip_skip), expected)


@pytest.mark.parametrize(("clip_skip", "diffusers_clip_skip"), [(1, None), (2, None), (3, 1), (4, 2)])
def test_clip_skip_of_sdxl(sdxl: Any, clip_skip: int, diffusers_clip_skip: int | None) -> None:
    _, expected = by_diffusers(sdxl, "a cat", "", diffusers_clip_skip)
    check_equal(encode(sdxl, "a cat", clip_skip=clip_skip), [expected])


def test_the_refiners_single_encoder_is_sdxls_second(folders: dict[str, Path]) -> None:
    refiner = DiffusionPipeline.from_pretrained(folders["sdxl"], text_encoder=None, tokenizer=None)
    check_equal(encode(refiner, "ugly", "a cat"), by_diffusers(refiner, "a cat", "ugly"))
    toy = made_up("toy", 1, TEXT_WIDTH, TEXT_WIDTH)
    plain, with_toy = states(refiner, "a toy"), states(refiner, "a toy", embeddings={"toy": toy})
    other = Embedding("toy", (torch.zeros(1, 99), toy.vectors[1]))  # the first encoder's part does not matter
    assert not torch.equal(plain, with_toy)
    assert torch.equal(with_toy, states(refiner, "a toy", embeddings={"toy": other}))


def test_layers_that_are_not_there_are_refused(sd: Any, house: Any) -> None:
    for clip_skip in (0, 5):
        with pytest.raises(DrawingFailed, match="clip_skip must be from 1 to 4"):
            encode(sd, "a cat", clip_skip=clip_skip)
    with pytest.raises(DrawingFailed, match="not CLIP"):
        encode(house, "a cat", clip_skip=2)


@pytest.mark.parametrize("model", ["sd", "sdxl", "tiny_bert", "house"])
def test_a_long_prompt_is_its_chunks_side_by_side(request: pytest.FixtureRequest, model: str) -> None:
    pipeline = request.getfixturevalue(model)
    room = pipeline.tokenizer.model_max_length - 2
    words = ["a", "7", "b", "9", "c"] * room
    full, rest = " ".join(words[:room]), " ".join(words[room : room + 5])
    short, long = encode(pipeline, "cat", f"{full} {rest}")
    first, second, cat, empty = (by_diffusers(pipeline, text, "")[1] for text in (full, rest, "cat", ""))
    check_equal((long,), [(torch.cat([first[0], second[0]], dim=1), first[1])])
    check_equal((short,), [(torch.cat([cat[0], empty[0]], dim=1), cat[1])])


def test_break_starts_a_chunk(sd: Any) -> None:
    expected = torch.cat([by_diffusers(sd, text, "")[1][0] for text in ("a cat", "", "a dog")], dim=1)
    assert torch.equal(states(sd, "a cat BREAK BREAK a dog BREAK"), expected)


def lengths(tokenizer: Any, prompt: str, embeddings: Texts | None = None) -> list[int]:
    return [sum(len(unit.ids) for unit in chunk) for chunk in split(tokenizer, prompt, embeddings or {})]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (75, 0, [75]),
        (76, 0, [75, 1]),
        (70, 10, [71, 10]),  # the comma is the chunk's 71st token
        (55, 25, [56, 25]),  # its 56th: with 19 after it, just within reach
        (54, 25, [75, 5]),
        (74, 3, [75, 3]),
        (75, 3, [75, 4]),  # the comma is the first that does not fit
        (75, 80, [75, 75, 6]),
    ],
)
def test_chunks_end_at_a_comma_near_their_end(sd: Any, before: int, after: int, expected: list[int]) -> None:
    assert lengths(sd.tokenizer, "x" * before + ("," + "y" * after if after else "")) == expected


def test_short_chunks_give_up_a_third_of_themselves_at_most(tiny_bert: Any) -> None:
    words = ["a"] * 40
    assert lengths(tiny_bert.tokenizer, " ".join(words)) == [22, 18]
    tokenizer = open_plain(Path(house_spec().folder or "")).tokenizer
    assert lengths(tokenizer, " ".join(["a"] * 15 + [","] + ["a"] * 10)) == [16, 10]
    assert lengths(tokenizer, " ".join(["a"] * 14 + [","] + ["a"] * 10)) == [22, 3]


def test_too_long_a_prompt_is_refused(sd: Any) -> None:
    assert len(split(sd.tokenizer, "a BREAK " * MAX_CHUNKS, {})) == MAX_CHUNKS
    with pytest.raises(DrawingFailed, match=f"at most {MAX_CHUNKS} are allowed"):
        encode(sd, "a BREAK " * (MAX_CHUNKS + 1))


def test_weights_multiply_hidden_states_and_keep_the_mean(sd: Any) -> None:
    plain = states(sd, "ab c")
    expected = plain.clone()
    expected[0, 1:3] *= 1.5  # after the start token: a, b, then c
    expected[0, 3] *= 0.2
    expected *= plain.mean() / expected.mean()
    weighed = states(sd, "(ab:1.5) (c:0.2)")
    torch.testing.assert_close(weighed, expected, rtol=1e-5, atol=1e-6)
    assert weighed.mean().item() == pytest.approx(plain.mean().item(), rel=1e-4)
    assert torch.equal(states(sd, "(ab:1.0) [(c)]"), plain)


def test_a_mean_that_is_hardly_there_is_not_divided_by(folders: dict[str, Path]) -> None:
    centred = open_plain(folders["sd"])  # layers are normalised, and nothing was learnt to be added to them
    plain = states(centred, "ab c")
    assert plain.mean().abs() < 1e-6
    expected = plain.clone()
    expected[0, 3] *= 2
    assert torch.equal(states(centred, "ab (c:2)"), expected)


@pytest.mark.parametrize("model", ["sdxl", "house"])
def test_elsewhere_weights_touch_nothing_but_their_tokens(request: pytest.FixtureRequest, model: str) -> None:
    pipeline = request.getfixturevalue(model)
    (plain,), (heavy,) = encode(pipeline, "a 7 b"), encode(pipeline, "a (7:1.5) b")
    factors = torch.ones(plain.hidden_states.shape[1], 1)
    factors[2] = 1.5
    assert torch.equal(heavy.hidden_states, (plain.hidden_states * factors).to(plain.hidden_states.dtype))
    assert plain.pooled is None or torch.equal(plain.pooled, heavy.pooled)


def test_prompts_do_not_depend_on_those_they_are_encoded_with(sdxl: Any) -> None:
    (alone,) = encode(sdxl, "a (cat:1.3)")
    for together in (encode(sdxl, "ugly", "a (cat:1.3)")[1], encode(sdxl, "a (cat:1.3)", "x BREAK y")[0]):
        assert torch.equal(together.hidden_states[:, :77], alone.hidden_states)
        assert torch.equal(together.pooled, alone.pooled)


def test_no_prompt_is_zeros_for_sdxl(sdxl: Any) -> None:
    check_equal(encode(sdxl, None, "a cat"), by_diffusers(sdxl, "a cat", None))
    nothing, long = encode(sdxl, None, "a BREAK b")
    assert nothing.hidden_states.shape == long.hidden_states.shape and not nothing.hidden_states.any()
    assert nothing.pooled.shape == (1, POOLED_WIDTH) and not nothing.pooled.any()
    (alone,) = encode(sdxl, None)
    assert alone.hidden_states.shape == (1, 77, 2 * TEXT_WIDTH) and not alone.hidden_states.any()


def test_no_prompt_is_an_empty_one_where_nothing_says_zeros(sd: Any, tmp_path: Path) -> None:
    assert torch.equal(encode(sd, None)[0].hidden_states, states(sd, ""))
    unforced = open_plain(build_tiny_sdxl(tmp_path, force_zeros=False))
    check_equal(encode(unforced, None, "a cat"), by_diffusers(unforced, "a cat", None))


def test_unsupported_syntax_is_refused(sd: Any) -> None:
    with pytest.raises(UnsupportedPromptSyntax):
        encode(sd, "a [cat|dog]")


def test_tokens_are_counted_without_special_ones(sd: Any, house: Any) -> None:
    assert count_tokens(sd.tokenizer, "") == 0
    assert count_tokens(sd.tokenizer, "(abc:1.2), d BREAK e<lora:x:1>") == 6
    assert count_tokens(house.tokenizer, "a red apple") == 3


def made_up(name: str, length: int, *widths: int) -> Embedding:
    """An embedding that no text gives, the same at each call."""
    generator = torch.Generator().manual_seed(length)
    return Embedding(name, tuple(torch.randn(length, width, generator=generator) for width in widths))


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_embeddings_do_what_diffusers_does_with_them(
    folders: dict[str, Path], sd: Any, sdxl: Any, model: str, length: int
) -> None:
    shared = {"sd": sd, "sdxl": sdxl}[model]
    plain = deepened(open_plain(folders[model]))
    suffixes = [""] if model == "sd" else ["", "_2"]
    embedding = made_up("toy", length, *[TEXT_WIDTH] * len(suffixes))
    for suffix, vectors in zip(suffixes, embedding.vectors, strict=True):
        tokenizer, text_encoder = getattr(plain, f"tokenizer{suffix}"), getattr(plain, f"text_encoder{suffix}")
        plain.load_textual_inversion({"toy": vectors}, token="toy", tokenizer=tokenizer, text_encoder=text_encoder)
    expected = by_diffusers(plain, "a toy, in a box", "toy")
    check_equal(encode(shared, "toy", "a toy, in a box", embeddings={"toy": embedding}), expected)


def test_embeddings_change_nothing_that_is_shared(sd: Any) -> None:
    layer = sd.text_encoder.get_input_embeddings()
    before, words, plain = layer.weight.clone(), len(sd.tokenizer), states(sd, "a toy")
    with_toy = states(sd, "a toy", embeddings={"toy": made_up("toy", 2, TEXT_WIDTH)})
    assert not torch.equal(with_toy, plain)
    assert torch.equal(layer.weight, before) and len(sd.tokenizer) == words and not layer._forward_hooks
    assert torch.equal(states(sd, "a toy"), plain)


def test_an_embedding_is_seen_by_its_own_thread_only(sd: Any) -> None:
    plain, toy = states(sd, "a toy"), made_up("toy", 1, TEXT_WIDTH)
    with_toy = states(sd, "a toy", embeddings={"toy": toy})
    equal: list[bool] = []

    def work(expected: torch.Tensor, embeddings: Texts) -> None:
        equal.extend(torch.equal(states(sd, "a toy", embeddings=embeddings), expected) for _ in range(20))

    jobs: list[tuple[torch.Tensor, Texts]] = [(plain, {}), (with_toy, {"toy": toy})] * 2
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 80


def test_embeddings_stand_for_whole_words_in_any_case(sd: Any) -> None:
    embeddings = {"Toy": made_up("Toy", 4, TEXT_WIDTH), "toy-box": made_up("toy-box", 2, TEXT_WIDTH)}
    for prompt in ("toy", "TOY", "(toy:1.2)", "toy.", "\\(Toy\\)"):
        assert [unit.embedding for unit in split(sd.tokenizer, prompt, embeddings)[0] if unit.embedding] == [
            embeddings["Toy"]
        ]
    for prompt in ("toys", "_toy", "my-toy", "toy-boxes", "toy2"):
        assert not any(unit.embedding for unit in split(sd.tokenizer, prompt, embeddings)[0])
    (unit,) = split(sd.tokenizer, "Toy-Box", embeddings)[0]
    assert unit.embedding is embeddings["toy-box"]


def test_the_weight_of_an_embedding_is_that_of_all_its_vectors(sd: Any) -> None:
    embeddings = {"toy": made_up("toy", 2, TEXT_WIDTH)}
    plain = states(sd, "a toy b", embeddings=embeddings)
    expected = plain.clone()
    expected[0, 2:4] *= 1.5
    expected *= plain.mean() / expected.mean()
    torch.testing.assert_close(states(sd, "a (toy:1.5) b", embeddings=embeddings), expected, rtol=1e-5, atol=1e-6)


def test_an_embedding_is_never_divided_between_chunks(sd: Any) -> None:
    embeddings = {"toy": made_up("toy", 10, TEXT_WIDTH)}
    assert lengths(sd.tokenizer, "x" * 70 + " toy y", embeddings) == [70, 11]
    assert lengths(sd.tokenizer, "x" * 65 + " toy y", embeddings) == [75, 1]
    with pytest.raises(ModelUnavailable, match="80 vectors, and at most 75 are allowed"):
        encode(sd, "toy", embeddings={"toy": made_up("toy", 80, TEXT_WIDTH)})


def test_an_embedding_for_another_model_is_refused_only_when_it_is_used(sd: Any, sdxl: Any) -> None:
    for pipeline, widths in ((sd, [TEXT_WIDTH] * 2), (sd, [16]), (sdxl, [TEXT_WIDTH]), (sdxl, [TEXT_WIDTH, 16])):
        embeddings = {"toy": made_up("toy", 1, *widths)}
        with pytest.raises(ModelUnavailable, match="embedding 'toy' is made for another kind of model"):
            encode(pipeline, "a toy", embeddings=embeddings)
        assert torch.equal(states(pipeline, "a cat", embeddings=embeddings), states(pipeline, "a cat"))


def test_the_built_in_model_takes_embeddings_too(house: Any) -> None:
    embedding = made_up("toy", 2, 384)
    (plain,), (placed,) = encode(house, "a"), encode(house, "a toy", embeddings={"toy": embedding})
    assert placed.hidden_states.isfinite().all() and not torch.equal(plain.hidden_states, placed.hidden_states)


@pytest.mark.parametrize(
    ("tensors", "shapes"),
    [
        ({"emb_params": torch.ones(3, 8)}, [(3, 8)]),
        ({"emb_params": torch.ones(8), "step": torch.ones(1)}, [(1, 8)]),
        ({"<cat-toy>": torch.ones(8)}, [(1, 8)]),
        ({"clip_g": torch.ones(2, 10), "clip_l": torch.ones(2, 8)}, [(2, 8), (2, 10)]),
    ],
)
def test_embeddings_are_read(tmp_path: Path, tensors: dict[str, torch.Tensor], shapes: list[tuple[int, int]]) -> None:
    save_file(tensors, tmp_path / "toy.safetensors")
    embedding = load_embedding(tmp_path / "toy.safetensors")
    assert embedding.name == "toy" and [tuple(each.shape) for each in embedding.vectors] == shapes


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": torch.ones(8), "b": torch.ones(8)},
        {"clip_g": torch.ones(2, 10), "clip_l": torch.ones(3, 8)},
        {"emb_params": torch.ones(1, 2, 8)},
        {"emb_params": torch.ones(2, 8, dtype=torch.int64)},
        {"emb_params": torch.full((2, 8), torch.nan)},
        {"emb_params": torch.ones(0, 8)},
        {"emb_params": torch.tensor(1.0)},
        {},
    ],
)
def test_files_that_hold_no_embedding_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / "toy.safetensors")
    with pytest.raises(ModelUnavailable, match=r"toy\.safetensors holds no vectors"):
        load_embedding(tmp_path / "toy.safetensors")


def test_pickles_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    for name, reason in (("toy.pt", "pickles"), ("toy.bin", "pickles"), ("toy.safetensors", "cannot be read")):
        (tmp_path / name).write_bytes(b"no tensors")
        with pytest.raises(ModelUnavailable, match=reason):
            load_embedding(tmp_path / name)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        load_embedding(tmp_path / "none.safetensors")


def test_half_precision_stays_half_precision(folders: dict[str, Path]) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folders["sd"], dtype=torch.float16, safety_checker=None)
    encoded = states(pipeline, "a (toy:1.5)", embeddings={"toy": made_up("toy", 2, TEXT_WIDTH)})
    assert encoded.dtype == torch.float16 and encoded.isfinite().all()
