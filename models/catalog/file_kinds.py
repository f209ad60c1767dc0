"""What a file of weights is, told by the names and shapes of its tensors: a checkpoint, a LoRA, a VAE and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.catalog.families import FLUX, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.gguf_files import GGUF, TYPES
from models.catalog.lora_files import look_at
from models.catalog.pickle_names import names_in_pickle
from models.catalog.single_file import configuration_problem, family_among, marked_prediction
from models.catalog.weights import SAFETENSORS, file_problem, read_header
from models.errors import ModelUnavailable

CHECKPOINT, LORA, VAE, EMBEDDING = "checkpoint", "LoRA", "VAE", "embedding"
CONTROLNET, UPSCALER = "ControlNet", "upscaler"
DENOISER, TEXT_ENCODER, OTHER, UNKNOWN = "denoiser", "text encoder", "other", "unknown"
TABLES: Mapping[str, str] = {
    LORA: "loras", EMBEDDING: "embeddings", CONTROLNET: "controlnets", UPSCALER: "upscalers",
}  # fmt: skip
"""The table of the catalog that a file of each kind belongs to; a checkpoint belongs to ``models``."""

Header = Mapping[str, Any]
"""The header of a ``.safetensors`` file without its metadata: dtype and shape of each tensor by name."""


@dataclass(frozen=True)
class FileKind:
    """What a file is."""

    kind: str
    """One of the constants of this module; ``UNKNOWN`` for a file that cannot be read."""
    family: str | None = None
    """The family of models that it is of or fits, if the file tells."""
    details: tuple[str, ...] = ()
    """Further words for people, such as ``SD 1.x`` or ``inpainting``."""
    problem: str | None = None
    """Why it cannot be used, as far as its header shows; ``None`` if it can. Without its path."""
    configuration_problem: str | None = None
    """Why a checkpoint can be used with a given configuration only; ``None`` if it needs none."""

    def __str__(self) -> str:
        words = ", ".join((*(() if self.family is None else (self.family,)), *self.details))
        if self.kind in (OTHER, UNKNOWN):
            return words or "a file of an unknown kind"
        article = "an" if self.kind in (EMBEDDING, UPSCALER) else "a"
        alone = " alone" if self.kind in (DENOISER, TEXT_ENCODER) else ""
        return f"{article} {self.kind}{alone}" + (f" ({words})" if words else "")


@dataclass(frozen=True)
class _Sign:
    """Names by which a kind is recognised."""

    kind: str
    names: tuple[re.Pattern[str], ...]
    """Each must be found in the name of a tensor."""
    what: str = ""
    """What the file is, if Photogram has no use for it."""


def _sign(kind: str, *names: str, what: str = "") -> _Sign:
    return _Sign(kind, tuple(re.compile(name) for name in names), what)


_SIGNS = (
    _sign(OTHER, r"^lllite_", what="a ControlNet-LLLite, which Photogram does not run"),
    _sign(OTHER, r"^lora_controlnet$", what="a Control-LoRA, which Photogram does not run"),
    _sign(OTHER, r"^(image_proj|ip_adapter)\.", what="an IP-Adapter, which Photogram does not run"),
    _sign(OTHER, r"motion_modules\.", what="an AnimateDiff motion module, which Photogram does not run"),
    _sign(OTHER, r"^(adapter\.)?body\.\d+\.(in_conv|resnets|block1)\b",
          what="a T2I-Adapter, which Photogram does not run"),
    _sign(OTHER, r"(^|\.)double_stream_modulation_img\.", what="FLUX.2, which Photogram does not run"),
    _sign(OTHER, r"(^|\.)distilled_guidance_layer\.", what="Chroma, which Photogram does not run"),
    _sign(OTHER, r"^task_embedding$", what="a union ControlNet, which Photogram does not run"),
    _sign(LORA, r"[._]lora[._](up|down|A|B)\b|\.lora_(up|down|A|B)\.|^lora_(unet|te\d?|transformer|prior)_"),
    _sign(LORA, r"\.(hada_w1_[ab]|lokr_w1(_a)?|oft_(blocks|diag)|dora_scale|lora_magnitude_vector)"),
    _sign(CONTROLNET, r"^(control_model\.)?(input_hint_block\.0\.|zero_convs\.0\.)"),
    _sign(CONTROLNET, r"^(control_model\.)?controlnet_(cond_embedding|down_blocks|mid_block)\."),
    _sign(CHECKPOINT, r"^model\.diffusion_model\.", r"^(cond_stage_model|conditioner\.embedders|text_encoders)\."),
    _sign(DENOISER, r"^(model\.diffusion_model\.)?(input_blocks\.0\.0\.|double_blocks\.0\.|joint_blocks\.0\.)"),
    _sign(DENOISER, r"^(down_blocks\.0\.|transformer_blocks\.0\.|single_transformer_blocks\.0\.)",
          r"^(time_embedding|time_text_embed|adaln_single)\."),
    _sign(DENOISER, r"^model\.diffusion_model\."),
    _sign(VAE, r"^((first_stage_model|vae)\.)?encoder\.conv_in\.", r"^((first_stage_model|vae)\.)?decoder\.conv_out\."),
    _sign(OTHER, r"^decoder\.layers\.0\.weight$", what="a tiny VAE (TAESD), which Photogram does not use"),
    _sign(TEXT_ENCODER, r"(^|\.)text_model\.(encoder\.layers\.0|embeddings)\."),
    _sign(TEXT_ENCODER, r"^embeddings\.(token|position)_embedding\."),
    _sign(TEXT_ENCODER, r"transformer\.resblocks\.0\.|^resblocks\.0\."),
    _sign(TEXT_ENCODER, r"(^|\.)encoder\.block\.0\.layer\.0\.SelfAttention\."),
    _sign(UPSCALER, r"^model\.0\.weight$", r"^model\.1\.sub\.0\.RDB1\."),
    _sign(UPSCALER, r"^conv_first\.", r"^(body\.0\.rdb1|RRDB_trunk\.0\.RDB1)\."),
    _sign(UPSCALER, r"^conv_first\.", r"^layers\.0\.(residual_group\.|blocks\.0\.|swin1\.)"),
    _sign(UPSCALER, r"^body\.0\.weight$", r"^body\.1\.weight$", r"^body\.2\.weight$"),
    _sign(UPSCALER, r"^m_head\.0\.weight$", r"^m_tail\.0\.weight$"),
    _sign(UPSCALER, r"^conv_1\.sk\.weight$", r"^upsampler\.0\.weight$"),
    _sign(UPSCALER, r"^residual_layer\.0\.residual_layer\.0\.", r"^up\.0\.weight$"),
    _sign(UPSCALER, r"^feats\.0\.weight$", r"^feats\.1\.(lk|refine)\."),
)  # fmt: skip
"""The first sign that is found decides. Upscalers: the architectures that spandrel recognises by the same names."""

_CONTEXT = re.compile(r"attn2[._]to_k[._](lora[._](down|A)\.|down\.)?weight$")
_FIRST_LAYER = re.compile(r"^(model\.diffusion_model\.|control_model\.)?(input_blocks\.0\.0|conv_in)\.weight$")
_VERSIONS: Mapping[int, tuple[str, str]] = {
    768: (STABLE_DIFFUSION, "SD 1.x"), 1024: (STABLE_DIFFUSION, "SD 2.x"), 2048: (SDXL, ""), 1280: (SDXL_REFINER, ""),
}  # fmt: skip
"""Family and version by the width of the text states that the UNet attends to."""
_EMBEDDING_NAMES = (frozenset({"emb_params"}), frozenset({"clip_l", "clip_g"}))
_EMBEDDING_WIDTHS: Mapping[frozenset[int], tuple[str, str]] = {
    frozenset({768}): (STABLE_DIFFUSION, "SD 1.x"),
    frozenset({1024}): (STABLE_DIFFUSION, "SD 2.x"),
    frozenset({768, 1280}): (SDXL, ""),
}
EMBEDDING_VECTORS_MAX = 75
"""As many tokens as a chunk of CLIP has between its first and its last one."""
_UNET_CHANNELS: Mapping[int, str] = {9: "inpainting"}
"""What the input channels tell; 4 are latents alone."""
_DTYPES: Mapping[str, str] = {
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    **{name: name for name, block, _ in TYPES.values() if block > 1},
}  # fmt: skip
"""Words for the dtypes of tensors that are worth a word."""
_QUANTIZED = re.compile(r"(^|\.)(scaled_fp8|scale_weight|weight_scale|absmax|quant_map)$|\.quant_state\.|\.qweight$")


def kind_of(file: Path) -> FileKind:
    """What ``file`` is. Only names and shapes are read; a file that did not change is read once, and none is unpickled.

    A broken file is ``UNKNOWN``, with the reason in ``problem``.
    """
    try:
        status = file.stat()
    except OSError as error:
        return FileKind(UNKNOWN, problem=f"its file cannot be read: {error.strerror}")
    return _kind_of(file, status.st_mtime_ns, status.st_size)


def misplaced(file: Path, table: str) -> str | None:
    """What a ``.safetensors`` file in ``table`` is, if it certainly belongs elsewhere; ``None`` if it may fit."""
    if table not in TABLES.values() or file.suffix.lower() != SAFETENSORS:
        return None
    kind = kind_of(file)
    certain = kind.kind in (CHECKPOINT, VAE, *TABLES)
    return f"it is {kind}" if certain and TABLES.get(kind.kind) != table else None


@lru_cache(8192)
def _kind_of(file: Path, modified_at_ns: int, size_bytes: int) -> FileKind:
    problem = file_problem(file)
    if problem is not None:
        return FileKind(UNKNOWN, problem=problem)
    if file.suffix.lower() == SAFETENSORS:
        return _of_safetensors(file)
    if file.suffix.lower() == GGUF:
        return _of_gguf(file)
    if file.suffix.lower() == ".pth":
        return _of_pth(file)
    return FileKind(UNKNOWN, problem=f"it is no {SAFETENSORS} or {GGUF} file")


def _of_safetensors(file: Path) -> FileKind:
    try:
        whole = read_header(file)
    except ModelUnavailable as error:
        return FileKind(UNKNOWN, problem=str(error))
    header = {name: tensor for name, tensor in whole.items() if name != "__metadata__"}
    found = _embedding(header) or _by_sign(header, file)
    if any(_QUANTIZED.search(name) for name in header) and found.problem is None:
        reason = "its weights are quantised with scales of their own, which are not read"
        return replace(found, problem=f"{reason}: use the file in fp16, bf16 or plain fp8")
    return found


def _of_gguf(file: Path) -> FileKind:
    try:
        header = read_header(file)
    except ModelUnavailable as error:
        return FileKind(UNKNOWN, problem=str(error))
    found = _by_sign(header, file)
    if found.kind == DENOISER:
        return found
    return replace(found, problem=f"only denoisers (UNets and transformers) are read from {GGUF} files")


def _by_sign(header: Header, file: Path) -> FileKind:
    sign = _first_sign(header)
    if sign is None:
        return FileKind(UNKNOWN, problem=_unknown(header))
    return _READERS[sign.kind](header, file, sign)


def _of_pth(file: Path) -> FileKind:
    """A ``.pth`` file: a pickle, of which only upscalers are read, and these without running code."""
    sign = _first_sign(names_in_pickle(file))
    if sign is not None and sign.kind == UPSCALER:
        return FileKind(UPSCALER)
    kind = UNKNOWN if sign is None else sign.kind
    return FileKind(kind, problem=f"only upscalers are read from pickles ({file.suffix}): convert it to {SAFETENSORS}")


def _first_sign(names: Iterable[str]) -> _Sign | None:
    listed = tuple(names)
    found = (sign for sign in _SIGNS if all(any(map(each.search, listed)) for each in sign.names))
    return next(found, None)


def _unknown(header: Header) -> str:
    if not header:
        return "its file holds no tensors"
    return f"it is of no known kind: its first tensor is {next(iter(header))[:100]!r}"


def _checkpoint(header: Header, file: Path, sign: _Sign) -> FileKind:
    family = family_among(header)
    if family is None:
        return FileKind(CHECKPOINT, problem="it is a checkpoint of no supported family")
    if not any(name.startswith(("first_stage_model.", "vae.")) for name in header):
        return FileKind(CHECKPOINT, family, problem="it is a checkpoint without a VAE: use the complete file")
    prediction = marked_prediction(read_header(file))
    details = (*_version(header), *_channels(header), *(("v-prediction",) if prediction == "v_prediction" else ()))
    return FileKind(
        CHECKPOINT,
        family,
        (*details, *_dtypes(header)),
        _channels_problem(header),
        configuration_problem(header, family),
    )


def _lora(header: Header, file: Path, sign: _Sign) -> FileKind:
    looked = look_at(file)
    return FileKind(LORA, looked.family, _version(header), looked.problem)


def _controlnet(header: Header, file: Path, sign: _Sign) -> FileKind:
    return FileKind(CONTROLNET, _family_by_width(header), _version(header))


def _denoiser(header: Header, file: Path, sign: _Sign) -> FileKind:
    family = _family_by_width(header) or family_among(header) or _family_in_diffusers_layout(header)
    details = (*_version(header), *_channels(header), *_dtypes(header))
    problem = "it is a UNet or transformer of no supported family" if family is None else _channels_problem(header)
    return FileKind(DENOISER, family, details, problem)


def _family_in_diffusers_layout(header: Header) -> str | None:
    """FLUX.1, if the transformer has its names in diffusers; FLUX.2 has no ``time_text_embed``."""
    marks = ("single_transformer_blocks.0.", "time_text_embed.")
    return FLUX if all(any(name.startswith(mark) for name in header) for mark in marks) else None


def _vae(header: Header, file: Path, sign: _Sign) -> FileKind:
    channels = next((shape[1] for name, shape in _shapes(header) if name.endswith("decoder.conv_in.weight")), None)
    return FileKind(VAE, details=() if channels is None else (f"{channels} channels of latents",))


def _text_encoder(header: Header, file: Path, sign: _Sign) -> FileKind:
    return FileKind(TEXT_ENCODER, problem="it is a text encoder alone: a checkpoint brings its own")


def _upscaler(header: Header, file: Path, sign: _Sign) -> FileKind:
    return FileKind(UPSCALER)


def _other(header: Header, file: Path, sign: _Sign) -> FileKind:
    return FileKind(OTHER, details=(sign.what,), problem=f"it is {sign.what}")


_READERS: Mapping[str, Callable[[Header, Path, _Sign], FileKind]] = {
    CHECKPOINT: _checkpoint, LORA: _lora, CONTROLNET: _controlnet, DENOISER: _denoiser, VAE: _vae,
    TEXT_ENCODER: _text_encoder, UPSCALER: _upscaler, OTHER: _other,
}  # fmt: skip


def _embedding(header: Header) -> FileKind | None:
    """The embedding in a file: A1111's and SDXL's names, or one tensor of vectors; ``None`` if it is no embedding."""
    shapes = dict(_shapes(header))
    named = any(names <= shapes.keys() for names in _EMBEDDING_NAMES)
    widths = frozenset(shape[-1] for shape in shapes.values() if 1 <= len(shape) <= 2)
    known = _EMBEDDING_WIDTHS.get(widths)
    is_vectors = len(header) == 1 and known is not None and not any("." in name for name in header)
    if not named and not is_vectors:
        return None
    family, version = known or (None, f"width {'+'.join(map(str, sorted(widths)))}")
    return FileKind(EMBEDDING, family, (version,) if version else (), _vectors_problem(header))


def _vectors_problem(header: Header) -> str | None:
    """Why the tensors of an embedding are no vectors that take the place of a word."""
    names = next((names for names in _EMBEDDING_NAMES if names <= header.keys()), header.keys())
    tensors = [header[name] for name in names]
    dtypes = {str(tensor.get("dtype")) for tensor in tensors}
    if not all(dtype.startswith(("F", "BF")) for dtype in dtypes):
        return f"its vectors are of the type {', '.join(sorted(dtypes))}, and not of floating-point numbers"
    shapes = [tensor["shape"] for tensor in tensors]
    if not all(1 <= len(shape) <= 2 for shape in shapes):
        return f"its tensors have the shapes {', '.join(map(str, shapes))}, and are no vectors"
    counts = {1 if len(shape) == 1 else shape[0] for shape in shapes}
    if len(counts) > 1:
        return f"its text encoders have different numbers of vectors: {', '.join(map(str, sorted(counts)))}"
    count = next(iter(counts))
    if not 1 <= count <= EMBEDDING_VECTORS_MAX:
        return f"it has {count} vectors, and from 1 to {EMBEDDING_VECTORS_MAX} fit into a prompt"
    return None


def _shapes(header: Header) -> Iterator[tuple[str, list[int]]]:
    for name, tensor in header.items():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if isinstance(shape, list) and shape and all(isinstance(side, int) for side in shape):
            yield name, shape


def _version(header: Header) -> tuple[str, ...]:
    version = _VERSIONS.get(_context_width(header), ("", ""))[1]
    return (version,) if version else ()


def _family_by_width(header: Header) -> str | None:
    found = _VERSIONS.get(_context_width(header))
    return None if found is None else found[0]


def _context_width(header: Header) -> int:
    widths = (shape[-1] for name, shape in _shapes(header) if len(shape) > 1 and _CONTEXT.search(name))
    return next(widths, 0)


def _input_channels(header: Header) -> int:
    channels = (shape[1] for name, shape in _shapes(header) if len(shape) > 1 and _FIRST_LAYER.search(name))
    return next(channels, 4)


def _channels(header: Header) -> tuple[str, ...]:
    found = _UNET_CHANNELS.get(_input_channels(header))
    return () if found is None else (found,)


def _channels_problem(header: Header) -> str | None:
    channels = _input_channels(header)
    known = channels in (4, *_UNET_CHANNELS)
    return None if known else f"its UNet takes {channels} channels; only 4, or 9 for inpainting, are supported"


def _dtypes(header: Header) -> tuple[str, ...]:
    held = {tensor.get("dtype") for tensor in header.values() if isinstance(tensor, dict)}
    return tuple(name for dtype, name in _DTYPES.items() if dtype in held)
