"""Files of weights in the safetensors format, made without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping

LORA = {"unet.x.attn2.to_k.lora_A.weight": [4, 8], "unet.x.attn2.to_k.lora_B.weight": [8, 4]}


def safetensors(shapes: Mapping[str, list[int]], missing: int = 0) -> bytes:
    """A file of zeros with these tensors, without its last ``missing`` bytes."""
    header, place = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    whole = len(text).to_bytes(8, "little") + text + bytes(place)
    return whole[: len(whole) - missing]


LORA_FILE = safetensors(LORA)
"""The smallest file that is a LoRA by its header."""
