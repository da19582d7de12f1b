"""The check of terms: categories of a message with the words that speak for them, and the flag of obscene words.

Over the subject, the body and the words in disguise in one pass (F-AS-14, F-AS-22).
"""

from typing import Final

import msgspec

from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.terms.matcher import TermMatcher
from gatepost.antispam.terms.scoring import CategoryScore, score_terms
from gatepost.antispam.terms.term import TermBase, find_parts, parse_terms
from gatepost.antispam.terms.wording import build_wording
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

SUFFIX = ".terms"
OBSCENE = "obscene"
"""Category that sets the flag and is no sign of spam: people swear in honest mail."""
OBSCENE_LEAST = 1.0
"""Sum of its terms that sets the flag."""
_BREAK = b"\x00"
"""Between texts: no term reaches over it."""
_TERMS_SHOWN = 5
_FORM: Final = "read terms 3"
"""Of what is kept; another number for another reading of the files."""


class TermsCheck:
    """Content check; see the module."""

    name = "terms"

    def __init__(self, knowledge: Knowledge) -> None:
        """ValueError: a term file is faulty."""
        read = _read(knowledge)
        self._base, self._parts = read.base, read.parts
        terms = self._base.terms
        expressions = list(dict.fromkeys(term.expression for term in terms))
        places = {expression: place for place, expression in enumerate(expressions)}
        self._numbers: list[list[int]] = [[] for _ in expressions]
        """Of terms, by the number of their expression."""
        for number, term in enumerate(terms):
            self._numbers[places[term.expression]].append(number)
        self._matcher = TermMatcher(expressions, knowledge)

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Note categories, signs and the flag."""
        if not view.options.content:
            return
        subject = build_wording(view.folded_subject)
        texts = [subject, view.wording]
        if view.disguised:
            texts.append(build_wording(view.disguised))
        terms = self._base.terms
        found = {
            number
            for place, end in self._matcher.find(_BREAK.join(texts)).items()
            for number in self._numbers[place]
            if not terms[number].subject or end <= len(subject)
        }
        if not found:
            return
        found.difference_update([part for number in found for part in self._parts[number]])
        told = [terms[number] for number in found]
        spam = [term for term in told if term.category != OBSCENE]
        notes.obscene |= sum(term.weight for term in told if term.category == OBSCENE) >= OBSCENE_LEAST
        for score in score_terms(spam, self._base.categories, len(view.folded)):
            notes.categories[score.category.path] = score.weight
            notes.sign(Method.CONTENT, f"terms-{score.category.path.rpartition('/')[2]}", _tell(score), score.weight)


class _Read(msgspec.Struct, frozen=True, array_like=True):
    """Term files as they are kept: reading thousands of terms anew takes a quarter of a second."""

    base: TermBase
    parts: list[tuple[int, ...]]


def _read(knowledge: Knowledge) -> _Read:
    """Return what the term files say. ValueError: one is faulty."""
    files = knowledge.by_suffix(SUFFIX)

    def make() -> bytes:
        base = parse_terms(files)
        return msgspec.msgpack.encode(_Read(base, find_parts(base.terms)))

    return msgspec.msgpack.decode(knowledge.compiled(_FORM, [data for _, data in files], make), type=_Read)


def _tell(score: CategoryScore) -> str:
    shown = ", ".join(f"“{term.shown}”" for term in score.terms[:_TERMS_SHOWN])
    more = len(score.terms) - _TERMS_SHOWN
    return f"reads like {score.category.words}: {shown}{f' and {more} more' if more > 0 else ''}"
