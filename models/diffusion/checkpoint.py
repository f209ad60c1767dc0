"""Checkpoints: weights read from a folder, a repository or a file, ready on one device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL.Image import Image
from torch import nn

from models.catalog.catalog import ModelSpec
from models.catalog.families import FAMILIES
from models.catalog.single_file import family_of
from models.diffusion.backends.choose import choose_backend
from models.diffusion.backends.deepcache import DeepCacheUNet
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.denoiser import Denoiser
from models.diffusion.failures import is_out_of_memory, summary
from models.diffusion.families.family import Family, load_family, tokenizer_misfit
from models.diffusion.pipeline import Pipeline
from models.diffusion.preview import Previewer, build_previewer
from models.errors import ModelUnavailable, OutOfMemory

if TYPE_CHECKING:
    from models.diffusion.lora import Adapters

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class Checkpoint:
    """A pipeline that many rows share, and what runs its denoiser."""

    spec: ModelSpec
    family: Family
    pipeline: Pipeline
    denoiser: Denoiser
    """The chosen backend's."""
    eager: Denoiser
    """Torch's, which can do all that any backend can; often the same one."""
    device: torch.device
    dtype: torch.dtype
    has_loras: bool = False
    """Whether it is a combination that :attr:`adapters` made."""

    @cached_property
    def adapters(self) -> Adapters:
        """The same checkpoint under LoRAs."""
        from models.diffusion.lora import Adapters  # which knows checkpoints

        return Adapters(self)

    @cached_property
    def deepcache(self) -> DeepCacheUNet:
        """The UNet in two forms, for images that reuse its deep features."""
        return DeepCacheUNet(self.pipeline.unet)

    @property
    def modules(self) -> list[nn.Module]:
        """Everything that takes memory of its own; LoRAs take next to none beside the base that they share."""
        if self.has_loras:
            return []
        return [each for each in self.pipeline.components.values() if isinstance(each, nn.Module)]

    def preview(self, latents: torch.Tensor) -> Image:
        """A rough look at noiseless latents [1, channels, h, w]."""
        return self._previewer(latents)

    @cached_property
    def _previewer(self) -> Previewer:
        """Made when the first preview is due."""
        return build_previewer(self.pipeline, self.family.decode)


def load_checkpoint(
    spec: ModelSpec, device: torch.device, *, backend: str = "eager", cache: Path | None = None
) -> Checkpoint:
    """Read the weights that ``spec`` names onto ``device``. Only safetensors are read; code beside them is never run.

    Args:
        spec: where the weights are.
        device: where they go.
        backend: what is to run the UNet, as :func:`~models.diffusion.backends.choose.choose_backend` has it.
        cache: the folder for exported graphs; without one, torch runs the UNet.

    Raises:
        ModelUnavailable: there is nothing to load, it cannot be read, or it is not of the family that it should be.
        OutOfMemory: the weights do not fit the device.
    """
    problem = spec.problem() or _unsupported(spec)
    if problem is not None:
        raise ModelUnavailable(f"model {spec.name!r}: {problem}")
    family = load_family(spec.family)
    dtype = _dtype(spec, device, family)
    try:
        pipeline = _read(spec, family, dtype).to(device)
        family.prepare(pipeline)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"model {spec.name!r} does not fit into the device's memory") from error
        raise ModelUnavailable(f"model {spec.name!r} cannot be loaded: {summary(error)}") from error
    problem = family.misfit(pipeline) or family.channel_misfit(pipeline) or tokenizer_misfit(pipeline)
    if problem is not None:
        raise ModelUnavailable(f"model {spec.name!r} is no {spec.family} pipeline: {problem}")
    eager = family.eager(pipeline)
    chosen = eager
    if cache is not None and family.is_exportable and isinstance(eager, EagerDenoiser):
        chosen = choose_backend(eager, backend, cache)
    return Checkpoint(spec, family, pipeline, chosen, eager, device, dtype)


def _unsupported(spec: ModelSpec) -> str | None:
    if spec.family not in FAMILIES:
        return f"unknown family {spec.family!r}; there are {', '.join(FAMILIES)}"
    if spec.dtype not in {"auto", *DTYPES}:
        return f"unknown dtype {spec.dtype!r}; there are auto, {', '.join(DTYPES)}"
    return None if spec.file is None else _file_problem(spec.file, spec.family)


def _file_problem(file: Path, family: str) -> str | None:
    if file.suffix != ".safetensors":
        return f"{file} is no .safetensors file"
    try:
        found = family_of(file)
    except ModelUnavailable as error:
        return str(error)
    if found is None:
        return f"{file} cannot be loaded: it holds no checkpoint in its authors' own layout, with text encoder and VAE"
    return None if found == family else f'{file} is a checkpoint of another family; set family = "{found}"'


def _dtype(spec: ModelSpec, device: torch.device, family: Family) -> torch.dtype:
    if spec.dtype == "auto":
        return family.half if device.type == "cuda" else torch.float32
    return DTYPES[spec.dtype]


def _read(spec: ModelSpec, family: Family, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"dtype": dtype, **family.options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # outdated scheduler configs, which diffusers mends by itself
        if spec.file is not None:
            return _read_file(spec.file, spec.config, family, options)
        source, revision = (spec.folder, None) if spec.folder is not None else (spec.repository, spec.revision)
        place = {"revision": revision, "local_files_only": spec.folder is not None}
        index = family.pipeline_class.load_config(source, **place)
        problem = _index_problem(index, spec.family)
        if problem is not None:
            raise ModelUnavailable(problem)
        options |= {name: None for name in family.optional if (index.get(name) or [None])[0] is None}
        return family.pipeline_class.from_pretrained(source, use_safetensors=True, **place, **options)


def _read_file(file: Path, config: Path | None, family: Family, options: dict[str, Any]) -> Any:
    """What a file holds is weights alone; without ``config``, diffusers looks for the rest at the model hub."""
    place = {} if config is None else {"config": str(config), "local_files_only": True}
    try:
        return family.pipeline_class.from_single_file(str(file), **place, **options)
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            "the file holds neither configurations nor tokenizers, and the model hub has none now; set config = "
            '"FOLDER" beside file, a diffusers folder of any model of the same kind (its weights are not needed)'
        ) from error


def _index_problem(index: Mapping[str, Any], family: str) -> str | None:
    """Unless a ``model_index.json`` has the denoiser of ``family``."""
    found = next((index[part][1] for part in ("unet", "transformer") if part in index), None)
    if found == FAMILIES[family].denoiser:
        return None
    fitting = " or ".join(f'"{name}"' for name, facts in FAMILIES.items() if facts.denoiser == found)
    return f"its denoiser is {found or 'missing'}; " + (f"set family = {fitting}" if fitting else "no family has that")
