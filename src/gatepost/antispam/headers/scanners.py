"""The expressions of header signs and of notices as Hyperscan databases, one for each text they are about: `Scanner`.

Made in the template; compiling takes some tenths of a second, so the compiled form is kept (`Knowledge.compiled`).
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import hyperscan
import msgspec

from gatepost.antispam.knowledge import Knowledge

_FORM: Final = f"signs 1 hyperscan {version('hyperscan')}"


class Expression(msgspec.Struct, frozen=True, array_like=True):
    """A regular expression. `exact`: letter case counts; `place`: where it stands, for the error."""

    pattern: str
    exact: bool = False
    place: str = ""


class ExpressionError(ValueError):
    """An expression cannot be compiled; the text names it and its place."""


class Scanner:
    """Which of some expressions are in a text."""

    def __init__(self, raw: bytes) -> None:
        self._database = hyperscan.loadb(raw, hyperscan.HS_MODE_BLOCK)
        self._database.scratch = hyperscan.Scratch(self._database)

    def scan(self, text: bytes) -> list[int]:
        """Return the numbers of the expressions that match."""
        found: list[int] = []
        self._database.scan(text, _matched, 0, found)  # by place: names cost the binding as much as the scan
        return found


def _matched(number: int, _start: int, _end: int, _flags: int, found: Any) -> None:
    found.append(number)


def build_scanners(sources: Mapping[str, Mapping[int, Expression]], knowledge: Knowledge) -> dict[str, Scanner]:
    """Return a scanner for each source of text; the expressions are numbered. A name that starts with a space is of
    raw bytes, all others are of UTF-8. ExpressionError: one of them cannot be used.
    """
    plain = {
        source: {str(number): (each.pattern, each.exact) for number, each in expressions.items()}
        for source, expressions in sources.items()
    }

    def make() -> bytes:
        return msgspec.msgpack.encode({source: _compile(source, found) for source, found in sources.items()})

    kept = knowledge.compiled(_FORM, [msgspec.json.encode(plain)], make)
    try:
        return {source: Scanner(raw) for source, raw in msgspec.msgpack.decode(kept, type=dict[str, bytes]).items()}
    except hyperscan.HyperscanError:  # kept on another kind of processor
        return {source: Scanner(_compile(source, found)) for source, found in sources.items()}


def _compile(source: str, expressions: Mapping[int, Expression]) -> bytes:
    try:
        return _compile_all(source, expressions)
    except hyperscan.HyperscanError as error:
        reason = error
    for number, each in expressions.items():
        try:
            _compile_all(source, {number: each})
        except hyperscan.HyperscanError as error:
            raise ExpressionError(
                f"{each.place}: the expression {each.pattern!r} cannot be used ({error}); "
                "Hyperscan knows no look-around and no back references"
            ) from None
    raise ExpressionError(f"the expressions about {source!r} are too many for one database: {reason}")


def _compile_all(source: str, expressions: Mapping[int, Expression]) -> bytes:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[each.pattern.encode() for each in expressions.values()],
        ids=list(expressions),
        flags=[_flags(each, raw=source.startswith(" ")) for each in expressions.values()],
    )
    return bytes(hyperscan.dumpb(database))


def _flags(each: Expression, *, raw: bool) -> int:
    """Return an expression's flags. Only one that speaks of other than ASCII characters reads UTF-8: that is slower to
    compile.
    """
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY | hyperscan.HS_FLAG_DOTALL
    if not each.exact:
        flags |= hyperscan.HS_FLAG_CASELESS
    if not raw and not (each.pattern.isascii() and "\\x{" not in each.pattern):
        flags |= hyperscan.HS_FLAG_UTF8
    return int(flags)
