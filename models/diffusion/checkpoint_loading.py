"""Loading checkpoints: from a diffusers folder, a repository or a single file onto one device."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from models.catalog.backends import AUTO
from models.catalog.catalog import WEIGHTS, ModelSpec
from models.catalog.families import ATTENTIONS, FAMILIES
from models.catalog.file_kinds import kind_of
from models.catalog.gguf_files import QUANTIZATIONS
from models.catalog.libraries import PACKAGES_OF_ATTENTION, missing_package
from models.catalog.pipelines import denoiser_problem
from models.catalog.single_file import family_of
from models.diffusion.attention import choose_attention
from models.diffusion.backends.choose import choose_backend
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import InputShape
from models.diffusion.devices import channels_last_on_gpu, free_bytes
from models.diffusion.failures import detail_of, is_out_of_memory, reason_of
from models.diffusion.families.family import Family, load_family, validate_tokenizers
from models.diffusion.memory_plan import plan_of
from models.diffusion.own_denoisers import read_own_denoiser
from models.diffusion.placement import Fetch, LayerPlacement, PartPlacement, Placement, to_device
from models.diffusion.quantized_weights import quantize_weights
from models.diffusion.reduced_weights import reduce_weights, widen_in_forwards, widening
from models.diffusion.single_files.completing import write_configuration
from models.diffusion.single_files.vae import load_vae
from models.downloads.on_disk import place_of, variant_of
from models.downloads.parts import UNUSED_PARTS
from models.errors import ModelUnavailable, OutOfMemory

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_checkpoint(
    spec: ModelSpec,
    device: torch.device,
    *,
    backend: str = "eager",
    cache: Path | None = None,
    packages: Path | None = None,
) -> Checkpoint:
    """Load the weights that ``spec`` names onto ``device``. Only safetensors are read; code beside them is never run.

    Args:
        spec: the catalog entry that says where the weights are.
        device: the device that holds the weights afterwards.
        backend: the backend for the UNet; see :func:`~models.diffusion.backends.choose.choose_backend`.
        cache: the folder for exported graphs; without it, torch runs the UNet.
        packages: the folder of deployed packages, one of which is used if it is faster and ``backend`` is ``AUTO``.

    Raises:
        ModelUnavailable: the weights are missing, cannot be read, or are not of the family that ``spec`` says.
        OutOfMemory: the weights do not fit into the device's memory.
    """
    problem = spec.problem() or _unsupported(spec, device) or missing_package(spec)
    if problem is not None:
        raise ModelUnavailable(
            f"model {spec.name!r}: {_without_folders(problem, spec)}", detail=_paths_in(problem, spec)
        )
    family = load_family(spec.family)
    dtype = dtype_of(spec, device, family)
    _check_memory(spec, device)
    try:
        pipeline = read_pipeline(spec, family, dtype)
        family.prepare(pipeline)
        placement = _place(spec, pipeline, getattr(pipeline, family.module), dtype, device)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"model {spec.name!r} does not fit into the device's memory") from error
        reason = reason_of(error, "its files are missing, damaged, or of another family")
        raise ModelUnavailable(f"model {spec.name!r} cannot be loaded: {reason}", detail=detail_of(error)) from error
    problem = family.validate(pipeline) or family.validate_channels(pipeline) or validate_tokenizers(pipeline)
    if problem is not None:
        raise ModelUnavailable(f"model {spec.name!r} is no {spec.family} pipeline: {problem}")
    eager = family.eager(pipeline)
    chosen = eager
    is_plain = not placement.offloads and spec.weights == WEIGHTS[0] and not spec.is_quantized
    is_plain = is_plain and spec.attention == ATTENTIONS[0]
    if cache is not None and family.is_exportable and is_plain and isinstance(eager, EagerDenoiser):
        chosen = choose_backend(eager, backend, cache, _expected_shape(spec, pipeline))
    checkpoint = Checkpoint(spec, family, pipeline, chosen, eager, device, dtype, placement=placement)
    if packages is None or backend != AUTO or not is_plain or (device.type, dtype) != ("cpu", torch.float32):
        return checkpoint
    from models.deploy.choosing import serve_fastest
    from models.deploy.store import PackageStore

    checkpoint.packages = packages
    return serve_fastest(checkpoint, PackageStore(packages))


def _check_memory(spec: ModelSpec, device: torch.device) -> None:
    """Refuse weights that are larger than the free memory, before they are read; the headers of files tell.

    Intermediate results are estimates, so that a model that may not fit because of them is loaded.

    Raises:
        OutOfMemory: the weights do not fit.
    """
    free = free_bytes(device)
    plan = None if free is None else plan_of(spec, on_gpu=device.type != "cpu")
    if free is None or plan is None:
        return
    shortage = plan.shortage(spec, free)
    if shortage is None:
        return
    if plan.weights_bytes(spec.offload, spec.weights) > free:
        raise OutOfMemory(f"model {spec.name!r} does not fit into the device's memory: it {shortage}")
    log.warning("model %s may not fit into the device's memory: it %s", spec.name, shortage)


def _place(spec: ModelSpec, pipeline: Any, denoiser: Any, dtype: torch.dtype, device: torch.device) -> Placement:
    """Apply the settings of ``spec`` to a pipeline that was read, and bring it to ``device`` as they say."""
    if spec.vae_tiling:
        pipeline.vae.enable_tiling()
    choose_attention(denoiser, spec.attention)
    if spec.weights == "fp8":
        reduce_weights(denoiser)
    elif spec.weights in QUANTIZATIONS:
        quantize_weights(denoiser, spec.weights, dtype)
    for module in (pipeline.vae, denoiser):
        channels_last_on_gpu(module, device)
    placement = place(pipeline.components, spec.offload, dtype, device)
    if not placement.offloads:
        pipeline.to(device)
    widen_in_forwards(denoiser, dtype)
    return placement


def place(
    components: Mapping[str, Any], offload: str, dtype: torch.dtype, device: torch.device, fetch: Fetch | None = None
) -> Placement:
    """The placement that ``offload`` names; on a CPU, which has one memory, always the plain one.

    Args:
        components: of a pipeline in the host's memory.
        fetch: gives tensors on the device; by default those of ``device``, which is no CPU then.
    """
    if fetch is None and device.type == "cpu":
        return Placement()
    bring, widen = fetch or to_device(device), widening(dtype)
    match offload:
        case "model":
            return PartPlacement(components, bring, device)
        case "sequential":
            return LayerPlacement(components, lambda stored: widen(bring(stored)), device)
        case _:
            return Placement()


def _expected_shape(spec: ModelSpec, pipeline: Any) -> InputShape:
    """The shape of the denoiser's inputs for an image of the model's default size and a prompt of one chunk."""
    width, height = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    scale = pipeline.vae_scale_factor
    return InputShape(height // scale, width // scale, pipeline.tokenizer.model_max_length)


def _unsupported(spec: ModelSpec, device: torch.device) -> str | None:
    if spec.family not in FAMILIES:
        return f"unknown family {spec.family!r}; the families are {', '.join(FAMILIES)}"
    if device.type == "cpu" and spec.attention in PACKAGES_OF_ATTENTION:
        return f'attention = "{spec.attention}" needs a GPU'
    return None if spec.file is None else _file_problem(spec.file, spec.family)


def _without_folders(text: str, spec: ModelSpec) -> str:
    """``text`` with only the names of the model's files and folders, since clients must not learn where they are."""
    for path in _places(spec):
        text = text.replace(str(path), path.name)
    return text


