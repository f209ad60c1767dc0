"""The subjects that a prompt may have, and the template by which a small language model chooses one."""

from __future__ import annotations

from models.language.profiles.shape import Template

PERSON, ANIMAL, SEA, FOOD, PLANT = "person", "animal", "sea creature", "food", "plant"
VEHICLE, BUILDING, LANDSCAPE, ITEM, FANTASY = "vehicle", "building", "landscape", "item", "fantasy"
_LEAD = ":"

SUBJECT = Template(
    system="You say in one or two words what kind of thing it is.",
    examples=tuple((words, f"{_LEAD} {subject}") for words, subject in (
        ("a deer", ANIMAL), ("pancakes with syrup", FOOD), ("a wizard", PERSON), ("lavender", PLANT),
        ("an old van", VEHICLE), ("a ruined temple", BUILDING), ("rolling hills", LANDSCAPE), ("a squid", SEA),
        ("a wyvern", FANTASY), ("a teacup", ITEM), ("boots", ITEM), ("a rowing boat", VEHICLE),
        ("daisies in a jar", PLANT), ("an old camera", ITEM), ("a shepherd's hut", BUILDING), ("a starfish", SEA),
        ("a nurse", PERSON), ("a town square", BUILDING), ("an orange", FOOD), ("a canyon", LANDSCAPE),
        ("a goblin", FANTASY), ("a duck", ANIMAL), ("a drum", ITEM), ("a bunch of lilies", PLANT),
        ("a steam ship", VEHICLE), ("a church", BUILDING),
    )),
    tokens_max=16,
    begins=_LEAD,
)  # fmt: skip
