"""Where everything stands in a TOML file, and one edit at a time by splices: what is not edited keeps its every byte.

Called by `config.editing`, which has parsed the text before (so it is TOML) and compares afterwards what the result
means. Pure. `Unsuitable` says that the place is written in a way that cannot be edited here, an inline table mostly.
"""

import enum
import re
import tomllib
from collections.abc import Sequence

import msgspec

from gatepost.config.dump import toml_string
from gatepost.config.parameter import Field, fold
from gatepost.config.schema import MOVED, find_field, normalise_section

_ROW_LENGTH = 100
"""Longer arrays are written with one element a line."""
_INDENT = "  "
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_PLAIN = re.compile(r"[^,\]}#\n]*")
_SKIPPED = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t\r]*")
_SAME_LINE = re.compile(r"[ \t\r]*(?:#[^\n]*)?")
_KEY_PART = re.compile(r"[ \t]*(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*(\.?)")
_LINE_END = re.compile(r"[^\n]*(?:\n|\Z)")

Plain = bool | int | float | str | list[str]


class Unsuitable(ValueError):  # noqa: N818 - an answer
    """The file writes it in a way that is not edited here."""


class What(enum.Enum):
    """What a statement is."""

    TABLE = 1
    ARRAY_TABLE = 2
    KEY = 3


class Statement(msgspec.Struct, frozen=True):
    """A header, or a key with its value. Offsets into the text."""

    what: What
    path: tuple[str, ...]
    """All names from the root on; of a key its own last."""
    item: int
    """Number of the table in its array."""
    start: int
    """Of its first line."""
    end: int
    """Behind its last line."""
    value: int = 0
    """Where the value begins ..."""
    value_end: int = 0
    """... and ends."""

    @property
    def section(self) -> str:
        """The section it opens, or belongs to, as the schema names it."""
        path = self.path[:-1] if self.what is What.KEY else self.path
        return normalise_section(".".join(path))

    @property
    def field(self) -> Field | None:
        """The parameter it sets."""
        return find_field(self.section, self.path[-1]) if self.what is What.KEY else None

    def sets(self, section: str, item: int, name: str) -> bool:
        """Tell whether it sets this parameter."""
        field = self.field
        if field is None:
            return False
        moved = (self.section, fold(self.path[-1])) in MOVED
        return field.section == section and field.name == name and (0 if moved else self.item) == item


def write_value(value: Plain, newline: str = "\n") -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        parts = [toml_string(each) for each in value]
        row = ", ".join(parts)
        if len(row) <= _ROW_LENGTH:
            return f"[{row}]"
        return f"[{newline}" + "".join(f"{_INDENT}{part},{newline}" for part in parts) + "]"
    return toml_string(value) if isinstance(value, str) else str(value)


def scan(text: str) -> list[Statement]:
    """Return the statements of a text that is TOML, in order."""
    found: list[Statement] = []
    counts: dict[tuple[str, ...], int] = {}
    header: tuple[str, ...] = ()
    position = 0
    while position < len(text):
        start = position
        position = _end(_BLANKS, text, position)
        if position >= len(text):
            break
        if text[position] in "\n#":
            position = _end(_LINE_END, text, position)
            continue
        if text[position] == "[":
            what = What.ARRAY_TABLE if text.startswith("[[", position) else What.TABLE
            header, position = _read_key(text, position + (2 if what is What.ARRAY_TABLE else 1))
            if what is What.ARRAY_TABLE:
                counts[header] = counts.get(header, -1) + 1
            position = _end(_LINE_END, text, position)
            found.append(Statement(what, header, _item(counts, header), start, position))
            continue
        key, position = _read_key(text, position)
        value = _end(_BLANKS, text, position + 1)  # behind the sign
        value_end = _skip_value(text, value)
        position = _end(_LINE_END, text, value_end)
        path = (*header, *key)
        found.append(Statement(What.KEY, path, _item(counts, path[:-1]), start, position, value, value_end))
    return found


