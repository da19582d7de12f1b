"""File names as the readers of mail make them out of parameters: the right one first, then what others may show.

Called by `fields` for Content-Type and Content-Disposition. What a filter by name does not see, a person may still get
to click on, so every name that a reader may come to is one of `Part.names`. Pure, linear, never raises.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from gatepost.mime.part import Defect
from gatepost.mime.words import decode_header, decode_text

FILE_NAMES: Final = frozenset(("filename", "name"))
"""Parameters that name a file (RFC 2183 §2.3; `name` is older than MIME's Content-Disposition)."""
MAX_NAMES = 16
"""Names of one part. Real mail has two at most; the collections of evasion mails know four."""
MAX_NAME_LENGTH = 1000
"""Characters of a name; file systems take 255. Of a longer one the end is kept too: its extension is what counts."""
NAME_HEAD = 700
_QUOTES = "\"'`"

Piece = tuple[int, bool, bytes]
"""One piece of a continued parameter: (number, whether it is percent-encoded, value)."""


def join_pieces(pieces: Sequence[Piece], defects: list[str]) -> list[str]:
    """Return the texts that the pieces of one parameter make (RFC 2231 §3, §4), in order of occurrence given: first
    the one by their numbers, each number's first piece; then, if numbers are missing, twice there or out of order, what
    other readers make of it. Adds to `defects`.
    """
    chosen: dict[int, Piece] = {}
    latest: dict[int, Piece] = {}
    for piece in pieces:
        chosen.setdefault(piece[0], piece)
        latest[piece[0]] = piece
    texts = [_join(chosen[number] for number in sorted(chosen))]
    if len(chosen) < len(pieces):
        defects.append(Defect.DUPLICATE_PARAMETER)
        texts.append(_join(latest[number] for number in sorted(latest)))
        texts += [_join(each[:1]) for each in ([chosen[pieces[0][0]]], [latest[pieces[0][0]]])]
    if any(piece[0] != place for place, piece in enumerate(pieces)):
        texts.append(_join(pieces))
        texts.append(_join(_up_to_gap(chosen)))
    return texts


def _up_to_gap(chosen: dict[int, Piece]) -> Iterator[Piece]:
    number = 0
    while number in chosen:
        yield chosen[number]
        number += 1


def _join(pieces: Iterable[Piece]) -> str:
    charset = b""
    out: list[bytes] = []
    for order, (_, encoded, value) in enumerate(pieces):
        text = value
        if encoded:
            if order == 0 and value.count(b"'") >= 2:
                charset, _, text = value.split(b"'", 2)
            text = unquote_to_bytes(text)
        out.append(text)
    return decode_text(b"".join(out), charset.decode("latin-1"))


def list_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct file names in the texts of parameters, best first, at most one more than MAX_NAMES."""
    names: dict[str, None] = {}
    for name in _readings(texts):
        if name:
            names[name] = None
            if len(names) > MAX_NAMES:
                break
    return tuple(names)


def _readings(texts: Sequence[str]) -> Iterator[str]:
    yield from map(base_name, texts)
    for text in texts:
        if _is_odd(text):
            yield from map(base_name, _other_readings(text))


def _is_odd(text: str) -> bool:
    return "%" in text or "=?" in text or '"' in text or "\0" in text or text[:1] in _QUOTES or text[-1:] in _QUOTES


def _other_readings(text: str) -> Iterator[str]:
    """Yield what else the text of a parameter may be read as."""
    yield text.strip(_QUOTES)
    if '"' in text:
        yield text.replace('"', "")
    if "\0" in text:
        yield text.partition("\0")[0]
    if "%" in text:
        yield unquote(text)
    if "=?" in text:
        yield decode_header(text.encode("utf-8", "replace"))


def base_name(name: str) -> str:
    """Return a file name without path and without NUL and line ends."""
    if "/" in name or "\\" in name:
        name = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = name.replace("\0", "").replace("\r", "").replace("\n", "").strip()
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[:NAME_HEAD]}…{name[NAME_HEAD + 1 - MAX_NAME_LENGTH :]}"
