"""Which upscalers and face jobs can be used with what the catalog has, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.faces import restore_problem
from models.catalog.upscalers import BUILT_IN_UPSCALERS, KNOWN_UPSCALERS, find_upscaler, upscaler_problem
from models.errors import Problem, ProblemCode

NONE = AuxiliaryModels()


def configured(**files: str) -> AuxiliaryModels:
    return AuxiliaryModels({name: AuxiliaryModel(name=name, path=Path(file)) for name, file in files.items()})


@pytest.mark.parametrize("name", BUILT_IN_UPSCALERS)
def test_the_built_in_ones_need_nothing(name: str):
    assert upscaler_problem(name, NONE) is None


@pytest.mark.parametrize("name", [name for name, known in KNOWN_UPSCALERS.items() if known.weights])
def test_each_other_one_says_which_weights_it_needs_and_where_to_put_them(name: str):
    problem = upscaler_problem(name, NONE)
    assert problem is not None
    assert KNOWN_UPSCALERS[name].weights[0] in problem.message
    assert f'[upscalers."{name}"]' in problem.message


@pytest.mark.parametrize("extras", [NONE, configured(LDSR="ldsr.safetensors")])
def test_ldsr_is_refused_even_with_weights(extras: AuxiliaryModels):
    assert "Photogram does not implement" in str(upscaler_problem("LDSR", extras))


def test_weights_are_found_by_the_clients_name_and_by_the_published_one():
    extras = AuxiliaryModels({
        "SwinIR 4x": AuxiliaryModel(name="SwinIR 4x", path=Path("mine.pth")),
        "RealESRGAN_x4plus": AuxiliaryModel(name="RealESRGAN_x4plus", path=Path("RealESRGAN_x4plus.pth")),
        "4x-UltraSharp": AuxiliaryModel(name="4x-UltraSharp", path=Path("4x-UltraSharp.pth")),
    })  # fmt: skip
    for name, file in (
        ("SwinIR 4x", "mine.pth"),
        ("R-ESRGAN 4x+", "RealESRGAN_x4plus.pth"),
        ("4x-UltraSharp.pth", "4x-UltraSharp.pth"),
    ):
        assert upscaler_problem(name, extras) is None
        found = find_upscaler(name, extras)
        assert found is not None and found.path == Path(file)
    assert find_upscaler("R-ESRGAN 4x+ Anime6B", extras) is None


@pytest.mark.parametrize("name", ["lanczos", "NEAREST", " Lanczos", "r-esrgan 4X+", "realesrgan_X4PLUS.PTH"])
def test_names_are_known_in_any_case(name: str):
    weights = "RealESRGAN_x4plus"
    extras = AuxiliaryModels({weights: AuxiliaryModel(name=weights, path=Path(f"{weights}.pth"))})
    assert upscaler_problem(name, extras) is None
    assert "Photogram does not implement" in str(upscaler_problem("ldsr", extras))


def test_an_unknown_name_is_answered_with_those_that_there_are():
    assert upscaler_problem("Magic", configured(mine="mine.pth")) == Problem(
        "there is no upscaler 'Magic'; there are: Lanczos, Nearest, mine",
        ProblemCode.UNKNOWN_NAME,
        allowed=("Lanczos", "Nearest", "mine"),
    )


def test_face_restoration_needs_both_files():
    restorer, detector = (AuxiliaryModel(name=name, path=Path("a")) for name in ("restorer", "detector"))
    assert restore_problem({"restorer": restorer, "detector": detector}) is None
    assert "set file in [faces.detector]" in (restore_problem({"restorer": restorer}) or "")
    problem = restore_problem({}) or ""
    assert "[faces.restorer] (GFPGANv1.4.pth) and file in [faces.detector]" in problem
