"""Values in the file of learned weights that are no numbers."""

import math
import struct
from pathlib import Path

import pytest

from gatepost.doctor.finding import State
from gatepost.doctor.learning import judge_values
from gatepost.model.learned_weights import FILE_SIZE, MAGIC, PAGE, STATE
from gatepost.storage.weights_file import find_no_numbers, lay_blank


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    lay_blank(path)
    return path


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def test_numbers_of_any_size_are_numbers(file: Path) -> None:
    assert find_no_numbers(file) == ""
    largest = struct.pack("f", 3.4e38)
    write(file, PAGE, largest * ((FILE_SIZE - PAGE) // 4))
    assert find_no_numbers(file) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("offset", [PAGE, (FILE_SIZE - PAGE) // 8 * 4 + PAGE, FILE_SIZE - 4])
def test_one_value_that_is_no_number_is_found(file: Path, value: float, offset: int) -> None:
    write(file, offset, struct.pack("f", value))
    assert find_no_numbers(file) == "it holds values that are no numbers"


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_the_state_beside_them_is_looked_at(file: Path, slot: int) -> None:
    values = [1.0, 1.0, 0.0]
    values[slot] = math.nan
    write(file, 0, STATE.pack(MAGIC, 3, 3, *values))
    assert find_no_numbers(file) == "it holds values that are no numbers"


def test_what_a_look_at_the_file_tells_is_not_told_twice(tmp_path: Path) -> None:
    place = tmp_path / "weights.bin"
    assert find_no_numbers(place) == ""
    for content in (b"", b"x" * 10, b"\xff" * FILE_SIZE):
        place.write_bytes(content)
        assert find_no_numbers(place) == ""
    place.unlink()
    place.mkdir()
    assert find_no_numbers(place) == ""


def test_the_finding_says_what_helps(file: Path) -> None:
    assert list(judge_values(file, "")) == []
    [finding] = judge_values(file, "it holds values that are no numbers")
    assert finding.state is State.WARNING
    assert str(file) in finding.text
    assert "spam model reset" in finding.mend
