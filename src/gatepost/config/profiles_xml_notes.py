"""What is told while rules are read from XML, and the pieces of elements that all readers need. Pure.

Used by `config.profiles_xml` and `config.profiles_xml_rules`.
"""

import posixpath
from collections.abc import Iterable
from typing import Final

from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_check import FILE_NAME
from gatepost.config.profiles_xml_reading import Element
from gatepost.config.profiles_xml_words import SUFFIX

_YES: Final = frozenset({"yes", "y", "true", "on", "1"})
_NO: Final = frozenset({"no", "n", "false", "off", "0", ""})


class XmlNotes:
    """Problems of the files of one set, in the order in which they are found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    @property
    def broken(self) -> bool:
        """Tell whether anything found so far forbids the use of the files."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def error(self, file: str, line: int, what: str, mend: str = "") -> None:
        """Tell what forbids the use of the files."""
        self.problems.append(Problem(Severity.ERROR, file, line, "", "", what, mend=mend))

    def note(self, file: str, line: int, what: str) -> None:
        """Tell what is otherwise than the files say."""
        self.problems.append(Problem(Severity.WARNING, file, line, "", "", what))

    def left(self, file: str, element: Element, known: Iterable[str], *, text: bool = False) -> None:
        """Name what of an element's own is not taken."""
        for name, value in element.attributes.items():
            if name not in known:
                self.note(file, element.line, f'<{element.tag}>: {name}="{value[:100]}" has no place here: left out')
        if not text and element.text.strip():
            words = element.text.strip()[:100]
            self.note(file, element.line, f"<{element.tag}>: the text {words!r} has no place here: left out")

    def lose(self, file: str, element: Element) -> None:
        """Name an element that is not taken."""
        self.note(file, element.line, f"<{element.tag[:40]}> is not known here: left out, with all that is in it")

    def lose_comments(self, file: str, line: int, comments: Iterable[str]) -> None:
        """Name comments that are not taken."""
        for comment in comments:
            self.note(file, line, f"the comment {comment[:200]!r} has no place here: left out")

    def switch(self, path: str, element: Element, name: str, *, default: bool) -> bool:
        """Return whether an attribute says yes."""
        value = element.attributes.get(name)
        if value is None:
            return default
        word = value.strip().lower()
        if word not in _YES | _NO:
            self.error(path, element.line, f'<{element.tag}>: {name}="{value[:40]}" is neither yes nor no')
        return word in _YES

    def stem(self, path: str, element: Element, file: str) -> str:
        """Return a file's name without its suffix, "" when it is none: told."""
        stem = posixpath.basename(file) if file.count("/") == 1 else file  # `emails/friends.xml` was written, too
        stem = stem.removesuffix(SUFFIX)
        return stem if self.check_name(path, element.line, stem) else ""

    def check_name(self, path: str, line: int, stem: str) -> bool:
        """Tell whether files may be called so; when not, it is told."""
        if FILE_NAME.match(stem):
            return True
        mend = "Name it by Latin letters, digits, - _ and ."
        self.error(path, line, f"{stem[:60]!r} is no name of a file of rules", mend)
        return False


def text_of(element: Element) -> str:
    """Return the text in an element, without the blanks around it unless it asks to keep them."""
    kept = element.attributes.get("xml:space") == "preserve"
    return element.text if kept else element.text.strip()


def comment_of(element: Element) -> str:
    """Return its attribute of that name and the XML comments in front of it."""
    return join([element.attributes.get("comment", ""), *element.comments])


def line_comment_of(element: Element) -> str:
    """Return the same of a condition or an action, whose comment is one line where people edit it."""
    return " ".join(filter(None, (element.attributes.get("comment", ""), *map(_one_line, element.comments))))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def join(comments: Iterable[str]) -> str:
    """Return several comments as one."""
    return "\n".join(filter(None, comments))
