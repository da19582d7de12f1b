"""Likely passwords of attached archives, read off the texts of the message: `find_passwords`.

Called by the stage when something protected turns up. Pure. The list is short and ordered, for each try costs time.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

CANDIDATES: Final = 50
"""Passwords returned."""
TEXT_LIMIT: Final = 32 * 1024
"""Characters of each text that are read: a password stands near the beginning or the end."""
TEXTS_LIMIT: Final = 8
LENGTH_LIMIT: Final = 64
"""Characters of a password."""
LABELS_LIMIT: Final = 50
"""Labels followed in one text."""
SHORT_TEXT: Final = 400
"""Characters; in a text no longer than this each word is tried in the end."""
EDGE_WORDS: Final = 40
"""Words at the beginning and the end of a longer text that are tried when they look like a password."""

_LABELS: Final = (
    r"pass(?:word|wort|wd|phrase|code)?|pwd|pw|psw|kennwort|losung|code|key|pin|parole|parola|hasło|haslo|heslo"
    r"|jelszo|jelszó|contraseña|contrasena|clave|senha|palavra[- ]passe|mot[- ]de[- ]passe|wachtwoord|lösenord"
    r"|adgangskode|passord|salasana|parolă|şifre|sifre|zaporka|lozinka|парол[ьяеюи]|пасс|код|密码|密碼|解压码|解壓碼"
    r"|パスワード|암호|비밀번호"
)
_LABEL = re.compile(
    rf"(?<![^\W\d_])(?:{_LABELS})(?![a-z\u0430-\u044f])(?P<rest>[^\n]{{0,200}})(?=(?:\n\s{{0,20}}(?P<next>[^\n]{{1,100}}))?)",
    re.IGNORECASE,
)
_MARK = re.compile("[:=\uff1a]")
_LINK = re.compile(
    "(?:\\s|[:=\uff1a>\u2013\u2014-](?=\\s|\\w)|(?:is|are|ist|lautet|est|es|\u00e9|\u00e8|to|for|was)(?=\\s))*",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    "\"([^\"\n]{1,64})\"|'([^'\n]{1,64})'|\u00ab([^\u00bb\n]{1,64})\u00bb"
    "|[\u201e\u201c]([^\u201c\u201d\n]{1,64})[\u201c\u201d]|`([^`\n]{1,64})`|\\[([^\\]\n]{1,64})\\]"
)
_TAG = re.compile(r"<[^<>]{0,500}>")
_ENTITIES: Final = (("&nbsp;", " "), ("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_AROUND: Final = "()[]{}<>\"'`.,;:\u00ab\u00bb\u201e\u201c\u201d\u2018\u2019"
_DIGITS = re.compile(r"[0-9]{3,12}")
_MIXED = re.compile(
    r"(?=[^\d]*\d)(?=[^a-z]*[a-z])\S{4,32}|[0-9]{3,12}|[^\s!@#$%^&*+=?]*[!@#$%^&*+=?]\S{1,32}", re.IGNORECASE
)


def find_passwords(texts: Iterable[str], names: Iterable[str] = ()) -> list[str]:
    """Return likely passwords, the likeliest first, at most `CANDIDATES`.

    `texts`: subject and text parts of the message; HTML as it is. `names`: file names of the archives.
    """
    shown = [_shorten(text) for text in islice(texts, TEXTS_LIMIT)]
    found: dict[str, None] = {}
    for candidate in _in_order(shown, list(names)):
        if 0 < len(candidate) <= LENGTH_LIMIT:
            found.setdefault(candidate)
            if len(found) >= CANDIDATES:
                break
    return list(found)


def _in_order(texts: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield candidates: what labels say, what is quoted, the archives' names, words that look like one, words."""
    for text in texts:
        for match in islice(_LABEL.finditer(text), LABELS_LIMIT):
            yield from _read_label(match["rest"], match["next"] or "")
    for text in texts:
        for match in islice(_QUOTED.finditer(text), LABELS_LIMIT):
            yield _quoted(match)
    for name in names:
        stem = name.rpartition("/")[2].partition(".")[0]
        yield stem
        yield from _DIGITS.findall(stem)
    for text in texts:
        words = text.split()
        if len(words) > 2 * EDGE_WORDS:
            words = words[:EDGE_WORDS] + words[-EDGE_WORDS:]
        for word in words:
            trimmed = word.strip(_AROUND)
            if _MIXED.fullmatch(trimmed):
                yield trimmed
    for text in texts:
        if len(text) <= SHORT_TEXT:
            for word in text.split():
                yield word.strip(_AROUND)


def _read_label(rest: str, following: str) -> Iterator[str]:
    """Yield what may be meant by what stands behind a label in its line, or else in the next."""
    mark = _MARK.search(rest)
    if mark is not None:
        yield from _read_value(rest[mark.end() :])
    value = rest[_end_of_link(rest) :]
    yield from _read_value(value)
    if not value.strip(_AROUND + " \t\r") or (mark is not None and not rest[mark.end() :].strip()):
        yield from _read_value(following)


def _read_value(value: str) -> Iterator[str]:
    """Yield a quoted text, the first words, a short line as a whole."""
    value = value[_end_of_link(value) :].strip()
    quoted = _QUOTED.match(value)
    if quoted is not None:
        yield _quoted(quoted)
    words = value.split(maxsplit=4)
    for word in words[:2]:
        yield word.strip(_AROUND)
        yield word
    if 1 < len(words) <= 4:
        yield value.strip(_AROUND)


def _end_of_link(text: str) -> int:
    match = _LINK.match(text)
    return match.end() if match is not None else 0


def _quoted(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()


def _shorten(text: str) -> str:
    """Return beginning and end of a text, without the tags of HTML."""
    if len(text) > TEXT_LIMIT:
        text = text[: TEXT_LIMIT // 2] + "\n" + text[-TEXT_LIMIT // 2 :]
    if "<" in text:
        text = _TAG.sub(" ", text)
        for entity, meaning in _ENTITIES:
            text = text.replace(entity, meaning)
    return text
