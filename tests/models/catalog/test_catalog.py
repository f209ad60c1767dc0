"""The catalog: what its file may say, what is refused and by which key, and the size that a model really draws."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from models.catalog.catalog import HOUSE, HOUSE_FOLDER, Catalog, ModelSpec
from models.errors import CatalogError
from tests.weight_files import LORA_FILE

FULL = """
default = "paint"

[models.paint]
folder = "weights/paint"
dtype = "float16"
native_px = 512
aliases = ["brush", "oil"]
licence = "MIT"
defaults = { sampler = "DDIM", num_inference_steps = 9, guidance_scale = 5, width = 256, negative_prompt = "blurry" }
limits = { min_px = 128, max_px = 768, max_steps = 40 }

[models.hub]
repository = "someone/something"
revision = "0123abc"

[models."one file"]
file = "/far/away.safetensors"
"""


def load(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.toml"
    path.write_text(text, encoding="utf-8")
    return Catalog.load(path)


def test_a_full_catalog_is_read(tmp_path: Path) -> None:
    catalog = load(tmp_path, FULL)
    assert list(catalog) == [HOUSE, "paint", "hub", "one file"]
    assert len(catalog) == 4 and catalog.default == "paint"
    paint = catalog["paint"]
    assert (paint.folder, paint.dtype, paint.aliases) == (tmp_path / "weights/paint", "float16", ("brush", "oil"))
    assert (paint.defaults.guidance_scale, paint.defaults.width, paint.defaults.height) == (5, 256, 512)
    assert (paint.limits.min_px, paint.limits.max_px, paint.limits.max_steps) == (128, 768, 40)
    assert catalog["hub"].source == "someone/something@0123abc"
    assert catalog["one file"].file == Path("/far/away.safetensors")
    assert catalog.resolve(None) is catalog.resolve("oil") is paint
    assert catalog.resolve("nobody") is None


def test_aliases_may_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    aliases = '[aliases]\n"v1-5-pruned-emaonly.safetensors" = "paint"\n"sdv1_4.ckpt [7460a6fa]" = "house"\n'
    catalog = load(tmp_path, f'unknown = "hub"\n{FULL}{aliases}')
    paint, hub, house = catalog["paint"], catalog["hub"], catalog[HOUSE]
    assert catalog.resolve("v1-5-pruned-emaonly.safetensors [d7049739]") is paint
    assert catalog.resolve("sdv1_4.ckpt [7460a6fa]") is house and catalog.resolve("sdv1_4.ckpt") is None
    assert [catalog.resolve_any(name) for name in (None, "oil", "nobody")] == [paint, paint, hub]
    assert load(tmp_path, FULL).resolve_any("nobody").name == "paint"


def test_the_built_in_model_is_always_there(tmp_path: Path) -> None:
    for catalog in (Catalog({}), Catalog.load(tmp_path / "none.toml"), load(tmp_path, ""), load(tmp_path, FULL)):
        assert catalog[HOUSE].folder == HOUSE_FOLDER
    assert Catalog({}).default == HOUSE


def test_an_entry_may_take_the_built_in_models_place(tmp_path: Path) -> None:
    assert load(tmp_path, '[models.house]\nfolder = "mine"')[HOUSE].folder == tmp_path / "mine"


def test_a_path_from_the_home_folder_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(tmp_path, '[models.a]\nfolder = "~/weights"')["a"].folder == Path("/home/someone/weights")


NONSENSE = {
    "no toml": ("[models", "catalog.toml"),
    "twice": ('[models.a]\nfolder="x"\n[models.a]\nfolder="y"', "catalog.toml"),
    "unknown top key": ('defualt = "house"', "defualt"),
    "models no table": ("models = 3", "models"),
    "models a list": ('models = ["a"]', "models"),
    "model no table": ("[models]\na = 3", "'a'"),
    "model without a name": ('[models.""]\nfolder = "x"', "name"),
    "default is unknown": ('default = "nobody"', "nobody"),
    "default no text": ("default = 3", "default"),
    "default an alias": ('default = "b"\n[models.a]\nfolder = "x"\naliases = ["b"]', "'b'"),
    "no source": ('[models.a]\ndtype = "auto"', "exactly one of folder, repository, file"),
    "two sources": ('[models.a]\nfolder = "x"\nfile = "y"', "exactly one of"),
    "unknown key": ('[models.a]\nfolder = "x"\nscheduler = "Euler"', "scheduler"),
    "name in the entry": ('[models.a]\nfolder = "x"\ndefaults = {name = "b"}', "name"),
    "folder no text": ("[models.a]\nfolder = 3", "folder"),
    "folder of nobody": ('[models.a]\nfolder = "~nobody-of-that-name/x"', "folder"),
    "native_px no number": ('[models.a]\nfolder = "x"\nnative_px = "512"', "native_px"),
    "native_px true": ('[models.a]\nfolder = "x"\nnative_px = true', "native_px"),
    "native_px zero": ('[models.a]\nfolder = "x"\nnative_px = 0', "native_px"),
    "native_px broken": ('[models.a]\nfolder = "x"\nnative_px = 512.0', "native_px"),
    "aliases no list": ('[models.a]\nfolder = "x"\naliases = "b"', "aliases"),
    "aliases of numbers": ('[models.a]\nfolder = "x"\naliases = [1]', "aliases"),
    "aliases of lists": ('[models.a]\nfolder = "x"\naliases = [["b"]]', "aliases"),
    "an empty alias": ('[models.a]\nfolder = "x"\naliases = [""]', "aliases"),
    "alias is a model": ('[models.a]\nfolder = "x"\naliases = ["house"]', "'house'"),
    "alias of two": ('[models.a]\nfolder="x"\naliases=["c"]\n[models.b]\nfolder="x"\naliases=["c"]', "'c' of 'b'"),
    "defaults no table": ('[models.a]\nfolder = "x"\ndefaults = 3', "a.defaults"),
    "unknown default": ('[models.a]\nfolder = "x"\ndefaults = {steps = 3}', "steps"),
    "unknown sampler": ('[models.a]\nfolder = "x"\ndefaults = {sampler = "eulr"}', "(did you mean 'Euler'"),
    "steps of text": ('[models.a]\nfolder = "x"\ndefaults = {num_inference_steps = "20"}', "num_inference_steps"),
    "no steps": ('[models.a]\nfolder = "x"\ndefaults = {num_inference_steps = 0}', "num_inference_steps"),
    "guidance nan": ('[models.a]\nfolder = "x"\ndefaults = {guidance_scale = nan}', "guidance_scale"),
    "guidance inf": ('[models.a]\nfolder = "x"\ndefaults = {guidance_scale = inf}', "guidance_scale"),
    "width off the grid": ('[models.a]\nfolder = "x"\ndefaults = {width = 500}', "width"),
    "height too large": ('[models.a]\nfolder = "x"\ndefaults = {height = 2056}', "height"),
    "unknown limit": ('[models.a]\nfolder = "x"\nlimits = {max_pixels = 3}', "max_pixels"),
    "limits no table": ('[models.a]\nfolder = "x"\nlimits = []', "a.limits"),
    "limits the wrong way": ('[models.a]\nfolder = "x"\nlimits = {min_px = 512, max_px = 256}', "limits.min_px"),
    "a limit of nothing": ('[models.a]\nfolder = "x"\nlimits = {min_px = 0}', "limits.min_px"),
    "loras no table": ("loras = 3", "loras"),
    "auxiliary model no table": ("[loras]\na = 3", "'a'"),
    "auxiliary model without a path": ('[loras.a]\nfamily = "sdxl"', "exactly one of file, folder"),
    "auxiliary model in two places": ('[loras.a]\nfile = "x"\nfolder = "y"', "exactly one of file, folder"),
    "path of an auxiliary model no text": ("[loras.a]\nfile = 3", "loras.a"),
    "family of an auxiliary model unknown": ('[loras.a]\nfile = "x"\nfamily = "sd9"', "sd9"),
    "key of an auxiliary model unknown": ('[loras.a]\nfile = "x"\nweight = 1', "weight"),
    "aliases no table": ('aliases = ["a"]', "aliases"),
    "an alias of a number": ("[aliases]\na = 3", "aliases"),
    "an alias of nobody": ('[aliases]\na = "nobody"', "'nobody'"),
    "an alias of an alias": ('[aliases]\na = "house"\nb = "a"', "'a'"),
    "an alias that is a model": ('[aliases]\nhouse = "house"', "'house' of"),
    "an alias of two in two places": ('[aliases]\nc="house"\n[models.b]\nfolder="x"\naliases=["c"]', "'c' of 'b'"),
    "unknown is unknown": ('unknown = "nobody"', "nobody"),
    "unknown no text": ("unknown = 3", "unknown"),
    "boundless steps": ('[models.a]\nfolder = "x"\nlimits = {max_steps = 9223372036854775807}', "limits.max_steps"),
}  # fmt: skip


AUXILIARY_MODELS = """
[loras."Film Look"]
file = "weights/film-v1.safetensors"
family = "sdxl"
aliases = ["film", "old [0123abcd]"]
licence = "CC0-1.0"

