"""Which GPUs are counted, by CUDA's rules, and how workers are spread over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.gpus import spread, visible_gpus

TWO_CARDS = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1111aaaa-0000-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2222bbbb-0000-0000-0000-000000000000)
"""
DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1111aaaa-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-3333cccc-0000-0000-0000-000000000000)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-1111aaaa-0000-0000-0000-000000000000/11/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2222bbbb-0000-0000-0000-000000000000)
"""
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
FIRST, SECOND = "GPU-1111aaaa-0000-0000-0000-000000000000", "GPU-2222bbbb-0000-0000-0000-000000000000"


class Machine:
    """A machine with a program ``nvidia-smi`` and a folder of the driver, as far as they are set up."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.driver = folder / "bin", folder / "gpus"
        self.programs.mkdir()

    def answer(self, text: str, code: int = 0) -> None:
        """Let ``nvidia-smi`` print ``text``."""
        listing, program = self.programs / "listing", self.programs / "nvidia-smi"
        listing.write_text(text)
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && /bin/cat "{listing}"\nexit {code}\n')
        program.chmod(0o755)

    def gpus(self, visible: str | None = None) -> tuple[str, ...]:
        chosen = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        return visible_gpus({"PATH": str(self.programs), **chosen}, self.driver)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_driver_there_are_none(machine: Machine) -> None:
    assert machine.gpus() == ()
    machine.answer(NO_DRIVER, code=9)
    assert machine.gpus() == ()


def test_cards_are_listed_by_nvidia_smi(machine: Machine) -> None:
    machine.answer(TWO_CARDS)
    assert machine.gpus() == (FIRST, SECOND)


def test_parts_of_a_divided_card_count_instead_of_the_card(machine: Machine) -> None:
    machine.answer(DIVIDED)
    assert machine.gpus() == (
        "MIG-3333cccc-0000-0000-0000-000000000000", "MIG-GPU-1111aaaa-0000-0000-0000-000000000000/11/0", SECOND,
    )  # fmt: skip


@pytest.mark.parametrize("answer", [None, NO_DRIVER])
def test_without_an_answer_the_drivers_files_count(machine: Machine, answer: str | None) -> None:
    if answer is not None:
        machine.answer(answer, code=9)
    for place, uuid in (("0000:b3:00.0", SECOND), ("0000:17:00.0", FIRST)):
        (machine.driver / place).mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100\nIRQ:   \t\t 18\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n"
        (machine.driver / place / "information").write_text(text)
    assert machine.gpus() == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,1", ("0", "1")),
        (" 1 , 0 ", ("1", "0")),
        ("1", ("1",)),
        ("", ()),
        ("-1", ()),
        ("none", ()),
        ("0,-1,1", ("0",)),
        ("0,2", ("0",)),
        ("0,0", ()),
        ("GPU-2222,GPU-1111", ("GPU-2222", "GPU-1111")),
        (f"{SECOND},0", (SECOND,)),
        ("0,GPU-2222", ("0",)),
        ("MIG-3333,MIG-GPU-1111/11/0", ("MIG-3333", "MIG-GPU-1111/11/0")),
        ("GPU-1111,MIG-3333", ("GPU-1111",)),
        ("GPU-,0", ()),
    ],
)
def test_the_variable_chooses_by_cudas_rules(machine: Machine, visible: str, expected: tuple[str, ...]) -> None:
    machine.answer(TWO_CARDS)
    assert machine.gpus(visible) == expected


def test_where_cards_cannot_be_listed_the_variable_is_believed(machine: Machine) -> None:
    assert machine.gpus("0,5") == ("0", "5")


def test_workers_take_turns_on_the_gpus() -> None:
    spread_out = [(place.gpu, place.workers) for place in spread(5, ("a", "b"))]
    assert spread_out == [("a", 3), ("b", 2), ("a", 3), ("b", 2), ("a", 3)]
    assert [place.variables for place in spread(2, ())] == [{"PHOTOGRAM_DEVICE_WORKERS": "2"}] * 2