def _item(counts: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """Return the number of the innermost table of an array that a path lies in."""
    for length in range(len(path), 0, -1):
        if path[:length] in counts:
            return counts[path[:length]]
    return 0


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return where what a pattern that matches always has matched ends."""
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _read_key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while (found := _KEY_PART.match(text, position)) is not None:
        word = found[1]
        parts.append(str(tomllib.loads(f"x = {word}")["x"]) if word[0] in "\"'" else word)
        position = found.end()
        if not found[2]:
            break
    return tuple(parts), position


def _skip_value(text: str, position: int) -> int:
    string = _STRING.match(text, position)
    if string is not None:
        return string.end()
    opening = text[position]
    if opening not in "[{":
        return position + len(text[position : _end(_PLAIN, text, position)].rstrip())
    depth = 0
    while True:
        position = _end(_SKIPPED, text, position)
        string = _STRING.match(text, position)
        if string is not None:
            position = string.end()
            continue
        depth += (text[position] in "[{") - (text[position] in "]}")
        position += 1
        if depth == 0:
            return position


class _Element(msgspec.Struct):
    """One element of an array with what stands around it."""

    lead: str
    """White space and comments in front."""
    text: str
    value: str
    between: str
    """In front of the comma."""
    after: str
    """The comment behind it on the same line, "" for none."""


class TomlText:
    """A TOML file's text that is edited."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._statements = scan(text)

    def find(self, section: str, item: int, name: str) -> list[Statement]:
        """Return the statements that set a parameter: none, one, or several under different spellings."""
        return [each for each in self._statements if each.sets(section, item, name)]

    def at_line(self, line: int) -> Statement | None:
        """Return the statement that stands on a line (from 1)."""
        offset = 0
        for _ in range(line - 1):
            offset = self.text.find("\n", offset) + 1
        return next((each for each in self._statements if each.start <= offset < each.end), None)

    def masked(self, instead: str) -> str:
        """Return the text with `instead` in place of every secret."""
        text = self.text
        for each in reversed(self._statements):
            field = each.field
            if field is not None and field.parameter.secret:
                text = text[: each.value] + instead + text[each.value_end :]
        return text

    def set(self, section: str, item: int, name: str, value: Plain) -> None:
        """Have a parameter say this."""
        there = self.find(section, item, name)
        if not there:
            self._insert(section, item, f"{name} = {write_value(value, self._newline)}")
            return
        for other in reversed(there[:-1]):
            self._splice(other.start, other.end, "")
            there = self.find(section, item, name)
        place = there[-1]
        old = self.text[place.value : place.value_end]
        new = self._rewrite_array(old, value) if isinstance(value, list) and old.startswith("[") else None
        self._splice(place.value, place.value_end, write_value(value, self._newline) if new is None else new)

    def unset(self, section: str, item: int, name: str) -> None:
        """Have the file say nothing of a parameter."""
        while there := self.find(section, item, name):
            self._splice(there[-1].start, there[-1].end, "")

    def add(self, section: str, item: int) -> int:
        """Put an empty table into an array, as number `item` (-1: at its end); return its number."""
        blocks = self._blocks(section)
        header = f"[[{section}]]{self._newline}"
        if 0 <= item < len(blocks):
            start, _ = blocks[item]
            self._splice(start, start, header + self._newline)
            return item
        self._put_below(blocks[-1][1] if blocks else len(self.text), header)
        return len(blocks)

    def remove(self, section: str, item: int) -> None:
        """Take a table out of its array, with the comment above it."""
        start, end = self._block(section, item)
        if self.text[end:].startswith(self._newline):
            end += len(self._newline)
        self._splice(start, end, "")

    def move(self, section: str, item: int, to: int) -> None:
        """Make a table number `to` of its array."""
        start, end = self._block(section, item)
        block = self.text[start:end]
        if not block.endswith("\n"):
            block += self._newline
        self.remove(section, item)
        blocks = self._blocks(section)
        if to < len(blocks):
            self._splice(blocks[to][0], blocks[to][0], block + self._newline)
        else:
            self._put_below(blocks[-1][1] if blocks else len(self.text), block)

    def _splice(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self._statements = scan(self.text)

    def _put_below(self, offset: int, block: str) -> None:
        """Put a block below an offset that ends a line, with an empty line between."""
        before = self.text[:offset]
        gap = "" if not before or before.endswith(("\n\n", "\r\n\r\n")) else self._newline
        if before and not before.endswith("\n"):
            gap += self._newline
        self._splice(offset, offset, gap + block)

    def _insert(self, section: str, item: int, line: str) -> None:
        headers = [
            index
            for index, each in enumerate(self._statements)
            if each.what is not What.KEY and each.section == section and each.item == item
        ]
        line += self._newline
        if headers:
            index = headers[0]
            while index + 1 < len(self._statements) and self._statements[index + 1].what is What.KEY:
                index += 1
            offset = self._statements[index].end
            if not self.text[:offset].endswith("\n"):
                line = self._newline + line
            self._splice(offset, offset, line)
        elif item:
            raise Unsuitable(f"[[{section}]] is written as an inline table")
        else:
            self._put_below(len(self.text), f"[{section}]{self._newline}{line}")

    def _blocks(self, section: str) -> list[tuple[int, int]]:
        """Return where each table of an array begins (with the comment right above it) and ends."""
        found = []
        for index, each in enumerate(self._statements):
            if each.what is not What.ARRAY_TABLE or each.section != section:
                continue
            last = index
            while last + 1 < len(self._statements):
                after = self._statements[last + 1]
                if after.what is not What.KEY and after.path[: len(each.path)] != each.path:
                    break
                if after.what is What.ARRAY_TABLE and after.path == each.path:
                    break
                last += 1
            found.append((self._comment_above(each.start), self._statements[last].end))
        return found

    def _block(self, section: str, item: int) -> tuple[int, int]:
        blocks = self._blocks(section)
        if not 0 <= item < len(blocks):
            raise Unsuitable(f"[[{section}]] number {item + 1} is not there, or written as an inline table")
        return blocks[item]

    def _comment_above(self, start: int) -> int:
        floor = max((each.end for each in self._statements if each.end <= start), default=0)
        while start > floor:
            above = self.text.rfind("\n", 0, start - 1) + 1
            if not self.text[above:start].lstrip(" \t").startswith("#"):
                break
            start = above
        return max(start, floor)

    def _rewrite_array(self, old: str, value: Sequence[str]) -> str | None:
        """Return an array with its elements replaced; those that stay keep their line and comment. None: it has none
        worth keeping, or holds other things than texts.
        """
        if "\n" not in old:
            return None
        elements, tail = _split_array(old)
        if elements is None:
            return None
        indent = next((e.lead.rpartition("\n")[2] for e in elements if "\n" in e.lead), _INDENT)
        there: dict[str, list[_Element]] = {}
        for each in reversed(elements):
            there.setdefault(each.value, []).append(each)
        kept: list[_Element] = []
        for text in value:
            if there.get(text):
                kept.append(there[text].pop())
            else:
                lead = f"{self._newline}{indent}"
                kept.append(_Element(lead, toml_string(text), text, "", ""))
        out, comment = ["["], ""
        for each in kept:
            if comment and "\n" not in each.lead:
                each.lead = f"{self._newline}{indent}"
            out += (each.lead, each.text, each.between, ",", each.after)
            comment = each.after
        if "\n" not in tail:
            tail = self._newline + tail
        return "".join((*out, tail, "]"))


def _split_array(array: str) -> tuple[list[_Element] | None, str]:
    elements: list[_Element] = []
    position = 1
    while True:
        start = position
        position = _end(_SKIPPED, array, position)
        if array[position] == "]":
            return elements, array[start:position]
        string = _STRING.match(array, position)
        if string is None:
            return None, ""
        value = str(tomllib.loads(f"x = {string[0]}")["x"])
        behind = _end(_SKIPPED, array, string.end())
        between, after = "", ""
        position = string.end()
        if array[behind] == ",":
            between = array[position:behind]
            position = behind + 1
        comment = array[position : _end(_SAME_LINE, array, position)]
        if "#" in comment:
            after = comment
            position += len(comment)
        elements.append(_Element(array[start : string.start()], string[0], value, between, after))
