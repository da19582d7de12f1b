"""A zip package of parts under cure: what is in it, what is replaced, what goes. Used by `ooxml` and `odf`."""

import hashlib
from typing import Final

from lxml.etree import _Element

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure.compound import Node, is_compound, read_compound, write_compound
from gatepost.antivirus.cure.cured import BadMember, Uncurable
from gatepost.antivirus.cure.office import disarm_office
from gatepost.antivirus.cure.packages import Bad, is_program
from gatepost.antivirus.cure.xml import build_xml, parse_xml
from gatepost.antivirus.cure.zips import ZipPart, build_part, read_zip, replace_content, unpack_part, write_zip

_ROOT: Final = 5


class Package:
    """Parts by their name in lower case, without a slash in front."""

    def __init__(self, data: bytes, bad: Bad, budget: Budget) -> None:
        archive = read_zip(data)
        self._comment = archive.comment
        self._parts: dict[str, ZipPart] = {}
        self._contents: dict[str, bytes] = {}
        self._changed: set[str] = set()
        self.bad = bad
        self.budget = budget
        self.removed: list[str] = []
        for part in archive.parts:
            key = part.name.replace("\\", "/").lstrip("/").lower()
            budget.take_member()
            if key in self._parts:
                raise Uncurable("two parts of one name")
            content = unpack_part(part, budget)
            if content is None:
                raise Uncurable("a part that cannot be read")
            self._parts[key] = part
            self._contents[key] = content
        self._known = self._find_known() if bad else {}

    def _find_known(self) -> dict[str, BadMember]:
        """Return the parts known to be bad."""
        digests = {key: hashlib.sha256(content).digest() for key, content in self._contents.items()}
        return {key: self.bad[digest] for key, digest in digests.items() if digest in self.bad}

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    def names(self) -> list[str]:
        return list(self._parts)

    def name(self, key: str) -> str:
        """Return the name of a part as it stands in the package."""
        return self._parts[key].name

    def content(self, key: str) -> bytes:
        return self._contents[key]

    def put(self, key: str, content: bytes) -> None:
        """Replace a part."""
        self._contents[key] = content
        self._changed.add(key)

    def add(self, name: str, content: bytes) -> None:
        """Add a part. Uncurable: there is one of that name."""
        if name.lower() in self._parts:
            raise Uncurable("a part where none should be")
        self._parts[name.lower()] = build_part(name, content)
        self._contents[name.lower()] = content

    def xml(self, key: str) -> _Element:
        return parse_xml(self._contents[key])

    def put_xml(self, key: str, root: _Element) -> None:
        self.put(key, build_xml(root))

    def drop(self, key: str) -> None:
        del self._parts[key], self._contents[key]

    def disarm_embedded(self) -> None:
        """Disarm embedded compound files, and put an empty one in the place of embedded programs and of embedded files
        known to be bad.
        """
        for key, content in list(self._contents.items()):
            found = self._known.get(key)
            if found is not None and found.cured is not None:
                self.put(key, found.cured)
                self.removed.append(f"content of {self.name(key)} cured")
            elif is_compound(content):
                self._disarm_compound(key, content, known=found is not None)
            elif _is_embedded(key) and (found is not None or is_program(content, [key.encode()])):
                self.put(key, _EMPTY)
                self.removed.append(f"embedded file {self.name(key)}")

    def _disarm_compound(self, key: str, content: bytes, *, known: bool) -> None:
        tree = read_compound(content)
        removed = disarm_office(tree, self.bad)
        if removed:
            self.put(key, write_compound(tree))
        elif known:
            self.put(key, _EMPTY)
            removed = [f"embedded file {self.name(key)}"]
        self.removed += removed

    def check_known(self) -> None:
        """Raise Uncurable when a part known to be bad is as it was: nothing is known of it that could be taken out."""
        if any(key in self._parts and key not in self._changed for key in self._known):
            raise Uncurable("a part of the document itself is bad")

    def build(self) -> bytes:
        """Return the package; parts not changed as they were."""
        return write_zip(
            [
                replace_content(part, self._contents[key]) if key in self._changed else part
                for key, part in self._parts.items()
            ],
            self._comment,
        )


_EMPTY: Final = write_compound(Node("Root Entry", _ROOT))
"""Stands in for embedded files: programs find it sound and nothing in it."""


def _is_embedded(key: str) -> bool:
    return "/embeddings/" in key or "/activex/" in key or key.startswith(("object ", "obj"))
