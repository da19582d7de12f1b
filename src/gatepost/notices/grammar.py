"""The template language: text to a tree of nodes. Called by `gatepost.notices.template`, which renders the tree.

Promises to name every fault with line and column, not only the first, and to need time linear in the text. A line
that holds nothing but tags or a comment leaves no line of its own in the output.
"""

import bisect
import re
from typing import Final

import msgspec

SIZE_LIMIT: Final = 8 * 1024
"""Bytes of one template: documented; a larger one is a start error (F-NOTI-09)."""
NAME_LIMIT: Final = 64
"""Bytes of a macro's name: documented."""
VALUE_LIMIT: Final = 4096
"""Bytes of a macro's value: documented; longer values are cut on a character border."""
NESTING_LIMIT: Final = 32
"""Blocks within blocks: far beyond any text, and safely within the renderer's recursion."""

PREDEFINED: Final = {"CRLF": "\r\n", "TAB": "\t"}


class TemplateProblem(msgspec.Struct, frozen=True):
    """One fault of a template. Line and column count from 1, in characters."""

    line: int
    column: int
    what: str


class TemplateError(Exception):
    """A template that cannot be used. `problems` holds every fault in order; the first also as attributes."""

    def __init__(self, problems: tuple[TemplateProblem, ...], name: str = "") -> None:
        """Take at least one problem; `name` is the file, "" when the text has none."""
        self.problems = problems
        self.name = name
        first = problems[0]
        self.line, self.column, self.what = first.line, first.column, first.what
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{name or 'template'}:{first.line}:{first.column}: {first.what}{more}")


class UnreadableTemplateError(TemplateError):
    """A template file that is missing or cannot be read."""


class MacroNode(msgspec.Struct, frozen=True):
    """`%NAME%`."""

    name: str


class DefNode(msgspec.Struct, frozen=True):
    """`<DEF NAME = "value"/>`; macros in the value are expanded where the definition stands."""

    name: str
    value: tuple["str | MacroNode", ...]


class ForNode(msgspec.Struct, frozen=True):
    """`<FOR NAME == "mask">…</FOR>`, or with `!=` (`negated`)."""

    name: str
    negated: bool
    mask: str
    body: tuple["Node", ...]


Node = str | MacroNode | DefNode | ForNode


class MacroUse(msgspec.Struct, frozen=True):
    """Where a name is used that no DEF of the template binds there."""

    name: str
    line: int
    column: int


class Tree(msgspec.Struct, frozen=True):
    """A parsed template."""

    nodes: tuple[Node, ...]
    uses: tuple[MacroUse, ...]
    warnings: tuple[TemplateProblem, ...]


