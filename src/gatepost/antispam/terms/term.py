"""Term files: `parse_terms`. Read in the template and when a set is built.

UTF-8, one term a line, `#` begins a comment. A line `= CATEGORY | WORDS | cap=N` begins a category: its path, how a
person calls it, and the most it may add to the rating's log-odds (default 6.5). A line `WEIGHT TERM` adds a term to it:

- `1.2 next of kin`: these words in a row, whole ones;
- `0.8 pharmac*`: a word that begins so;
- `1 transfer ... million`: at most four other words between;
- `0.7 subject: urgent reply`: in the subject only.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gatepost.antispam.category import check_category
from gatepost.antispam.terms.wording import build_wording

TERM_LIMIT: Final = 120
"""Bytes of a term: a longer one would be a sample."""
TERMS_LIMIT: Final = 50_000
"""Terms of all files: their compiled form stays below 20 MB."""
WEIGHT_LIMIT: Final = 6.5
GAP: Final = "..."
_GAP_EXPRESSION: Final = rb"(?:[^ \x00]{1,40} ){0,4}"
_ENDING: Final = rb"[^ \x00]{0,20}"
_SUBJECT: Final = "subject:"


class Category(msgspec.Struct, frozen=True):
    """A kind of mail that terms speak for."""

    path: str
    """`L1/L2/L3`."""
    words: str
    """As evidence calls it: "advance-fee fraud"."""
    cap: float


class Term(msgspec.Struct, frozen=True):
    """One weighted term."""

    shown: str
    """As it stands in the file."""
    expression: bytes
    """For the matcher, over a wording."""
    category: str
    weight: float
    subject: bool = False


def find_parts(terms: Sequence[Term]) -> list[tuple[int, ...]]:
    """Return for each term the numbers of those of its category that are pieces of it, and so say nothing more."""
    places: dict[tuple[str, bytes], list[int]] = {}
    for number, term in enumerate(terms):
        places.setdefault((term.category, term.expression.strip()), []).append(number)
    found = []
    for term in terms:
        words = term.expression.split()
        parts = {
            part
            for start in range(len(words))
            for end in range(start + 1, len(words) + 1)
            for part in places.get((term.category, b" ".join(words[start:end])), ())
        }
        shorter = len(term.expression)
        found.append(tuple(sorted(part for part in parts if len(terms[part].expression) < shorter)))
    return found


class TermBase(msgspec.Struct, frozen=True):
    """What term files say."""

    terms: tuple[Term, ...]
    categories: dict[str, Category]


def parse_terms(files: Iterable[tuple[str, bytes]]) -> TermBase:
    """Read term files, each (path, content). ValueError names file and line."""
    terms: dict[tuple[bytes, str, bool], Term] = {}
    categories: dict[str, Category] = {}
    for path, data in files:
        try:
            lines = data.decode().splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
        category: Category | None = None
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            try:
                if line.startswith("="):
                    category = _parse_category(line[1:])
                    category = categories.setdefault(category.path, category)
                elif category is None:
                    raise ValueError("a term before any category")  # noqa: TRY301 - told with file and line below
                else:
                    term = _parse_term(line, category.path)
                    terms.setdefault((term.expression, term.category, term.subject), term)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from None
    if len(terms) > TERMS_LIMIT:
        raise ValueError(f"{len(terms)} terms; {TERMS_LIMIT} at most")
    return TermBase(tuple(terms.values()), categories)


def _parse_category(text: str) -> Category:
    path, _, rest = (field.strip() for field in text.partition("|"))
    words, _, cap = (field.strip() for field in rest.partition("|"))
    check_category(path)
    limit = WEIGHT_LIMIT
    if cap:
        name, _, number = cap.partition("=")
        if name.strip() != "cap":
            raise ValueError(f"{cap!r}: only cap=N stands here")
        limit = _parse_weight(number)
    return Category(path, words or path, limit)


def _parse_term(line: str, category: str) -> Term:
    number, _, shown = line.partition(" ")
    weight = _parse_weight(number)
    text = shown.strip()
    subject = text.startswith(_SUBJECT)
    text = text.removeprefix(_SUBJECT).strip()
    pieces = text.split(GAP)
    words = [_parse_piece(piece) for piece in pieces]
    inner = [
        word + (_ENDING if piece.rstrip().endswith("*") else b"") for word, piece in zip(words, pieces, strict=True)
    ]
    inner[-1] = words[-1]
    expression = b" " + (b" " + _GAP_EXPRESSION).join(inner) + (b"" if text.endswith("*") else b" ")
    if sum(map(len, words)) > TERM_LIMIT:
        raise ValueError(f"{shown!r}: longer than {TERM_LIMIT} bytes")
    return Term(text, expression, category, weight, subject)


def _parse_piece(piece: str) -> bytes:
    """Return the words of a piece, for the matcher; a `*` behind the last is left to the caller."""
    text = piece.strip().removesuffix("*")
    words = build_wording(unicodedata.normalize("NFKC", text).casefold()).strip()
    if len(words) < 2 or "*" in text:
        raise ValueError(f"{piece!r}: words of two letters or more, a * behind the last of them only")
    return words


def _parse_weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no weight") from None
    if not 0 < weight <= WEIGHT_LIMIT:
        raise ValueError(f"weight {weight:g}: above 0, at most {WEIGHT_LIMIT:g}")
    return weight
