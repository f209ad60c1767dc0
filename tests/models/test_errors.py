"""The rules for the errors of job kinds that other packages add."""

from __future__ import annotations

import pytest

from models.errors import JobFailure


@pytest.mark.parametrize("code", ["", "Too Long", "UPPER", "ends-", "1st", "x" * 65, "line\nbreak", 7, None])
def test_a_failure_with_an_unusable_code_cannot_be_defined(code):
    with pytest.raises(TypeError, match=r"Bad\.code must be snake case"):
        type("Bad", (JobFailure,), {"code": code})


def test_a_failure_inherits_the_code_of_its_base():
    class TooDark(JobFailure):
        code = "too_dark"

    class FarTooDark(TooDark):
        pass

    assert FarTooDark("the image is black").code == "too_dark"