_NAME = r"[A-Za-z0-9_-]+"
_STRING = r'"((?:[^"\\\n]|\\[^\n]|\\\n)*)"'
_RUN = re.compile(r"[^\\<%#\n]+")
_FOR = re.compile(rf"<FOR\s+({_NAME})\s*([=!]=)\s*{_STRING}\s*>")
_DEF = re.compile(rf"<DEF\s+({_NAME})\s*=\s*{_STRING}\s*/>")
_END = re.compile(r"</FOR\s*>")
_MACRO = re.compile(rf"%({_NAME})%")
_LOOKS_LIKE_TAG = re.compile(r"</?[A-Za-z][^<>\n]*>?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ESCAPABLE = '<>%"#\\'
_STRING_PIECE = re.compile(r"[^\\%]+")


class _Block:
    """A block being read: the template itself, or the body of a FOR (without a name: of one that is faulty)."""

    __slots__ = ("at", "body", "defined", "mask", "name", "negated")

    def __init__(self, at: int = 0, name: str = "", negated: bool = False, mask: str = "") -> None:
        self.at = at
        self.name = name
        self.negated = negated
        self.mask = mask
        self.body: list[Node | _Block] = []
        self.defined: set[str] = set()

    def freeze(self) -> ForNode:
        return ForNode(self.name, self.negated, self.mask, _freeze(self.body))


def _freeze(body: "list[Node | _Block]") -> tuple[Node, ...]:
    """Return a finished body: neighbouring text put together, empty text left out, blocks frozen likewise."""
    nodes: list[Node] = []
    for node in body:
        if isinstance(node, _Block):
            nodes.append(node.freeze())
        elif isinstance(node, str) and nodes and isinstance(nodes[-1], str):
            nodes[-1] += node
        elif node != "":
            nodes.append(node)
    return tuple(nodes)


class _Reader:
    """One reading of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.problems: list[TemplateProblem] = []
        self.warnings: list[TemplateProblem] = []
        self.uses: list[MacroUse] = []
        self.stack = [_Block()]
        self.blanks: list[tuple[list[Node | _Block], int]] = []
        self.visible = False
        self.tagged = False

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect.bisect_right(self.lines, at)
        return line, at - self.lines[line - 1] + 1

    def _fault(self, at: int, what: str) -> None:
        self.problems.append(TemplateProblem(*self._place(at), what))

    def _warn(self, at: int, what: str) -> None:
        self.warnings.append(TemplateProblem(*self._place(at), what))

    def _use(self, name: str, at: int) -> None:
        if name not in PREDEFINED and not any(name in block.defined for block in self.stack):
            self.uses.append(MacroUse(name, *self._place(at)))

    def _name_is_short(self, name: str, at: int) -> bool:
        if len(name) <= NAME_LIMIT:
            return True
        self._fault(at, f"the name {name[:20]}… has {len(name)} bytes; {NAME_LIMIT} are allowed")
        return False

    def _write(self, node: Node) -> None:
        """Add something that shows in the output."""
        self.stack[-1].body.append(node)
        self.visible = True

    def read(self) -> Tree:
        for found in _CONTROL.finditer(self.text):
            self._fault(found.start(), f"control character 0x{ord(found.group()):02x}")
        steps = {"\\": self._backslash, "<": self._tag, "%": self._percent, "#": self._comment, "\n": self._line_end}
        at, end, text = 0, len(self.text), self.text
        while at < end:
            step = steps.get(text[at])
            at = step(at) if step else self._run(at)
        self._close_line("")
        for block in self.stack[1:]:
            if block.name:
                self._fault(block.at, "this FOR is never closed by </FOR>")
        if self.problems:
            raise TemplateError(tuple(sorted(self.problems, key=lambda problem: (problem.line, problem.column))))
        return Tree(_freeze(self.stack[0].body), tuple(self.uses), tuple(self.warnings))

    def _run(self, at: int) -> int:
        found = _RUN.match(self.text, at)
        assert found is not None
        run = found.group()
        if run.isspace() and not self.visible:
            body = self.stack[-1].body
            self.blanks.append((body, len(body)))
            body.append(run)
        else:
            self._write(run)
        return found.end()

    def _close_line(self, line_end: str) -> None:
        """End an output line, unless it holds nothing but tags: then forget its blanks too."""
        if self.tagged and not self.visible:
            for body, index in self.blanks:
                body[index] = ""
        else:
            self.stack[-1].body.append(line_end)
        self.blanks.clear()
        self.visible = self.tagged = False

    def _line_end(self, at: int) -> int:
        self._close_line("\r\n")
        return at + 1

    def _comment(self, at: int) -> int:
        self.tagged = True
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def _backslash(self, at: int) -> int:
        piece, end = self._escape(at)
        if piece:
            self._write(piece)
        return end

    def _escape(self, at: int) -> tuple[str, int]:
        """Return what the backslash at `at` stands for, and where to read on."""
        after = self.text[at + 1 : at + 2]
        if after == "\n":
            return "", at + 2
        if after and after in _ESCAPABLE:
            return after, at + 2
        self._warn(
            at, f"a backslash has no meaning here and stands for itself; write \\\\ (it goes before {_ESCAPABLE})"
        )
        return "\\", at + 1

    def _macro(self, at: int) -> tuple[str | MacroNode, int]:
        """Return what the percent sign at `at` opens, and where to read on."""
        found = _MACRO.match(self.text, at)
        if found is None:
            self._fault(at, "a percent sign opens no %NAME%; write \\% for the sign itself")
            return "", at + 1
        name = found.group(1)
        if self._name_is_short(name, at + 1):
            self._use(name, at)
        return PREDEFINED.get(name) or MacroNode(name), found.end()

    def _percent(self, at: int) -> int:
        node, end = self._macro(at)
        self._write(node)
        return end

    def _tag(self, at: int) -> int:
        if found := _FOR.match(self.text, at):
            self._open(found)
        elif found := _DEF.match(self.text, at):
            self._define(found)
        elif found := _END.match(self.text, at):
            if len(self.stack) == 1:
                self._fault(at, "</FOR> without a FOR before it")
            else:
                block = self.stack.pop()
                self.stack[-1].body.append(block)
        else:
            return self._no_tag(at)
        self.tagged = True
        return found.end()

    def _no_tag(self, at: int) -> int:
        looks = _LOOKS_LIKE_TAG.match(self.text, at)
        shown = looks.group()[:30] if looks else "<"
        if shown.startswith("<FOR"):
            self._fault(at, 'this FOR is not of the form <FOR NAME == "mask"> or <FOR NAME != "mask">')
            # Taken as opened, so that its </FOR> does not raise a second complaint about the same mistake.
            self.stack.append(_Block(at))
        elif shown.startswith("<DEF"):
            self._fault(at, 'this DEF is not of the form <DEF NAME = "value"/>')
        elif looks:
            self._fault(at, f"unknown tag {shown}; the tags are FOR and DEF, and \\< stands for the sign itself")
        else:
            self._fault(at, "a < opens no tag; write \\< for the sign itself")
        return looks.end() if looks else at + 1

    def _open(self, found: re.Match[str]) -> None:
        at = found.start()
        if self._name_is_short(found.group(1), found.start(1)):
            self._use(found.group(1), found.start(1))
        if len(self.stack) == NESTING_LIMIT + 1:
            self._fault(at, f"more than {NESTING_LIMIT} blocks within each other")
        mask = "".join(piece for piece in self._string(found.span(3), macros=False) if isinstance(piece, str))
        self.stack.append(_Block(at, found.group(1), found.group(2) == "!=", mask))

    def _define(self, found: re.Match[str]) -> None:
        name = found.group(1)
        self._name_is_short(name, found.start(1))
        if name in PREDEFINED:
            self._fault(found.start(1), f"{name} is predefined and cannot be given another value")
        value = self._string(found.span(2), macros=True)
        size = sum(len(piece.encode()) for piece in value if isinstance(piece, str))
        if size > VALUE_LIMIT:
            self._fault(found.start(2), f"the value has {size} bytes; {VALUE_LIMIT} are allowed")
        block = self.stack[-1]
        block.body.append(DefNode(name, value))
        block.defined.add(name)

    def _string(self, span: tuple[int, int], *, macros: bool) -> tuple[str | MacroNode, ...]:
        """Read the inside of a quoted string; a mask takes no macros, for a value could then hold `*`."""
        at, end = span
        pieces: list[str | MacroNode] = []
        while at < end:
            sign = self.text[at]
            piece: str | MacroNode
            if sign == "\\":
                piece, at = self._escape(at)
            elif sign == "%" and macros:
                piece, at = self._macro(at)
            elif sign == "%":
                self._fault(at, "macros are not expanded in a mask; write \\% for the sign itself")
                piece, at = sign, at + 1
            else:
                run = _STRING_PIECE.match(self.text, at, end)
                assert run is not None
                piece, at = run.group(), run.end()
            pieces.append(piece)
        return tuple(pieces)


def parse_tree(raw: bytes) -> Tree:
    """Read a template from its bytes (UTF-8, any line ends). Raises TemplateError with every fault."""
    if len(raw) > SIZE_LIMIT:
        what = f"the template is larger than the {SIZE_LIMIT} bytes allowed"
        raise TemplateError((TemplateProblem(1, 1, what),))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = raw[: fault.start].decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        raise TemplateError((TemplateProblem(line, column, "not UTF-8"),)) from None
    return _Reader(text.replace("\r\n", "\n").replace("\r", "\n")).read()
