"""What header signs know of the world: free mail services, and brands with their true domains. Data of the databases.

`.domains` files hold a domain a line. `.brands` files hold `Name, Other Name: domain domain …` a line: whoever calls
himself so writes from one of these domains or from below one. `#` starts a comment line.
"""

import re
from collections.abc import Iterator

import msgspec

from gatepost.antispam.knowledge import Knowledge, read_lines

_DOMAIN = re.compile(r"(?:[a-z0-9-]+\.)+[a-z0-9-]+")
_WORD = re.compile(r"[^\W_]+")
WORDS_LIMIT = 12
"""Words of a display name in which a brand is looked for."""


class Brand(msgspec.Struct, frozen=True):
    """A brand and where it writes from."""

    name: str
    domains: frozenset[str]


class Reference(msgspec.Struct, frozen=True):
    """All of it."""

    free_mail: frozenset[str] = frozenset()
    brands: dict[tuple[str, ...], Brand] = {}
    """By the words of a name, lower case."""

    def is_free(self, domain: str) -> bool:
        """Whether anybody gets an address in this domain."""
        return domain in self.free_mail

    def find_brand(self, name: str) -> Brand | None:
        """Return the brand whose name stands in a display name."""
        words = tuple(word.lower() for word in _WORD.findall(name)[:WORDS_LIMIT])
        for start in range(len(words)):
            for length in (1, 2, 3):
                brand = self.brands.get(words[start : start + length])
                if brand is not None and start + length <= len(words):
                    return brand
        return None


def load_reference(knowledge: Knowledge) -> Reference:
    """Read the reference files. ValueError: one of them is faulty; the text names file and line."""
    free: set[str] = set()
    brands: dict[tuple[str, ...], Brand] = {}
    for path, number, line in _lines(knowledge, ".domains"):
        free.add(_domain(path, number, line))
    for path, number, line in _lines(knowledge, ".brands"):
        names, colon, domains = line.partition(":")
        known = frozenset(_domain(path, number, word) for word in domains.split())
        if not colon or not known:
            raise ValueError(f"{path} line {number}: write `Name: domain domain`")
        for name in names.split(","):
            brands[tuple(word.lower() for word in _WORD.findall(name))] = Brand(name.strip(), known)
    return Reference(frozenset(free), brands)


def _lines(knowledge: Knowledge, suffix: str) -> Iterator[tuple[str, int, str]]:
    for path, data in knowledge.by_suffix(suffix):
        yield from ((path, number, line) for number, line in read_lines(path, data))


def _domain(path: str, number: int, text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise ValueError(f"{path} line {number}: {text!r} is no domain; write it in lower case, as A-labels")
    return text
