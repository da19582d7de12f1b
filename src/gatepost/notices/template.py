"""Templates of the texts an administrator may change: notifications, placeholder, disclaimer, delivery reports.

The documented language (rows F-NOTI-06 to F-NOTI-09): macros, FOR, DEF, escapes, comments, line joining. Parsed once
at start, rendered for each text. Promises that rendering never raises, that it is bounded in time and output
whatever the values hold, that values are never read as template text, and that the result has CRLF line ends, no
other control characters than TAB, and can be encoded as UTF-8.
"""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.masks import compile_mask
from gatepost.notices.grammar import (
    SIZE_LIMIT,
    VALUE_LIMIT,
    DefNode,
    ForNode,
    MacroNode,
    Node,
    TemplateError,
    TemplateProblem,
    Tree,
    UnreadableTemplateError,
    parse_tree,
)
from gatepost.notices.text import clean_text

RENDER_LIMIT: Final = 256 * 1024
"""Characters of one rendered text: a notice is to be read by a person, and a list of 100,000 recipients is not."""
STEP_LIMIT: Final = 200_000
"""Nodes and values worked on in one rendering: FORs over different macros multiply, and strangers fill them."""
STEP_CHARACTERS: Final = 256
"""Characters looked at that count as a step: some 2 µs, as a step has. Thus no rendering lasts a second: who may write
templates cannot stop the process that fills them in.
"""
CUT_NOTE: Final = "\r\n[The rest of this text was left out because of its length.]\r\n"


ENGLISH: Final = "en"
"""Language of the product's own templates that lie at the top; the others have directories of their own."""


class Item(msgspec.Struct, frozen=True):
    """A value of a macro that carries macros of its own, visible inside a FOR over it (`OBJECT`)."""

    text: str
    macros: Mapping[str, "Values"]


Values = str | Sequence["str | Item"]
"""What a macro stands for: one value, or several in order. None at all is the same as an unknown macro."""


class Template(msgspec.Struct, frozen=True):
    """A parsed template."""

    name: str
    """File it came from, for messages."""
    tree: Tree

    def render(self, values: Mapping[str, Values]) -> str:
        """Return the text with `values` put in; names they lack stand for nothing."""
        writer = _Writer(values)
        try:
            writer.write(self.tree.nodes)
        except _FullError:
            writer.pieces.append(CUT_NOTE)
        return "".join(writer.pieces)

    def definition(self, name: str, values: Mapping[str, Values]) -> str:
        """Return what the template itself defines `name` as, outside its loops; "" when it does not.

        Texts that are more than a body say so this way: the subject of a notification is its `NOTICE_SUBJECT`.
        """
        writer = _Writer(values)
        with contextlib.suppress(_FullError):
            writer.write([node for node in self.tree.nodes if isinstance(node, DefNode)])
        found = writer.frames[0].macros.get(name, "") if name not in values else ""
        return found if isinstance(found, str) else ""

    def characters(self) -> str:
        """Return the characters beyond ASCII that stand in the template itself, each once, sorted."""
        found: set[str] = set()
        pending: list[Sequence[Node]] = [self.tree.nodes]
        while pending:
            for node in pending.pop():
                if isinstance(node, str):
                    found.update(node)
                elif isinstance(node, DefNode):
                    pending.append(node.value)
                elif isinstance(node, ForNode):
                    pending.append(node.body)
        return "".join(sorted(character for character in found if not character.isascii()))

    def unknown_macros(self, known: frozenset[str]) -> tuple[TemplateProblem, ...]:
        """Return a warning for every use of a name that is neither in `known` nor defined by the template."""
        return tuple(
            TemplateProblem(use.line, use.column, f"unknown macro {use.name}: it stands for nothing")
            for use in self.tree.uses
            if use.name not in known
        )


def parse_template(raw: bytes, name: str = "") -> Template:
    """Parse a template from its bytes. Raises TemplateError, which lists every fault with line and column."""
    try:
        return Template(name, parse_tree(raw))
    except TemplateError as fault:
        raise TemplateError(fault.problems, name) from None