[controlnets.canny]
folder = "~/canny"
"""


def test_auxiliary_models_are_named_in_the_file_or_dropped_into_folders(tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    for name in ("grain.safetensors", "anime.pth", "notes.txt", ".hidden"):
        (tmp_path / "loras" / name).write_bytes(LORA_FILE)
    (tmp_path / "preprocessors" / "depth").mkdir(parents=True)
    (tmp_path / "preprocessors" / "empty").mkdir()
    (tmp_path / "preprocessors" / "depth" / "config.json").write_text("{}")
    catalog = load(tmp_path, AUXILIARY_MODELS)
    assert list(catalog.loras) == ["anime", "grain", "Film Look"]
    film = catalog.loras["Film Look"]
    assert (film.path, film.family, film.licence) == (tmp_path / "weights/film-v1.safetensors", "sdxl", "CC0-1.0")
    for name in ("film look", "FILM", "film-v1.safetensors [99aa]", "film-v1", "old [0123abcd]"):
        assert catalog.loras.resolve(name) is film
    assert catalog.loras.resolve("old") is None
    assert catalog.controlnets["canny"].path == Path("~/canny").expanduser()
    assert list(catalog.preprocessors) == ["depth"] and not catalog.upscalers
    assert film.problem() is not None and catalog.loras["grain"].problem() is None


def test_a_family_has_its_own_defaults(tmp_path: Path) -> None:
    text = '[models.xl]\nfamily = "sdxl"\nfolder = "x"\ndefaults = { width = 768 }\n[models.sd]\nfolder = "y"'
    catalog = load(tmp_path, text)
    assert (catalog["xl"].defaults.width, catalog["xl"].defaults.height) == (768, 1024)
    assert (catalog["sd"].defaults.width, catalog["sd"].defaults.height) == (512, 512)


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_by_its_key(tmp_path: Path, case: str) -> None:
    text, named = NONSENSE[case]
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    assert named in str(caught.value)


def test_samplers_are_named_in_any_case(tmp_path: Path) -> None:
    catalog = load(tmp_path, '[models.a]\nfolder = "x"\ndefaults = {sampler = "euler A"}')
    assert catalog["a"].defaults.sampler == "Euler a"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.toml").write_bytes(b"default = \xff\xfe")
    with pytest.raises(CatalogError, match=r"catalog\.toml"):
        Catalog.load(tmp_path / "catalog.toml")


def test_a_look_at_the_disk_tells_what_is_missing(tmp_path: Path) -> None:
    catalog = load(
        tmp_path, '[models.a]\nfolder = "a"\n[models.b]\nfile = "b.safetensors"\n[models.c]\nrepository="o/n"'
    )
    assert "no model_index.json" in (catalog["a"].problem() or "")
    assert "there is no file" in (catalog["b"].problem() or "")
    assert catalog["c"].problem() is None
    (tmp_path / "a").mkdir()
    (tmp_path / "a/model_index.json").write_text("{}")
    (tmp_path / "b.safetensors").write_bytes(LORA_FILE)
    assert catalog["a"].problem() is catalog["b"].problem() is None


def model(native_px: int | None) -> ModelSpec:
    return ModelSpec(name="x", family="stable-diffusion", folder=Path("x"), native_px=native_px)


SIZES = list(itertools.product((64, 72, 128, 256, 384, 504, 512, 768, 1000, 1024, 2048, 8192), repeat=2))


@pytest.mark.parametrize("native_px", [64, 100, 128, 512, 768])
def test_what_is_drawn_is_never_above_the_native_area(native_px: int) -> None:
    for width, height in SIZES:
        drawn = model(native_px).drawn_size(width, height)
        if width * height <= native_px**2:
            assert drawn == (width, height)
            continue
        assert drawn[0] * drawn[1] <= native_px**2
        assert all(side % 8 == 0 and side >= 64 for side in drawn)
        assert (drawn[0] >= drawn[1]) == (width >= height) or drawn[0] == drawn[1]


@pytest.mark.parametrize("native_px", [128, 512])
def test_the_aspect_ratio_is_kept_as_far_as_the_grid_allows(native_px: int) -> None:
    for width, height in SIZES:
        drawn_width, drawn_height = model(native_px).drawn_size(width, height)
        if min(drawn_width, drawn_height) > 64:
            assert 0.88 < (drawn_width / drawn_height) / (width / height) < 1.13


def test_squares_are_drawn_at_exactly_the_native_size() -> None:
    for side in range(136, 2049, 8):
        assert model(128).drawn_size(side, side) == (128, 128)
    assert model(128).drawn_size(1024, 256) == (256, 64)
    assert model(None).drawn_size(4096, 4096) == (4096, 4096)


def test_settings_of_memory(tmp_path: Path) -> None:
    entry = 'folder = "sd"\noffload = "model"\nweights = "fp8"\nvae_tiling = true\nvae_slicing = true\n'
    spec = Catalog.parse(f"[models.small]\n{entry}", tmp_path / "catalog.toml")["small"]
    assert (spec.offload, spec.weights, spec.vae_tiling, spec.vae_slicing) == ("model", "fp8", True, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('dtype = "int3"', "dtype must be one of auto, float32, float16, bfloat16"),
        ('offload = "cpu"', "offload must be one of none, model, sequential"),
        ('weights = "int3"', "weights must be one of auto, fp8"),
        ("vae_tiling = 1", "vae_tiling must be of type bool"),
        ("vae_slicing = 'yes'", "vae_slicing must be of type bool"),
    ],
)
def test_settings_of_memory_that_are_wrong(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(CatalogError, match=reason):
        Catalog.parse(f'[models.small]\nfolder = "sd"\n{line}\n', tmp_path / "catalog.toml")
