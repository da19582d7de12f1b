"""Every fault of a file of rules is told at once, with its place and how to mend it."""

import copy
import random
import tomllib
from typing import Any

import msgspec
import pytest

from gatepost.config.profiles_faults import FAULTS_LIMIT, Fault, find_faults
from gatepost.model.profile import AddressList, Profile

WRONG = """
name = "Gate"
coment = "a field there is not"
[[rule]]
then = [{ do = "accept" }]
[[rule]]
if = [
  { test = "size_ovr", number = 1 },
  { test = "size_over", number = 1 },
  { test = "size_over", number = "many" },
  { test = "size_over", nmber = 2 },
  { number = 3 },
]
then = [{ do = "header_lable", header = "Subject", value = "x" }, { do = "acept" }, { do = "xyzzy" }]
[[rule]]
comment = 5
"""


def test_every_fault_has_its_place_and_a_way_to_mend_it() -> None:
    manual = "See the manual page of rules for what may stand here"
    found = set(find_faults(tomllib.loads(WRONG), Profile))
    assert {each for each in found if not each.mend.startswith("One of: ")} == {
        Fault("", "Object contains unknown field `coment`", "Did you mean comment?"),
        Fault("rule 2, condition 1, test", "Invalid enum value 'size_ovr'", "Did you mean size_over?"),
        Fault("rule 2, condition 3, number", "Expected `int`, got `str`", manual),
        Fault("rule 2, condition 4", "Object contains unknown field `nmber`", "Did you mean number?"),
        Fault("rule 2, condition 5", "Object missing required field `test`", manual),
        Fault("rule 2, action 1, do", "Invalid enum value 'header_lable'", "Did you mean header_label?"),
        Fault("rule 2, action 2, do", "Invalid enum value 'acept'", "Did you mean accept?"),
        Fault("rule 3, comment", "Expected `str`, got `int`", manual),
    }
    (other,) = (each for each in found if each.mend.startswith("One of: "))
    assert (other.place, other.what) == ("rule 2, action 3, do", "Invalid enum value 'xyzzy'")
    assert "black_hole" in other.mend


@pytest.mark.parametrize("table", [{"addresses": 7}, {"addresses": [["a@b"]]}, {"addresses": {"a": "b"}}])
def test_a_value_of_another_shape(table: dict[str, Any]) -> None:
    (fault,) = find_faults(table, AddressList)
    assert fault.place.startswith("addresses")


def test_faults_without_number_end() -> None:
    assert len(find_faults({"addresses": [1] * 1000}, AddressList)) == FAULTS_LIMIT
    assert find_faults({"name": "sound"}, AddressList) == []


def test_whatever_a_file_holds_nothing_is_raised() -> None:
    dice = random.Random(7)
    junk: list[Any] = [None, 1, True, "x", [], {}, [[1]], {"$.a[0]": 1}, [{"if": [{"test": []}]}], "`", 1.5]
    whole = tomllib.loads(WRONG.replace('coment = "a field there is not"', ""))
    for _ in range(500):
        table = copy.deepcopy(whole)
        at: Any = table
        for _ in range(dice.randrange(6)):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = dice.choice(keys)
            if not isinstance(at[key], list | dict):
                at[key] = dice.choice(junk)
                break
            at = at[key]
        if isinstance(at, dict):
            at[dice.choice(["x`y' - at `$.z`", "a - at `$.b", "a - at `$.name[0]", "if", "name", "é"])] = dice.choice(
                junk
            )
        try:
            msgspec.convert(table, Profile)
        except msgspec.ValidationError:
            assert find_faults(table, Profile)
