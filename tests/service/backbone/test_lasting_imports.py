"""What is imported for good is not searched for garbage; all else is, before and after."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from service.backbone.lasting_imports import lasting_imports


class Ring:
    """Garbage that only a search finds."""

    def __init__(self) -> None:
        self.ring = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_nothing_is_searched_within() -> None:
    with lasting_imports():
        assert not gc.isenabled()
        kept = {"module": [Ring()]}
    assert gc.isenabled() and gc.get_freeze_count() > 0
    assert not any(each is kept for each in gc.get_objects())


def test_later_garbage_is_found() -> None:
    with lasting_imports():
        pass
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None


def test_an_import_that_fails_leaves_the_search_on() -> None:
    with pytest.raises(ImportError), lasting_imports():
        raise ImportError("no such module")
    assert gc.isenabled()
