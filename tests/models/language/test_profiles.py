"""The profiles' data: whole, well-formed, and in step with what the models were taught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.catalog.catalog import ModelSpec, house_spec
from models.catalog.families import FAMILIES, FLUX, PIXART_SIGMA, SD3
from models.jobs.prompts import Fragment, parse
from models.language.budget import budget_of, estimate
from models.language.cleaning import PhraseFilter, clean, plain_text
from models.language.profiles import GROUNDS, PROFILES, Profile, Template, profile_of
from training.house.images import GROUNDS as TAUGHT

EVERY = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def templates(profile: Profile) -> list[Template]:
    return [each for each in (profile.free, profile.guided, profile.subject, profile.negative) if each is not None]


def test_the_grounds_are_those_that_the_built_in_model_was_taught() -> None:
    assert set(GROUNDS) == set(TAUGHT)


def test_each_model_has_its_profile() -> None:
    assert profile_of(house_spec()).name == "icons"
    for family in FAMILIES:
        profile = profile_of(ModelSpec(name="x", family=family, folder=Path("x")))
        assert profile.name == ("sentence" if family in (FLUX, PIXART_SIGMA, SD3) else "tags")


@EVERY
def test_every_kind_has_phrases_that_are_plain_text(profile: Profile) -> None:
    assert len(profile.subjects) == 10
    for subject in profile.subjects.values():
        for choice in subject.choices:
            assert len(set(choice.phrases)) == len(choice.phrases) > 1
            assert all(re.fullmatch(r"[a-z][a-z -]*[a-z]", phrase) for phrase in choice.phrases)
        added = "".join(choice.text(choice.phrases[-1]) for choice in subject.choices)
        text = "a cat" + added + "x".join(subject.negatives)
        assert parse(text).fragments == (Fragment(text),)
        assert profile.guided is None or re.fullmatch("".join(choice.regex for choice in subject.choices), added)


@EVERY
def test_one_token_tells_what_is_picked(profile: Profile) -> None:
    picked = [tuple(profile.subjects)]
    if profile.guided is None:
        picked += [choice.phrases for subject in profile.subjects.values() for choice in subject.choices]
    for names in picked:
        assert len({name[:3] for name in names}) == len(names)


@EVERY
def test_the_longest_choice_fits_the_budget(profile: Profile) -> None:
    count, limit = (estimate, 75) if profile.name != "icons" else (budget_of(house_spec()).count, 22)
    for subject in profile.subjects.values():
        longest = "".join(choice.text(max(choice.phrases, key=count)) for choice in subject.choices)
        assert count(longest) <= 0.75 * limit


@EVERY
def test_examples_are_what_is_wanted(profile: Profile) -> None:
    for template in templates(profile):
        assert template.system.isprintable() and template.examples
        for user_text, answer in template.examples:
            assert plain_text(user_text) == user_text
            if template is profile.free and not profile.free_choices:
                taken = PhraseFilter(user_text)
                cached = "".join([*taken.feed(answer), *taken.end(False)])
                assert cached == answer.rstrip(".")
            if not template.is_continuation:
                assert all(clean(phrase) == phrase for phrase in answer.split(", "))


@EVERY
def test_guided_examples_are_among_the_choices(profile: Profile) -> None:
    wanted = [*profile.free_choices, *(choice for subject in profile.subjects.values() for choice in subject.choices)]
    for _, answer in (profile.guided or profile.free).examples:
        rest = answer
        while rest:
            offered = (choice.text(phrase) for choice in wanted for phrase in choice.phrases)
            found = [text for text in offered if rest.startswith(text)]
            assert found, rest
            rest = rest.removeprefix(max(found, key=len))
    for _, answer in profile.subject.examples:
        assert answer.removeprefix(": ") in profile.subjects


def test_no_example_is_a_prompt_that_rewriting_is_measured_by() -> None:
    held_out = Path(__file__).parents[3] / "benchmarks" / "data" / "held_out_prompts.txt"
    prompts = {line.strip().casefold() for line in held_out.read_text(encoding="utf-8").splitlines()}
    for profile in PROFILES.values():
        for template in templates(profile):
            assert not prompts & {user_text.casefold() for user_text, _ in template.examples}
