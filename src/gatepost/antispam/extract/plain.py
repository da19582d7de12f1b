"""Plain text: what is new in it, what is quoted from older mail, and the addresses that readers make links of.

Called by `antispam.view`. Pure, linear.
"""

import re
from typing import Final

_QUOTED = re.compile(r"^(?:>|[ \t]{0,3}>|[A-Za-z]{1,3}>)[^\n]*\n?", re.MULTILINE)
_URL_REST = re.compile(r"[^\s<>\"\u00a0\u200b-\u200f\u2028\u2029\u3000\u3001\u3002\uff0c]{1,2000}+")
_SCHEME = re.compile(r"(?:https?|ftp|hxxps?)\Z", re.IGNORECASE)
_INNER_DOT = re.compile(r"\.\S\S")
"""A dot with two characters behind it: without one no word of a text is the name of a host."""
_TRAILING: Final = ".,;:!?'\u2019\u201d\u00bb*_~|"
_PAIRS: Final = {")": "(", "]": "[", "}": "{", ">": "<"}
URLS_LIMIT: Final = 10_000
_SCHEME_LENGTH: Final = 6
_DOMAIN = re.compile(
    r"[(\[\"'<*]?((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}"
    r"(?:com|net|org|info|biz|ru|su|de|fr|uk|eu|us|cn|in|br|top|xyz|site|online|shop|club|live|icu|buzz|vip|pro|io|co|me|tv"
    r"|link|click|work|win|store|website|space|fun|cc|ly|gl|app|dev|page|\u0440\u0444)"
    r"(?:/[^\s<>\"]{0,500}+)?)[\])\"'>*.,;:!?]*+",
    re.IGNORECASE,
)
_SURE: Final = (
    ".com",
    ".net",
    ".org",
    ".info",
    ".biz",
    ".ru",
    ".xyz",
    ".top",
    ".icu",
    ".buzz",
    ".site",
    ".online",
    ".shop",
    ".club",
)
"""Endings that are no words of a sentence whose blank was forgotten."""
BARE_SEARCH: Final = 16 * 1024
"""Characters in which addresses without `http://` or `www.` are looked for: a mail that lives by one names it early."""


def unflow(text: str, *, delsp: bool = False) -> str:
    """Return `format=flowed` text with its lines joined (RFC 3676 §4.2)."""
    pieces: list[str] = []
    flowing = False
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        line = line.removeprefix(" ")
        quoted = line.startswith(">")
        joins = line.endswith(" ") and line != "-- " and not quoted
        if not flowing or quoted:
            pieces.append("\n")
        elif delsp:
            pieces[-1] = pieces[-1][:-1]
        pieces.append(line)
        flowing = joins
    return "".join(pieces[1:])


def part_quoted(text: str) -> tuple[str, str]:
    """Return (lines of the writer, lines quoted from older mail). All of a text that is nothing but quoted lines is the
    writer's: the sign does not hide a message.
    """
    if ">" not in text:
        return text, ""
    quoted = _QUOTED.findall(text)
    if not quoted:
        return text, ""
    own = _QUOTED.sub("", text)
    return (own, "".join(quoted)) if own.strip() else (text, "")


def find_urls(text: str) -> list[str]:
    """Return the addresses with a scheme or `www.` in a text, as readers make links of them, in their order."""
    found: list[tuple[int, str]] = []
    position = text.find("://")
    while position > 0 and len(found) < URLS_LIMIT:
        scheme = _SCHEME.search(text, max(0, position - _SCHEME_LENGTH), position)
        rest = _URL_REST.match(text, position + 3)
        if rest is None:
            position = text.find("://", position + 3)
            continue
        if scheme is not None:
            found.append((scheme.start(), scheme[0].lower().replace("xx", "tt") + "://" + _trim(rest[0])))
        position = text.find("://", rest.end() if scheme is not None else position + 3)
    for prefix in ("www.", "WWW.", "Www."):
        position = text.find(prefix)
        while position >= 0 and len(found) < URLS_LIMIT:
            before = text[position - 1] if position else " "
            end = position + 4
            if not before.isalnum() and before not in "/.@-=&":
                rest = _URL_REST.match(text, position)
                if rest is not None:
                    end = rest.end()
                    url = _trim(rest[0])
                    if "." in url[4:]:
                        found.append((position, f"http://{url}"))
            position = text.find(prefix, end)
    found.sort()
    return [url for _, url in found]


def find_bare(text: str) -> list[str]:
    """Return names of hosts that stand in a text without a scheme, as addresses: some readers make links of them."""
    text = text[:BARE_SEARCH]
    if _INNER_DOT.search(text) is None:
        return []
    words = [word for word in text.split() if "." in word]
    words = [word for word in words if "." in word[1:-2] and "@" not in word and "://" not in word]
    matches = (_DOMAIN.fullmatch(word) for word in words)
    hosts = [match[1] for match in matches if match is not None]
    return [f"http://{_trim(each)}" for each in hosts if "/" in each or each.lower().endswith(_SURE)]


def _trim(url: str) -> str:
    """Return an address without the signs of the sentence around it."""
    while url:
        last = url[-1]
        if last in _TRAILING or (last in _PAIRS and url.count(last) > url.count(_PAIRS[last])):
            url = url[:-1]
        else:
            break
    return url