def load_template(path: Path) -> Template:
    """Read and parse a template file (F-NOTI-09). TemplateError when it is faulty, UnreadableTemplateError (one of
    them too) when it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as fault:
        what = f"cannot be read: {fault.strerror}"
        raise UnreadableTemplateError((TemplateProblem(1, 1, what),), str(path)) from fault
    return parse_template(raw, str(path))


@functools.lru_cache(maxsize=64)
def shipped_template(name: str, language: str = ENGLISH) -> Template:
    """Return a template of the product itself: `dsn`, `placeholder`, `notify-admin`, `notify-sender`, …"""
    return load_template(shipped_path(name, language))


def shipped_path(name: str, language: str = ENGLISH) -> Path:
    """Return where a template of the product itself lies."""
    return (SHIPPED if language == ENGLISH else SHIPPED / language) / f"{name}.tmpl"


SHIPPED: Final = Path(__file__).parent / "shipped"
"""Where the product's own templates lie; copies of them are the administrator's to change."""


class _FullError(Exception):
    """A limit of the rendering is reached."""


class _Frame:
    """Macros of one scope: the top, or one pass of a FOR."""

    __slots__ = ("macros", "offered")

    def __init__(self, macros: dict[str, Values]) -> None:
        self.macros = macros
        self.offered: dict[str, list[str | Item]] | None = None

    def find(self, name: str) -> Sequence[str | Item] | None:
        """Return the values of a macro, or of a sub-macro over all values that carry it."""
        values = self.macros.get(name)
        if values is not None:
            return (values,) if isinstance(values, str) else values
        if self.offered is None:
            self.offered = {}
            for several in self.macros.values():
                for value in () if isinstance(several, str) else several:
                    for sub, inner in value.macros.items() if isinstance(value, Item) else ():
                        self.offered.setdefault(sub, []).extend((inner,) if isinstance(inner, str) else inner)
        return self.offered.get(name)


class _Writer:
    """One rendering."""

    def __init__(self, values: Mapping[str, Values]) -> None:
        self.pieces: list[str] = []
        self.frames = [_Frame(dict(values))]
        self.room = RENDER_LIMIT
        self.steps = STEP_LIMIT

    def write(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self._count(1)
            if isinstance(node, str):
                self._put(node)
            elif isinstance(node, MacroNode):
                self._put(self._value_of(node.name))
            elif isinstance(node, DefNode):
                self.frames[-1].macros[node.name] = self._join(node.value)
            else:
                self._repeat(node)

    def _count(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise _FullError

    def _put(self, text: str) -> None:
        if len(text) > self.room:
            self.pieces.append(text[: self.room])
            raise _FullError
        self.room -= len(text)
        self.pieces.append(text)

    def _find(self, name: str) -> Sequence[str | Item]:
        for frame in reversed(self.frames):
            values = frame.find(name)
            if values is not None:
                return values
        return ()

    def _value_of(self, name: str) -> str:
        values = self._find(name)
        return self._read(values[-1]) if values else ""

    def _read(self, value: str | Item) -> str:
        text = clean_text(value if isinstance(value, str) else value.text, VALUE_LIMIT)
        self._count(len(text) // STEP_CHARACTERS)
        return text

    def _join(self, parts: Sequence[str | MacroNode]) -> str:
        """Return the value of a definition, no longer than values are."""
        pieces: list[str] = []
        room = VALUE_LIMIT
        for part in parts:
            self._count(1)
            pieces.append(part if isinstance(part, str) else self._value_of(part.name))
            room -= len(pieces[-1])
            if room <= 0:
                break
        return "".join(pieces)

    def _repeat(self, node: ForNode) -> None:
        mask = _compiled(node.mask)
        for value in self._find(node.name):
            text = self._read(value)
            self._count(1 + len(text) * len(node.mask) // STEP_CHARACTERS)
            if (mask.fullmatch(text.lower()) is None) == node.negated:
                inner = dict(value.macros) if isinstance(value, Item) else {}
                inner[node.name] = (value,)
                self.frames.append(_Frame(inner))
                self.write(node.body)
                self.frames.pop()


_compiled = functools.lru_cache(maxsize=256)(compile_mask)
