"""The words of scenes, as the text encoder of the built-in checkpoint sees them."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.catalog.concepts import Concept
from models.vision.texts import TextReader, load_text_encoder
from training.eyes.renderings import COLOURS, NONE
from training.eyes.scenes import GROUNDS, Scenes
from training.house.concepts import caption

PLAIN, BOTH = 6, 4
"""How many captions each concept has without colour and ground, and with both; the others are one of each."""
_COLOUR_SHARE, _GROUND_SHARE = 0.7, 0.6
"""How often a caption says what colour a thing has, and what ground it is on."""


class Captions:
    """Captions of all concepts, and their pooled states."""

    def __init__(self, states: Tensor, said: Tensor) -> None:
        self.states, self.said = states, said
        """[M, 384], and [M, 3]: concept, colour, ground."""
        self._rows: dict[tuple[int, int, int], list[int]] = {}
        for row, key in enumerate(said.tolist()):
            self._rows.setdefault((key[0], key[1], key[2]), []).append(row)

    def draw(self, scenes: Scenes, rng: random.Random) -> Tensor:
        """One caption of each scene [B]; it says nothing wrong, and not everything."""
        things = zip(scenes.concepts.tolist(), scenes.colours.tolist(), scenes.grounds.tolist(), strict=True)
        return torch.tensor([self._draw(*thing, rng) for thing in things])

    def _draw(self, concept: int, colour: int, ground: int, rng: random.Random) -> int:
        colour = colour if rng.random() < _COLOUR_SHARE else NONE
        ground = ground if rng.random() < _GROUND_SHARE else NONE
        rows = self._rows.get((concept, colour, ground))
        if rows is None:  # not every colour is written on every ground
            rows = self._rows[(concept, colour, NONE) if rng.random() < 0.5 else (concept, NONE, ground)]
        return rng.choice(rows)

    def fits(self, scenes: Scenes, rows: Tensor) -> Tensor:
        """Which of the captions ``rows`` [T] are true of which scene: bool [B, T]."""
        concept, colour, ground = self.said[rows].T
        is_colour = (colour == NONE) | (scenes.colours[:, None] == colour)
        is_ground = (ground == NONE) | (scenes.grounds[:, None] == ground)
        return torch.as_tensor((scenes.concepts[:, None] == concept) & is_colour & is_ground)


def prepare(concepts: list[Concept], work: Path) -> Captions:
    """Write and encode the captions, once: later calls read ``work``/captions.safetensors."""
    path = work / "captions.safetensors"
    if not path.exists():
        written = _write(concepts, random.Random(0))
        states = encode([words for words, _ in written])
        save_file({"states": states, "said": torch.tensor([said for _, said in written])}, path)
    return Captions(**load_file(path))


def _write(concepts: list[Concept], rng: random.Random) -> list[tuple[str, tuple[int, int, int]]]:
    written = []
    for number, concept in enumerate(concepts):
        both = [(rng.randrange(len(COLOURS)), rng.randrange(len(GROUNDS))) for _ in range(BOTH)]
        said = [(NONE, NONE)] * PLAIN + [(colour, NONE) for colour in range(len(COLOURS))]
        for colour, ground in [*said, *((NONE, ground) for ground in range(len(GROUNDS))), *both]:
            words = caption(concept, rng, None if colour == NONE else COLOURS[colour],
                            None if ground == NONE else GROUNDS[ground])  # fmt: skip
            written.append((words, (number, colour, ground)))
    return written


def encode(words: list[str]) -> Tensor:
    """The pooled states of ``words`` [N, 384]; texts of about one length are read together."""
    reader = TextReader(*load_text_encoder(), torch.empty(0))
    order = sorted(range(len(words)), key=lambda place: len(words[place]))
    states = torch.empty(len(words), reader.encoder.config.hidden_size)
    for start in range(0, len(words), 64):
        places = order[start : start + 64]
        states[places] = reader.pooled([words[place] for place in places])
    return states
