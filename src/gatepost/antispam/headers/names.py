"""Names that look like other names: display names, domains and their likenesses. Pure.

Called by `facts`. Every comparison is bounded by the length of a name.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from gatepost.antispam.extract.confusables import COUSINS, LOOKS_LATIN, SIGNS_FOR_LETTERS
from gatepost.authn.psl import registrable_domain

_ALIKE: Final = {
    **SIGNS_FOR_LETTERS,
    **{ord(letter): LOOKS_LATIN[letter] for letter in COUSINS},
    0x131: "i",
    0x1E9D: "f",
}
"""Letters of other scripts, digits and signs, and the Latin letter each looks like."""
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("i", "l"))
_ADDRESS = re.compile(r"[\w.+%-]{1,64}+@((?:[\w-]{1,63}\.){1,8}+[^\W\d]{2,63})")
_WORDS = re.compile(r"[^\W_]+")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u202a\u202b\u202d\u202e\u2060-\u2064\u206a-\u206f]"
)
_JOINERS = re.compile("(?<=[a-zA-Z])[\u200c\u200d]+(?=[a-zA-Z])")
"""Joiners where no script has a use for them."""
_NAME_LIMIT = 300
"""Characters of a display name that are compared."""


@lru_cache(maxsize=256)
def organization(domain: str) -> str:
    """Return the registrable domain (public suffix list), the domain itself when it has none."""
    return registrable_domain(domain[-253:]) or domain


def skeleton(text: str) -> str:
    """Return what a hasty reader sees: letters that look alike are one, accents are gone."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))
    plain = plain.translate(_ALIKE)
    for pair, single in _PAIRS:
        plain = plain.replace(pair, single)
    return plain


def name_key(text: str) -> tuple[str, ...]:
    """Return the words of a person's name in a form that does not depend on order, case, accents and likeness."""
    return tuple(sorted(skeleton(word) for word in _WORDS.findall(text[:_NAME_LIMIT]) if len(word) > 1))


def addresses_in(text: str) -> list[str]:
    """Return the domains of the addresses that stand in a text, lower case, as A-labels or as they are."""
    return [found.lower().rstrip(".") for found in _ADDRESS.findall(text[:_NAME_LIMIT])]


def invisible_in(text: str) -> str:
    """Return the names of the invisible and direction-changing characters in a text; "" when there are none. Those
    that scripts need (joiners of Arabic, Indic and emoji) are among them only between Latin letters.
    """
    if text.isascii():
        return ""
    text = text[:_NAME_LIMIT]
    joiners = "".join(_JOINERS.findall(text))
    found = sorted({f"U+{ord(each):04X}" for each in (*_INVISIBLE.findall(text), *joiners)})
    return ", ".join(found[:5])


def mixed_word_in(text: str) -> str:
    """Return the first word that mixes Latin letters with Cyrillic or Greek ones that look like Latin; "" for none."""
    if text.isascii():
        return ""
    for word in _WORDS.findall(text[:_NAME_LIMIT]):
        if len(word) > 2 and not word.isascii():
            latin = sum("a" <= each <= "z" for each in word.lower())
            scripts = [unicodedata.name(each, "").split(" ")[0] for each in word if not each.isascii()]
            foreign = sum(script in {"CYRILLIC", "GREEK"} for script in scripts)
            alike = sum(each != each.translate(_ALIKE) for each in word.lower() if not each.isascii())
            if latin >= 2 and foreign and alike == foreign:
                return str(word)
    return ""


def one_edit_apart(left: str, right: str) -> bool:
    """Whether one letter put in, left out, replaced or two neighbours exchanged make one name of the other."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    if len(left) > len(right):
        left, right = right, left
    start = 0
    while start < len(left) and left[start] == right[start]:
        start += 1
    if len(left) < len(right):
        return left[start:] == right[start + 1 :]
    if left[start + 1 :] == right[start + 1 :]:
        return True
    swapped = left[start + 1 : start + 2] + left[start : start + 1]
    return right[start : start + 2] == swapped and left[start + 2 :] == right[start + 2 :]
