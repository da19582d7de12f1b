"""The TOML reader: text to a `Document`, with the line of every key.

`tomllib` gives the values, a light scan over the lines gives the places (it need not understand more than headers,
keys, strings and brackets: a place that it does not find is shown as that of the section).
"""

import re
import tomllib
from collections.abc import Iterator

from gatepost.config.problem import Document, Entry, Form, Origin, Problem, Severity

_STRING_OR_COMMENT = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]*?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-][A-Za-z0-9_\-. \t]*?)\s*=")
_LINE_OF_ERROR = re.compile(r"\s*\(at line (\d+), column \d+\)")
_OPEN = re.compile(r"[\[{]")
_CLOSE = re.compile(r"[\]}]")


def read_toml(text: str, file: str) -> Document:
    """Return the entries of a TOML file; a syntax error makes it unreadable (exit code 65)."""
    try:
        walked = list(_walk(tomllib.loads(text), "", 0))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        found = _LINE_OF_ERROR.search(words)
        line = int(found[1]) if found else 0
        problem = Problem(
            Severity.ERROR,
            file,
            line,
            "",
            "",
            f"not TOML: {_LINE_OF_ERROR.sub('', words)}",
            mend="Text values stand in quotes; lists in [ ]",
        )
        return Document(Form.TOML, file, (), {}, (problem,), readable=False)
    places = _Places(_scan(text), file)
    entries = tuple(
        Entry(section, item, key, value, places.origin(section, item, key))
        for section, item, key, value in walked
        if key
    )
    sections = {(section, item): places.origin(section, item, "") for section, item, key, _ in walked if not key}
    return Document(Form.TOML, file, entries, sections)


class _Places:
    """Lines by (section, item, key); falls back to the section's header."""

    def __init__(self, lines: dict[tuple[str, int, str], int], file: str) -> None:
        self._lines = lines
        self._file = file

    def origin(self, section: str, item: int, key: str) -> Origin:
        line = self._lines.get((section, item, key)) or self._lines.get((section, item, ""), 0)
        return Origin(self._file, line)


def _walk(table: dict[str, object], section: str, item: int) -> Iterator[tuple[str, int, str, object]]:
    """Yield (section, item, key, value) for each value, and (section, item, "", None) for each table."""
    if section:
        yield section, item, "", None
    for key, value in table.items():
        path = f"{section}.{key}" if section else key
        if isinstance(value, dict):
            yield from _walk(value, path, item)
        elif isinstance(value, list) and value and all(isinstance(element, dict) for element in value):
            for index, element in enumerate(value):
                yield from _walk(element, path, index)
        elif key:
            yield section, item, key, value


def _blank(found: re.Match[str]) -> str:
    word = found[0]
    return "" if word.startswith("#") else "''" + "\n" * word.count("\n")


def _scan(text: str) -> dict[tuple[str, int, str], int]:
    lines: dict[tuple[str, int, str], int] = {}
    counts: dict[str, int] = {}
    section, item, depth = "", 0, 0
    for number, line in enumerate(_STRING_OR_COMMENT.sub(_blank, text).split("\n"), start=1):
        if depth == 0:
            header = _HEADER.match(line)
            if header is not None:
                section = re.sub(r"\s*\.\s*", ".", header[2])
                item = 0
                if header[1] == "[[":
                    item = counts.get(section, 0)
                    counts[section] = item + 1
                lines.setdefault((section, item, ""), number)
                continue
            key = _KEY.match(line)
            if key is not None:
                prefix, _, last = re.sub(r"\s*\.\s*", ".", key[1]).rpartition(".")
                path = ".".join(part for part in (section, prefix) if part)
                lines.setdefault((path, item, last), number)
        depth = max(0, depth + len(_OPEN.findall(line)) - len(_CLOSE.findall(line)))
    return lines
