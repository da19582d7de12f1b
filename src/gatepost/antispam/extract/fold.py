"""The form of a text in which it is matched: `fold`, and what disguises it undid. Called by `antispam.view`; pure.

Honest text in any language comes out as it went in, in lower case. Letters are put right word by word, and only in
words that mix scripts no honest word mixes, or that stand alone between words of the other script.
"""

import itertools
import re
import unicodedata
from typing import Final

import msgspec

from gatepost.antispam.extract.confusables import (
    CYRILLIC_TABLE,
    LATIN_TABLE,
    LOOKS_CYRILLIC,
    LOOKS_LATIN,
    NEAR_TWINS,
    SIGNS_FOR_LETTERS,
    STYLED,
)

WORDS_LIMIT: Final = 2_000
"""Words put right in one text."""
EXAMPLES: Final = 8
"""Kept for evidence."""
GAPPY_LETTERS: Final = 5
"""Single letters in a row, with a blank or a sign between them, that are one word: initials are fewer."""
LEET_LENGTH: Final = 24
"""Letters of the longest word in which digits are read as letters; longer ones are codes."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0000-\U000e0fff]+"
)
"""Default-ignorable characters: nobody sees them."""
_INSIDE = re.compile(
    "(?<=[a-zA-Z\u0370-\u04ff])[\u034f\u200b\u200c\u200d\u200e\u2060\u2061-\u2064\u180e\ufeff]+(?=[a-zA-Z\u0370-\u04ff])"
)
"""Between two letters of scripts that have no use for joiners there; the soft hyphen has one and is counted apart."""
_TWISTED = re.compile("[\u202d\u202e]")
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[a-zA-Z]")
_FOREIGN = re.compile("[\u0370-\u052f\u0531-\u0587\u13a0-\u13f5\uab70-\uabbf\u0250-\u02af\u1d00-\u1d7f\ua730\ua731]")
"""Letters that may be there to be taken for others."""
_ASCII: Final = bytes(range(128))
_UNTIDY: Final = ("  ", "\n ", " \n", "\n\n", "\t", "\r", "\f", "\v", "\xa0", "\u2028", "\u2029")
_BLANKS: Final = bytes.maketrans(b"\t\x1f\r\f\v\x1c\x1d\x1e", b"  \n\n\n\n\n\n")
"""ASCII white space as `str.split` and `str.splitlines` take it: blanks, and ends of lines."""
_SHAPES: Final = bytes(
    0x61 if chr(code).isalpha() or code == 0x3F
    else 0x30 if chr(code) in "0123456789@$!|"
    else 0x20 if chr(code) in " .-_*+~,:;'`^/\\"
    else 0x78
    for code in range(256)
)  # fmt: skip
"""ASCII characters by their part in a word: letter, digit or sign for a letter, gap, end. `?` is any other letter."""
_GAPPY: Final = b"a " * (GAPPY_LETTERS - 1) + b"a"
_GAPPY_RUN = re.compile(rb"(?<![a0])a(?: a){%d,40}(?!a|0a)" % (GAPPY_LETTERS - 1))
_LEET_WORD = re.compile(r"(?<![^\s\"'(.,:;-])[^\W\d_]{1,20}(?:[0-9@$!|]{1,2}[^\W\d_]{1,20}){1,6}(?![^\s\"').,:;?!-])")


class Folded(msgspec.Struct):
    """A text in the form for matching, and what was found on the way."""

    text: str = ""
    disguised: list[str] = []
    """Words that were spaced out or written with digits, as meant."""
    lookalikes: int = 0
    """Words with letters of another script that were put right."""
    lookalike_examples: list[str] = []
    """Such words as they stood there, with what they are taken for."""
    broken: int = 0
    """Invisible characters between two letters."""
    soft_hyphens: int = 0
    twisted: int = 0
    """Marks that turn the direction of writing round by force."""
    styled: int = 0
    """Words in mathematical, circled or full-width Latin letters."""
    gappy: list[str] = []
    """Words that were spaced out."""


def fold(text: str) -> Folded:
    """Return a text in the form for matching: lines kept, single blanks, lower case."""
    found = Folded(disguised=[], lookalike_examples=[], gappy=[])
    if text.isascii():
        plain, shape = _tidy(text.lower().encode("ascii"))
    else:
        plain = _fold_letters(text, found)
        if any([untidy in plain for untidy in _UNTIDY]):  # noqa: C419 - as a list a third of the time
            plain = "\n".join([line for each in plain.splitlines() if (line := " ".join(each.split()))])
        shape = plain.encode("ascii", "replace")
    shape = shape.translate(_SHAPES)
    if _GAPPY in shape:
        _join_letters(plain, shape, found)
    if b"a0a" in shape or b"a00a" in shape:
        _read_signs(plain, shape, found)
    found.text = plain
    return found


def _tidy(raw: bytes) -> tuple[str, bytes]:
    """Return an ASCII text with its lines stripped, empty ones left out and single blanks between words; the same as
    bytes.
    """
    raw = raw.translate(_BLANKS)
    while b"  " in raw:  # each round halves the longest run
        raw = raw.replace(b"  ", b" ")
    raw = raw.replace(b" \n", b"\n").replace(b"\n ", b"\n")
    while b"\n\n" in raw:
        raw = raw.replace(b"\n\n", b"\n")
    raw = raw.strip(b" \n")
    return raw.decode("ascii"), raw


def _fold_letters(text: str, found: Folded) -> str:
    """Return text in lower case without invisible characters and with its letters put right."""
    if _INVISIBLE.search(_beyond_ascii(text)):
        found.broken = len(_INSIDE.findall(text))
        found.soft_hyphens = text.count("\u00ad")
        found.twisted = len(_TWISTED.findall(text))
        text = _INVISIBLE.sub("", text)
    if not unicodedata.is_normalized("NFKC", text):
        plain = unicodedata.normalize("NFKC", text)
        found.styled = _count_styled(text)
        text = plain
    text = text.casefold()
    return _put_right(text, found) if _FOREIGN.search(_beyond_ascii(text)) else text


def _beyond_ascii(text: str) -> str:
    """Return the characters that are not ASCII: all that need be searched for them, and found in no time."""
    return text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")


_STYLED_LATIN = re.compile("[\U0001d400-\U0001d7cb\u24b6-\u24e9\uff21-\uff3a\uff41-\uff5a\U0001f130-\U0001f189]{2,}")


def _count_styled(text: str) -> int:
    return len(_STYLED_LATIN.findall(text))


def _put_right(text: str, found: Folded) -> str:
    """Return text whose mixed words are written in one script."""
    pieces: list[str] = []
    position = 0
    words = list(_WORD.finditer(text)) if _is_mixed(text) else []
    for number, match in enumerate(words):
        word = match[0]
        if word.isascii() or not _FOREIGN.search(word):
            continue
        right = _right_word(word, words, number)
        if right == word:
            continue
        found.lookalikes += 1
        if len(found.lookalike_examples) < EXAMPLES:
            found.lookalike_examples.append(f"{word[:30]} ({right[:30]})")
        pieces += (text[position : match.start()], right)
        position = match.end()
        if found.lookalikes >= WORDS_LIMIT:
            break
    pieces.append(text[position:])
    return "".join(pieces)


def _is_mixed(text: str) -> bool:
    """Whether there are Latin letters, or letters no language is written in, beside foreign ones."""
    return _LATIN.search(text) is not None or not STYLED.isdisjoint(text)


def _right_word(word: str, words: list[re.Match[str]], number: int) -> str:
    """Return the word in the script it is meant to be read in, or as it is."""
    around = [words[each][0] for each in (number - 1, number + 1) if 0 <= each < len(words)]
    if _LATIN.search(word):
        if _is_compound(word, around):
            return word
        latin = [letter for letter in word if letter.isascii()]
        foreign = [letter for letter in word if letter in LOOKS_LATIN]
        if _is_cyrillic_word(word) and _all_cyrillic(latin):
            return word.translate(CYRILLIC_TABLE)
        return word.translate(LATIN_TABLE) if len(foreign) + len(latin) == len(word) else word
    if not STYLED.isdisjoint(word):
        return word.translate(LATIN_TABLE)
    # A word all of foreign letters: a disguise only where it looks Latin as a whole and its neighbours are.
    if len(word) < 2 or any(letter not in NEAR_TWINS for letter in word):
        return word
    return word.translate(LATIN_TABLE) if around and all(each.isascii() for each in around) else word


def _is_compound(word: str, around: list[str]) -> bool:
    """Whether a word mixes scripts as honest ones do: a unit or symbol (`\u03bcmol`), a foreign word with an ending of
    the language around it.
    """
    if len(word) < 3 or word[0] in "\u03bc\u03b1\u03b2\u03b3\u03b4\u03c9\u03c7":
        return True
    kinds = [letter.isascii() for letter in word]
    switches = sum(one != other for one, other in itertools.pairwise(kinds))
    if switches != 1 or not kinds[0]:
        return False
    return any(not each.isascii() for each in around) or not around


def _all_cyrillic(latin: list[str]) -> bool:
    return all(letter in LOOKS_CYRILLIC for letter in latin)


def _is_cyrillic_word(word: str) -> bool:
    return sum("\u0400" <= letter <= "\u052f" for letter in word) * 2 > len(word)


def _join_letters(plain: str, shape: bytes, found: Folded) -> None:
    """Note words whose letters stand apart."""
    for match in _GAPPY_RUN.finditer(shape):
        run = plain[match.start() : match.end()]
        if not _is_alike(run[1::2]):
            continue
        word = run[::2]
        if not word.isalpha() or word in "abcdefghijklmnopqrstuvwxyz" or len(set(word)) < 3:
            continue
        found.gappy.append(word)
        found.disguised.append(word)
        if len(found.disguised) >= WORDS_LIMIT:
            return


def _is_alike(gaps: str) -> bool:
    """Whether the letters are set apart by one sign, as one who spaces a word out does."""
    return len(set(gaps)) == 1


def _read_signs(plain: str, shape: bytes, found: Folded) -> None:
    """Note words in which digits and signs stand for letters."""
    position = shape.find(b"a0")
    last = -1
    for _ in range(WORDS_LIMIT):
        if position < 0:
            return
        start = (
            max(
                shape.rfind(b" ", max(0, position - LEET_LENGTH), position),
                shape.rfind(b"x", max(0, position - LEET_LENGTH), position),
            )
            + 1
        )
        match = _LEET_WORD.match(plain, start)
        if match is not None and match.start() != last and len(match[0]) <= LEET_LENGTH:
            last = match.start()
            word = match[0]
            if sum(letter.isalpha() for letter in word) * 2 > len(word) and len(word) >= 4:
                found.disguised.append(word.translate(SIGNS_FOR_LETTERS))
                if "1" in word or "|" in word or "!" in word:
                    found.disguised.append(word.replace("1", "l").replace("!", "l").translate(SIGNS_FOR_LETTERS))
        end = position + 2 if match is None else max(match.end(), position + 2)
        position = shape.find(b"a0", end)
