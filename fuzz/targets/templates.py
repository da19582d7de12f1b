"""Templates of texts: faults are named where they are, and what is rendered is bounded text, whatever the values hold."""

from collections.abc import Iterator
from typing import Final

from gatepost.notices.grammar import SIZE_LIMIT, TemplateError
from gatepost.notices.template import CUT_NOTE, RENDER_LIMIT, Item, Values, parse_template

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 600
_HOSTILE: Final = 'a\r\n.\r\n%NAME%<FOR X == "*">\\\x00\x1b\u202e\ud800"'
_VALUES: Final[dict[str, Values]] = {
    "NAME": _HOSTILE,
    "RECIPIENT": ("a@b", "c@d", _HOSTILE),
    "OBJECT": (Item("x.exe", {"STATUS": "infected", "NAME": ("y", "z")}), Item("y", {"STATUS": ()})),
}


def execute(data: bytes) -> None:
    """Parse and render the input; write it as a text that stands for itself, too."""
    try:
        template = parse_template(data, "a.tmpl")
    except TemplateError as error:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        assert error.problems
        assert list(error.problems) == sorted(error.problems, key=lambda each: (each.line, each.column))
        for problem in error.problems:
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            assert problem.what
    else:
        text = template.render(_VALUES)
        _look_at(text)
        assert template.render(_VALUES) == text
        _look_at(template.definition("NOTICE_SUBJECT", _VALUES))
        assert all(not each.isascii() for each in template.characters())
        assert not template.unknown_macros(frozenset(use.name for use in template.tree.uses))
    _check_escapes(data)


def _look_at(text: str) -> None:
    assert len(text) <= RENDER_LIMIT + len(CUT_NOTE)
    text.encode()
    rest = text.replace("\r\n", "")
    assert not any(ord(each) < 32 and each != "\t" for each in rest)


def _check_escapes(data: bytes) -> None:
    """Escape text so that it stands for itself; it must come out as it went in."""
    text = data.decode("utf-8", "ignore").replace("\r", "\n")
    text = "".join(each for each in text if (each >= " " and each != "\x7f") or each in "\t\n").lstrip("\ufeff")
    escaped = "".join("\\" + each if each in '<>%"#\\' else each for each in text)
    if len(escaped.encode()) <= SIZE_LIMIT:
        assert parse_template(escaped.encode()).render(_VALUES) == text.replace("\n", "\r\n")


WORDS: Final = (
    b'<FOR RECIPIENT == "*">', b'<FOR OBJECT != "x*">', b"</FOR>", b'<DEF NOTICE_SUBJECT = "%NAME%"/>', b"%NAME%", b"%STATUS%", b"%CRLF%", b"%TAB%", b"\\\n", b"\\%",
    b"\\<", b"#", b"\r\n", b"\n", b'"', b"\xef\xbb\xbf", b"\xd0\x96", b"\\\\", b"<FOR", b"<DEF", b"\0",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield templates with one of each."""
    yield b'# comment\n<DEF NOTICE_SUBJECT = "Virus \\"%NAME%\\""/>\nHello %NAME%,\n<FOR OBJECT == "x*">\n%OBJECT%: %STATUS%\n</FOR>\nbye\\\nbye \\% \xd0\x96\n'
    yield b'<FOR RECIPIENT != "a*"><FOR OBJECT == "*">%NAME%%CRLF%%TAB%</FOR></FOR> <!-- %x'
    yield b'\xef\xbb\xbf<DEF A = "a\\\nb"/>%A% <DEF A = "%A%%A%"/>%A%\r<FOR A == "?">x'
    yield b'<FOR NAME == "*">' * 3 + b"\\x %UNKNOWN%" + b"</FOR>" * 4
