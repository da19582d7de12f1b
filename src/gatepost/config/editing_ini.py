"""Where everything stands in a file of the documented INI form, and one edit at a time, line by line: what is not
edited keeps its every byte.

Called by `config.editing`. Pure. What stands in included files is not here: `editing` refuses it before.
"""

from collections.abc import Sequence

import msgspec

from gatepost.config.editing_toml import Unsuitable
from gatepost.config.parameter import Field, Kind, fold
from gatepost.config.schema import MOVED, find_field, normalise_section
from gatepost.config.values import split_items

_GROUP = "group:"
_COMMENTS = ("#", ";")


class _Line(msgspec.Struct):
    """One line, and what it says."""

    text: str
    """With its end."""
    section: str = ""
    """Name as the schema has it, of a header and of what stands below it."""
    item: int = 0
    header: bool = False
    name: str = ""
    value: str = ""

    @property
    def field(self) -> Field | None:
        return find_field(self.section, self.name) if self.name else None

    def sets(self, section: str, item: int, name: str) -> bool:
        field = self.field
        if field is None or self.header:
            return False
        moved = (self.section, fold(self.name)) in MOVED
        return field.section == section and field.name == name and (0 if moved else self.item) == item


class IniText:
    """An INI file's text that is edited."""

    def __init__(self, text: str) -> None:
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._lines = _read(_split(text))

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(line.text for line in self._lines)

    def at_line(self, line: int) -> tuple[str, int, str] | None:
        """Return section, number and name of what stands on a line (from 1)."""
        if not 1 <= line <= len(self._lines):
            return None
        found = self._lines[line - 1]
        field = found.field
        return (found.section, found.item, field.name if field is not None else "") if found.section else None

    def masked(self, instead: str) -> str:
        """Return the text with `instead` in place of every secret."""
        return "".join(
            f"{line.name}={instead}{_ending(line.text)}"
            if line.field is not None and line.field.parameter.secret
            else line.text
            for line in self._lines
        )

    def set(self, section: str, item: int, field: Field, values: Sequence[str]) -> None:
        """Have a parameter say this, one line for each value."""
        for value in values:
            if value != value.strip() or any(each in value for each in "\r\n\0"):
                raise Unsuitable("a value of the INI form has no line ends, and no white space at its ends")
        places = [i for i, line in enumerate(self._lines) if line.sets(section, item, field.name)]
        if not places:
            self._insert(section, item, [f"{field.documented}={value}" for value in values])
            return
        if field.parameter.kind is Kind.LIST and self._keep_lines(field, places, values):
            return
        name = self._lines[places[0]].text.partition("=")[0].rstrip()
        for place in reversed(places[1:]):
            del self._lines[place]
        end = _ending(self._lines[places[0]].text)
        self._replace(places[0], [f"{name}={value}{end or self._newline}" for value in values])

    def unset(self, section: str, item: int, name: str) -> None:
        """Have the file say nothing of a parameter."""
        self._lines = [line for line in self._lines if not line.sets(section, item, name)]

    def rename(self, item: int, name: str) -> None:
        """Give a group another name."""
        index = self._header("group", item)
        before, _, _ = self._lines[index].text.partition(":")
        self._replace(index, [f"{before}:{_group_name(name)}]{_ending(self._lines[index].text) or self._newline}"])

    def add(self, section: str, item: int, name: str) -> None:
        """Put an empty group in, as number `item` (-1: at the end)."""
        if section != "group":
            raise Unsuitable(f"the INI form has no [[{section}]]: `gatepost config convert` makes TOML of it")
        block = [f"[{self._prefix()}group:{_group_name(name)}]{self._newline}"]
        headers = self._headers(section)
        if 0 <= item < len(headers):
            self._replace_at(self._block(section, item)[0], [*block, self._newline])
        else:
            end = self._block(section, len(headers) - 1)[1] if headers else len(self._lines)
            self._put_below(end, block)

    def remove(self, section: str, item: int) -> None:
        """Take a group out, with the comment above it."""
        start, end = self._block(section, item)
        if end < len(self._lines) and not self._lines[end].text.strip():
            end += 1
        del self._lines[start:end]
        self._read_again()

    def move(self, section: str, item: int, to: int) -> None:
        """Make a group number `to`."""
        start, end = self._block(section, item)
        block = [
            line.text if line.text.endswith("\n") else line.text + self._newline for line in self._lines[start:end]
        ]
        self.remove(section, item)
        headers = self._headers(section)
        if to < len(headers):
            self._replace_at(self._block(section, to)[0], [*block, self._newline])
        else:
            self._put_below(self._block(section, len(headers) - 1)[1] if headers else len(self._lines), block)

    def _keep_lines(self, field: Field, places: Sequence[int], values: Sequence[str]) -> bool:
        """Change a list line by line, so that comments between stay at their line; False: order or elements do not
        allow that.
        """
        wanted = list(values)
        known = frozenset(wanted)
        stay: list[int] = []
        kept: list[str] = []
        for place in places:
            elements = split_items(field.parameter, self._lines[place].value)
            if elements and known.issuperset(elements):
                stay.append(place)
                kept += elements
        if kept != wanted[: len(kept)] or not stay:
            return False
        name = self._lines[places[0]].text.partition("=")[0].rstrip()
        last = stay[-1]
        self._end_line(last)
        fresh = [f"{name}={value}{self._newline}" for value in wanted[len(kept) :]]
        self._replace_at(last + 1, fresh)
        for place in reversed([place for place in places if place not in stay]):
            del self._lines[place + (len(fresh) if place > last else 0)]
        return True

    def _insert(self, section: str, item: int, lines: Sequence[str]) -> None:
        fresh = [f"{line}{self._newline}" for line in lines]
        try:
            index = self._header(section, item)
        except Unsuitable:
            if item:
                raise
            self._put_below(len(self._lines), [f"[{self._prefix()}{section}]{self._newline}", *fresh])
            return
        last = index
        for number in range(index + 1, len(self._lines)):
            if self._lines[number].header:
                break
            if self._lines[number].name:
                last = number
        self._end_line(last)
        self._replace_at(last + 1, fresh)

    def _prefix(self) -> str:
        """Return the prefix that this file's sections have."""
        for line in self._lines:
            if line.header:
                written = line.text.strip()[1:].lower()
                return next((each for each in ("mailgw.", "smtpgw.") if written.startswith(each)), "")
        return "mailgw."

    def _headers(self, section: str) -> list[int]:
        return [i for i, line in enumerate(self._lines) if line.header and line.section == section]

    def _header(self, section: str, item: int) -> int:
        for index in self._headers(section):
            if self._lines[index].item == item:
                return index
        raise Unsuitable(f"[{section}] number {item + 1} is not in this file")

    def _block(self, section: str, item: int) -> tuple[int, int]:
        """Return the lines of a group: from the comment above its header to behind its last parameter."""
        start = self._header(section, item)
        end = start + 1
        for number in range(start + 1, len(self._lines)):
            if self._lines[number].header:
                break
            if self._lines[number].name or self._lines[number].text.strip().startswith("!"):
                end = number + 1
        while start > 0 and self._lines[start - 1].text.lstrip().startswith(_COMMENTS):
            start -= 1
        return start, end

    def _end_line(self, index: int) -> None:
        if not self._lines[index].text.endswith("\n"):
            self._lines[index].text += self._newline

    def _put_below(self, index: int, block: Sequence[str]) -> None:
        if index:
            self._end_line(index - 1)
        gap = [self._newline] if index and self._lines[index - 1].text.strip() else []
        self._replace_at(index, [*gap, *block])

    def _replace(self, index: int, texts: Sequence[str]) -> None:
        del self._lines[index]
        self._replace_at(index, texts)

    def _replace_at(self, index: int, texts: Sequence[str]) -> None:
        self._lines[index:index] = [_Line(text) for text in texts]
        self._read_again()

    def _read_again(self) -> None:
        self._lines = _read([line.text for line in self._lines])


def _split(text: str) -> list[str]:
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _ending(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _group_name(name: str) -> str:
    if not name.strip() or any(each in name for each in "\r\n[]\0"):
        raise Unsuitable(f"{name[:60]!r} cannot be the name of a group in the INI form")
    return name.strip()


def _read(texts: Sequence[str]) -> list[_Line]:
    """Return lines with what they say, as `config.ini` reads them."""
    lines: list[_Line] = []
    section, item, groups = "", 0, 0
    for text in texts:
        words = text.strip()
        line = _Line(text, section, item)
        if words.startswith("[") and words.endswith("]"):
            section, item = normalise_section(words[1:-1]), 0
            if section.startswith(_GROUP):
                section, item = "group", groups
                groups += 1
            line = _Line(text, section, item, header=True)
        elif words and not words.startswith((*_COMMENTS, "!")):
            name, equals, value = words.partition("=")
            if equals:
                line.name, line.value = name.strip(), value.strip()
        lines.append(line)
    return lines
