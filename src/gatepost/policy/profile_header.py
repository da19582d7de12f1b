"""The header of a copy while rules change it: what later conditions see, and what is to be written in the end. Pure.

Made by `relay.rule_header`, worked on by `policy.profiles`, turned into bytes by `relay.rule_editing`, which plays the
edits again over the same header: what rules have seen is what is delivered.
"""

from collections.abc import Iterable

from gatepost.model.profile import Act, FieldEdit
from gatepost.model.spam import FieldSpot
from gatepost.notices.spam_label import find_missing


class Line:
    """One field."""

    __slots__ = ("labels", "name", "raw", "shown", "spot", "tail", "text")

    def __init__(self, shown: str, text: str, spot: FieldSpot | None = None, raw: bytes = b"") -> None:
        """`shown`: its name; `text`: decoded value; `spot`: where it stands in the content, None when we write it:
        then as `raw`, or anew when that is empty.
        """
        self.shown = shown
        self.name = shown.lower()
        self.text = text
        self.spot = spot
        self.raw = raw
        self.labels: tuple[str, ...] = ()
        """Put in front of the value ..."""
        self.tail = ""
        """... and behind it."""

    def copy(self) -> "Line":
        """Return one that can be changed by itself."""
        line = Line(self.shown, self.text, self.spot, self.raw)
        line.labels, line.tail = self.labels, self.tail
        return line

    @property
    def changed(self) -> bool:
        """Whether something is put in front of its value, or behind it."""
        return bool(self.labels or self.tail)

    @property
    def value(self) -> str:
        """What it says now."""
        return " ".join((*find_missing(self.text, self.labels), self.text + self.tail))


class HeaderView:
    """All fields that rules may ask for or change, from top to bottom."""

    __slots__ = ("cut", "lines")

    def __init__(self, lines: Iterable[Line], cut: Iterable[Line] = ()) -> None:
        """Take the fields in their order, and those of the content that are taken out in any case."""
        self.lines = list(lines)
        self.cut = list(cut)
        """Fields of the content that are taken out."""

    def copy(self) -> "HeaderView":
        """Return one that can be changed by itself."""
        return HeaderView((line.copy() for line in self.lines), self.cut)

    def values(self, name: str) -> list[str]:
        """Return what the fields of a name (lower case) say."""
        return [line.value for line in self.lines if line.name == name]

    def apply(self, edit: FieldEdit) -> None:
        """Carry out a change (specification antispam.md §10.3)."""
        name = edit.name.lower()
        if edit.do in (Act.HEADER_DELETE, Act.HEADER_REPLACE):
            self.cut += [line for line in self.lines if line.name == name and line.spot is not None]
            self.lines = [line for line in self.lines if line.name != name]
        held = [line for line in self.lines if line.name == name]
        if edit.do is Act.HEADER_ADD and held:
            held[0].tail += edit.value
        elif edit.do is Act.HEADER_LABEL and held:
            for line in held:  # readers differ in which of several they show
                if edit.value not in line.labels:
                    line.labels = (*line.labels, edit.value)
        elif edit.do is not Act.HEADER_DELETE:
            self.lines.insert(0, Line(edit.name, edit.value))
