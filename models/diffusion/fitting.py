"""Whether the weights of a model fit its configurations: names and shapes are compared, and no weights are read.

Headers tell the tensors that files have. Models without memory (torch's device ``meta``), made of the configurations,
tell those that are needed, and diffusers' own conversions rename the tensors of single files.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
from torch import nn

from models.catalog.catalog import ModelSpec
from models.catalog.families import SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.pipelines import index_in
from models.catalog.weights import read_header
from models.diffusion.failures import summary
from models.diffusion.own_denoisers import in_known_names
from models.diffusion.single_files.completing import write_configuration
from models.downloads.on_disk import configurations_of, is_on_disk, variant_of, weight_files
from models.downloads.parts import own_file, parts_of
from models.errors import ModelUnavailable

Tensors: TypeAlias = dict[str, torch.Tensor]
"""Tensors on the device ``meta`` by name."""
TensorsOf: TypeAlias = Callable[[Path], Tensors]
"""Gives the tensors of a file; the result must not be changed."""

_CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
_OPEN_CLIP = {
    "text_encoder": ("cond_stage_model.model.",),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}
"""Beginnings of the names of text encoders in single files: CLIP of OpenAI's, and of OpenCLIP by part."""
_WITH_CLIP_IN_FILE = (STABLE_DIFFUSION, SDXL, SDXL_REFINER)


def fitting_problem(spec: ModelSpec) -> str | None:
    """The first part of ``spec`` whose tensors are not those that its configuration asks for, and how they differ.

    What is not compared counts as fitting: files that are not downloaded, files whose configurations the model hub has,
    and text encoders in single files of other families than those with a UNet.
    """
    try:
        if not is_on_disk(spec):
            return None
        with _configurations(spec) as folder:
            if folder is None:
                return None
            index, tensors_of = index_in(folder), cache(_tensors)
            found = (_part_problem(spec, folder, part, index[part], tensors_of) for part in parts_of(index))
            return next((each for each in found if each is not None), None)
    except ModelUnavailable as error:
        return str(error)


@contextmanager
def _configurations(spec: ModelSpec) -> Iterator[Path | None]:
    """A folder with the configurations of the model's parts; ``None`` if they are not on this machine."""
    given = configurations_of(spec)
    if given is not None or spec.file is None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="photogram-") as folder:
        yield Path(folder) if write_configuration(spec.file, spec.family, spec.prediction, Path(folder)) else None


def _part_problem(spec: ModelSpec, folder: Path, part: str, entry: list[str], tensors_of: TensorsOf) -> str | None:
    if not (folder / part / "config.json").is_file():
        return None
    own = own_file(spec, part)
    is_in_folder = own is None and spec.file is None
    files = weight_files(folder / part, variant_of(folder)) if is_in_folder else [own or spec.file]
    source = {name: tensor for file in files if file is not None for name, tensor in tensors_of(file).items()}
    if not source:
        return None
    try:
        model = _empty_model(folder / part, *entry)
    except Exception as error:  # whatever a library makes of values that make no sense
        return f"its {part} cannot be made of its config.json: {summary(error)}"
    try:
        found = _named(spec, part, model, source, is_in_folder=is_in_folder)
    except KeyError as error:  # from diffusers' conversions, which look names up
        return f"its {part} lacks the tensor {error.args[0]!r}"
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        return f"its {part} has tensors that cannot be read: {summary(error)}"
    return None if found is None else _difference(part, model, found)


def _tensors(file: Path) -> Tensors:
    header = read_header(file)
    return {
        name: torch.empty(tensor["shape"], device="meta") for name, tensor in header.items() if name != "__metadata__"
    }


def _empty_model(folder: Path, library: str, class_name: str) -> nn.Module:
    model_class: Any = getattr({"diffusers": diffusers, "transformers": transformers}[library], class_name)
    with torch.device("meta"):
        if library == "diffusers":
            config = model_class.load_config(str(folder), local_files_only=True)
            model: nn.Module = model_class.from_config(config)
        else:
            model = model_class(model_class.config_class.from_pretrained(str(folder), local_files_only=True))
    return model


def _named(spec: ModelSpec, part: str, model: Any, source: Tensors, *, is_in_folder: bool) -> Tensors | None:
    """The tensors of a part under the names that its class has; ``None`` if they are not compared."""
    if isinstance(model, transformers.PreTrainedModel):
        return source if is_in_folder else _text_encoder(spec, part, model, source)
    if is_in_folder:
        named = OrderedDict(source)
        model._fix_state_dict_keys_on_load(named)  # names of older versions, as diffusers' loading does
        return named
    if model.state_dict().keys() <= source.keys():
        return source
    facts = SINGLE_FILE_LOADABLE_CLASSES.get(type(model).__name__)
    if facts is None:
        return None
    converted: Tensors = facts["checkpoint_mapping_fn"](checkpoint=in_known_names(source), config=model.config)
    return converted


def _text_encoder(spec: ModelSpec, part: str, model: nn.Module, source: Tensors) -> Tensors | None:
    if spec.family not in _WITH_CLIP_IN_FILE:
        return None
    if part == "text_encoder" and any(name.startswith(_CLIP) for name in source):
        clip: Tensors = convert_ldm_clip_checkpoint(source)
        return clip
    prefixes = [each for each in _OPEN_CLIP[part] if any(name.startswith(each) for name in source)]
    if not prefixes:
        raise ModelUnavailable(f"its {part} is missing")
    open_clip: Tensors = convert_open_clip_checkpoint(model, source, prefix=prefixes[0])
    return open_clip


def _difference(part: str, model: nn.Module, found: Mapping[str, torch.Tensor]) -> str | None:
    """How the tensors differ from those of ``model``, one of whose may have several names."""
    plain = {_plain_name(name): tensor for name, tensor in found.items()}
    needed = _needed(model)
    missing = [names[0] for names in needed if not any(_plain_name(name) in plain for name in names)]
    if missing:
        return f"its {part} lacks {len(missing)} of its {len(needed)} tensors, first of all {missing[0]!r}"
    shapes = dict(model.named_parameters(remove_duplicate=False))
    for names in needed:
        name = next(each for each in names if _plain_name(each) in plain)
        has, needs = plain[_plain_name(name)].shape, shapes[name].shape
        if _sides(has) != _sides(needs):
            return f"its {part} has a tensor {name!r} of the shape {list(has)}, and needs {list(needs)}"
    return None


def _needed(model: nn.Module) -> list[list[str]]:
    """The names of each parameter; those that are tied are one parameter with several names."""
    tied = getattr(model, "all_tied_weights_keys", {})
    names = defaultdict[object, list[str]](list)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in parameters:
        names[id(parameters[tied.get(name, name)])].append(name)
    return list(names.values())


def _plain_name(name: str) -> str:
    """``name`` without the wrapper that some versions of transformers have around CLIP's text model."""
    return name.removeprefix("text_model.")


def _sides(shape: torch.Size) -> tuple[int, ...]:
    """``shape`` without ones at its end: linear layers are stored as convolutions of one pixel, too."""
    sides = list(shape)
    while sides and sides[-1] == 1:
        sides.pop()
    return tuple(sides)