def _paths_in(text: str, spec: ModelSpec) -> str | None:
    """The model's files and folders that ``text`` names; ``None`` if it names none."""
    return ", ".join(str(path) for path in _places(spec) if str(path) in text) or None


def _places(spec: ModelSpec) -> list[Path]:
    return [path for path in (spec.folder, spec.config, spec.file, spec.vae, spec.denoiser) if path is not None]


def _file_problem(file: Path, family: str) -> str | None:
    if file.suffix != ".safetensors":
        return f"{file} is no .safetensors file"
    try:
        found = family_of(file)
    except ModelUnavailable as error:
        return str(error)
    if found is None:
        reason = kind_of(file).problem or f"it is {kind_of(file)}"
        return f"{file} cannot be loaded: it is no complete checkpoint in its authors' layout: {reason}"
    return None if found == family else f'{file} is a checkpoint of another family; set family = "{found}"'


def dtype_of(spec: ModelSpec, device: torch.device, family: Family) -> torch.dtype:
    """The dtype that ``spec`` means on ``device``."""
    if spec.dtype == "auto":
        return family.half if device.type == "cuda" else torch.float32
    return DTYPES[spec.dtype]


def read_pipeline(spec: ModelSpec, family: Family, dtype: torch.dtype) -> Any:
    """The pipeline of ``spec`` as diffusers reads it, in the host's memory; raises what diffusers raises."""
    pipeline = _read(spec, family, dtype)
    if spec.vae is not None:
        pipeline.register_modules(vae=load_vae(spec.vae, pipeline.vae, dtype))
    return pipeline


def _read(spec: ModelSpec, family: Family, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"dtype": dtype, **family.options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # outdated scheduler configs, which diffusers corrects itself
        if spec.file is not None:
            return _read_file(spec, spec.file, family, options)
        folder = place_of(spec)
        if folder is None:
            raise ModelUnavailable(f"its files are not downloaded; photogram models pull {spec.name}")
        index = family.pipeline_class.load_config(folder, local_files_only=True)
        problem = denoiser_problem(index, spec.family)
        if problem is not None:
            raise ModelUnavailable(problem)
        options |= {name: None for name in family.optional if (index.get(name) or [None])[0] is None}
        options |= {name: None for name in UNUSED_PARTS if name in index}
        options |= read_own_denoiser(spec, family, {"config": str(folder), "local_files_only": True}, dtype)
        place = {"variant": variant_of(folder), "local_files_only": True}
        return family.pipeline_class.from_pretrained(folder, use_safetensors=True, **place, **options)


def _read_file(spec: ModelSpec, file: Path, family: Family, options: dict[str, Any]) -> Any:
    """Read a single file, which holds weights only.

    Without ``spec.config``, its configurations and tokenizers are those of the published model of its architecture; if
    that is unknown, diffusers asks the model hub.
    """
    with tempfile.TemporaryDirectory(prefix="photogram-") as folder:
        config = spec.config
        if config is None and write_configuration(file, spec.family, spec.prediction, Path(folder)):
            config = Path(folder)
        place = {} if config is None else {"config": str(config), "local_files_only": True}
        try:
            own = read_own_denoiser(spec, family, place, options["dtype"])
            return family.pipeline_class.from_single_file(str(file), **place, **options, **own)
        except LocalEntryNotFoundError as error:
            raise ModelUnavailable(
                "the file holds no configurations and tokenizers, its architecture is unknown here, and the model hub "
                'cannot be reached; set config = "FOLDER" beside file, a diffusers folder of any model of the same '
                "kind (its weights are not needed)"
            ) from error
