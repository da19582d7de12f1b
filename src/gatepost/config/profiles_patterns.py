"""Regular expressions of rules: compiled into one automaton, linear in what it reads, whoever has written the text.

Used by `config.profiles_check`, to tell faulty ones, and by `policy.profile_table`, to match. The library is loaded
only by sets that have such conditions.
"""

from collections.abc import Mapping
from typing import Any, Final

TEXT_LIMIT: Final = 1_000
"""Characters of a field's value that are matched: filters tell no more."""
PATTERN_LIMIT: Final = 1_000
"""Characters of one expression."""


class PatternError(ValueError):
    """An expression cannot be used; the text says why."""


class Patterns:
    """Numbered expressions, letter case aside."""

    def __init__(self, patterns: Mapping[int, str]) -> None:
        """Compile. PatternError: one of them cannot be used."""
        import hyperscan  # noqa: PLC0415 - five megabytes that only such rules need

        self._databases = []
        # One that speaks of other than ASCII characters reads UTF-8, which is slower to compile.
        for utf8 in (False, True):
            some = {number: text for number, text in patterns.items() if _needs_utf8(text) is utf8}
            if not some:
                continue
            flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY | hyperscan.HS_FLAG_CASELESS
            if utf8:
                flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            try:
                database.compile(
                    expressions=[text.encode() for text in some.values()],
                    ids=list(some),
                    flags=[int(flags)] * len(some),
                )
            except (hyperscan.HyperscanError, UnicodeEncodeError) as error:
                raise PatternError(str(error)) from None
            self._databases.append(database)

    def match(self, text: str) -> frozenset[int]:
        """Return the numbers of the expressions that are somewhere in a text."""
        found: list[int] = []
        raw = text[:TEXT_LIMIT].encode("utf-8", "replace")
        for database in self._databases:
            database.scan(raw, _matched, 0, found)
        return frozenset(found)


def check_pattern(text: str) -> None:
    """Raise PatternError when an expression cannot be used."""
    if not text or len(text) > PATTERN_LIMIT:
        raise PatternError(f"an expression has 1 to {PATTERN_LIMIT} characters")
    Patterns({0: text})


def _needs_utf8(text: str) -> bool:
    return not text.isascii() or "\\x{" in text


def _matched(number: int, _start: int, _end: int, _flags: int, found: Any) -> None:
    found.append(number)
