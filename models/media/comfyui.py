"""ComfyUI's graph of nodes, in the form that its API takes, as settings: those of the sampler and what feeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.media.infotext import NEGATIVE_PROMPT, PROMPT

Graph = Mapping[str, Any]
Node = Mapping[str, Any]

_NODES_MAX = 500
"""How many nodes are visited from one input, at most."""
_SAMPLER = {"steps": "Steps", "cfg": "CFG scale", "seed": "Seed", "noise_seed": "Seed", "denoise": "Denoising strength"}
_SCHEDULERS = {
    "karras": "Karras", "exponential": "Exponential", "normal": "Normal", "simple": "Simple", "beta": "Beta",
    "sgm_uniform": "SGM Uniform", "ddim_uniform": "DDIM", "kl_optimal": "KL Optimal",
}  # fmt: skip
_TEXTS = ("text", "text_g", "text_l", "prompt", "string", "value", "populated_text", "t5xxl", "clip_l")
_CONDITIONINGS = ("conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "positive", "negative")


def graph_settings(graph: Graph) -> dict[str, object] | None:
    """The settings in ``graph`` under A1111's names; ``None`` if it is no graph with a sampler."""
    nodes = {str(name): node for name, node in graph.items() if isinstance(node, dict) and _inputs(node)}
    samplers = [node for node in nodes.values() if {"positive", "negative"} <= set(_inputs(node)) and _is_sampler(node)]
    if not samplers:
        return None
    sampler = _inputs(samplers[0])
    found: dict[str, object] = {}
    for name, ours in _SAMPLER.items():
        value = _value(nodes, sampler.get(name))
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.setdefault(ours, value)
    if found.get("Denoising strength") == 1:
        del found["Denoising strength"]
    found |= _sampler_names(nodes, sampler)
    found |= _size(nodes, sampler) | _models(nodes, sampler)
    tags = str(found.pop("tags", ""))
    found[PROMPT] = " ".join(filter(None, (_text(nodes, sampler["positive"]), tags)))
    found[NEGATIVE_PROMPT] = _text(nodes, sampler["negative"])
    return found


def _inputs(node: Node) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _is_sampler(node: Node) -> bool:
    return bool({"steps", "sampler_name", "sigmas"} & set(_inputs(node)))


def _linked(nodes: Graph, value: object) -> Node | None:
    """The node that ``value``, a link ``[node, output]``, comes from."""
    return nodes.get(str(value[0])) if isinstance(value, list) and len(value) == 2 else None


def _value(nodes: Graph, value: object) -> object:
    """``value``, or the value of the plain node that it is linked to."""
    node = _linked(nodes, value)
    if node is None:
        return None if isinstance(value, list | dict) else value
    return next((each for each in _inputs(node).values() if isinstance(each, str | int | float)), None)


def _upstream(nodes: Graph, value: object, through: tuple[str, ...] | None = None) -> Iterator[Node]:
    """The nodes that ``value`` comes from, the nearest first: through inputs of these names, or through all."""
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < _NODES_MAX:
        node = _linked(nodes, waiting.pop(0))
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        inputs = _inputs(node)
        waiting += [each for name, each in inputs.items() if through is None or name in through]


def _text(nodes: Graph, value: object) -> str:
    """The texts of a conditioning; several, such as those of SDXL's two encoders, only once each."""
    texts: dict[str, None] = {}
    for node in _upstream(nodes, value, (*_CONDITIONINGS, *_TEXTS)):
        said = (_inputs(node).get(name) for name in _TEXTS)
        texts.update(dict.fromkeys(each.strip() for each in said if isinstance(each, str) and each.strip()))
    return ", ".join(texts)


def _sampler_names(nodes: Graph, sampler: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    sampler_name, scheduler = (_value(nodes, sampler.get(name)) for name in ("sampler_name", "scheduler"))
    if isinstance(sampler_name, str):
        found["Sampler"] = sampler_name.removesuffix("_gpu")
    if isinstance(scheduler, str):
        found["Schedule type"] = _SCHEDULERS.get(scheduler, scheduler)
    return found


def _size(nodes: Graph, sampler: Mapping[str, Any]) -> dict[str, object]:
    for node in _upstream(nodes, sampler.get("latent_image")):
        width, height = (_value(nodes, _inputs(node).get(name)) for name in ("width", "height"))
        if isinstance(width, int) and isinstance(height, int):
            return {"Size-1": width, "Size-2": height}
    return {}


def _models(nodes: Graph, sampler: Mapping[str, Any]) -> dict[str, object]:
    """The model, and the LoRAs on the way to it as tags."""
    tags: list[str] = []
    for node in _upstream(nodes, sampler.get("model"), ("model",)):
        inputs = _inputs(node)
        lora, name = inputs.get("lora_name"), inputs.get("ckpt_name", inputs.get("unet_name"))
        if isinstance(lora, str) and not set(lora) & set("<>:"):
            weights = (inputs.get("strength_clip", inputs.get("strength_model", 1)), inputs.get("strength_model", 1))
            numbers = [str(each) for each in dict.fromkeys(weights) if isinstance(each, int | float)]
            tags.insert(0, ":".join(("<lora", _stem(lora), *numbers)) + ">")
        if isinstance(name, str):
            return {"Model": _stem(name), "tags": " ".join(tags)}
    return {"tags": " ".join(tags)}


def _stem(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors").removesuffix(".ckpt")
