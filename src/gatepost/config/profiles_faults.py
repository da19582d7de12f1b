"""What is wrong with a file of a rule set, fault by fault: where it stands, what is wrong, how to mend it.

Called by `config.profiles_files` for a file that cannot be taken. The decoder stops at the first fault, so what has
one is taken out and the rest tried again: a file is mended in one go. Never raises for what a file holds.
"""

import difflib
import enum
import re
from typing import Any, Final

import msgspec

FAULTS_LIMIT: Final = 50
"""Faults of one file that are told: who has more of them has mistaken the file for another."""

_PATH: Final = re.compile(r"(.*?)(?: - at `\$(?:\.([^`]*))?`)?\Z", re.DOTALL)
_STEP: Final = re.compile(r"(\w+)((?:\[\d+\])*)")
_INDEX: Final = re.compile(r"\d+")
_UNKNOWN: Final = "Object contains unknown field"
_NAMED: Final = re.compile(rf"(Invalid enum value|{_UNKNOWN}) ['`](.*)['`]\Z", re.DOTALL)
_WORDS: Final = {"rule": "rule", "if": "condition", "then": "action"}
_MANUAL: Final = "See the manual page of rules for what may stand here"


class Fault(msgspec.Struct, frozen=True):
    """One of them."""

    place: str
    """In the words of this product: "rule 2, condition 1, test"; "" for the file as a whole."""
    what: str
    mend: str


def find_faults(table: dict[str, Any], kind: type[msgspec.Struct]) -> list[Fault]:
    """Return what keeps a table from being a `kind`, in the order of the decoder. The table is used up."""
    faults: list[Fault] = []
    numbers: dict[int, list[int]] = {}
    while len(faults) < FAULTS_LIMIT:
        try:
            msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            what, steps = _parse(str(error), table)
            faults.append(Fault(_place(table, steps, numbers), what, _mend(what, kind, steps)))
            if not _take_out(table, steps, what, numbers):
                break
        else:
            break
    return faults


def _parse(text: str, table: Any) -> tuple[str, list[tuple[str, list[int]]]]:
    """Return what a message of the decoder says, and the names and indices that lead there.

    A file may hold names that look like a path; one that leads nowhere is part of the words.
    """
    found = _PATH.match(text)
    if found is None or found[2] is None:
        return found[1] if found else text, []
    steps = [(name, [int(each) for each in _INDEX.findall(indices)]) for name, indices in _STEP.findall(found[2])]
    at = table
    for name, indices in steps:
        if not isinstance(at, dict) or name not in at:
            return text, []
        at = at[name]
        for index in indices:
            if not isinstance(at, list) or index >= len(at):
                return text, []
            at = at[index]
    return found[1], steps


def _place(table: Any, steps: list[tuple[str, list[int]]], numbers: dict[int, list[int]]) -> str:
    """Return a path in words, with numbers as they are in the file, from 1."""
    words = []
    at = table
    for name, indices in steps:
        word = _WORDS.get(name, name)
        at = at[name]
        for index in indices:
            word += f" {(numbers[id(at)][index] if id(at) in numbers else index) + 1}"
            at = at[index]
        words.append(word)
    return ", ".join(words)


def _take_out(table: Any, steps: list[tuple[str, list[int]]], what: str, numbers: dict[int, list[int]]) -> bool:
    """Take out an unknown field; else the innermost element of a list that has the fault, or its field.

    False: there is nothing that could be taken out, as when a field is missing from the whole.
    """
    holder: tuple[Any, Any] | None = None
    at = table
    for name, indices in steps:
        if holder is None or isinstance(holder[0], dict):
            holder = (at, name)
        at = at[name]
        for index in indices:
            holder = (at, index)
            at = at[index]
    unknown = _NAMED.match(what)
    if unknown is not None and unknown[1] == _UNKNOWN and isinstance(at, dict) and unknown[2] in at:
        holder = (at, unknown[2])
    if holder is None:
        return False
    owner, key = holder
    if isinstance(owner, list):
        numbers.setdefault(id(owner), list(range(len(owner)))).pop(key)
    del owner[key]
    return True


def _mend(what: str, kind: type[msgspec.Struct], steps: list[tuple[str, list[int]]]) -> str:
    """Return how to mend a fault: the known word that is next to a wrong one, where there is one."""
    named = _NAMED.match(what)
    if named is None:
        return _MANUAL
    at: Any = msgspec.inspect.type_info(kind)
    for name, indices in steps:
        if not isinstance(at, msgspec.inspect.StructType):
            return _MANUAL
        at = next((field.type for field in at.fields if field.encode_name == name), None)
        for _ in indices:
            at = at.item_type if isinstance(at, msgspec.inspect.VarTupleType) else None
    if isinstance(at, msgspec.inspect.EnumType):
        words = [str(each.value) for each in at.cls if isinstance(each, enum.Enum)]
    elif isinstance(at, msgspec.inspect.StructType):
        words = [field.encode_name for field in at.fields]
    else:
        return _MANUAL
    near = difflib.get_close_matches(named[2][:100], words, n=1)
    return f"Did you mean {near[0]}?" if near else f"One of: {', '.join(words)}"
