"""Addresses in a message, read as browsers read them: `read_anchor`, and what is odd about one.

Called by `antispam.view` for addresses in pages, texts, codes and documents; `antispam.tricks` weighs the oddities.
Pure but for a bounded memory of host names, linear, never raises for what an address holds.
"""

import enum
import functools
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Final

import can_ada
import msgspec

from gatepost.antispam.extract.confusables import LATIN_TABLE, LOOKS_LATIN, TWINS
from gatepost.antispam.extract.markup import Target
from gatepost.antispam.headers.addresses import read_domain
from gatepost.authn.psl import registrable_domain
from gatepost.model.spam import Link

LINKS_LIMIT: Final = 200
"""Distinct hosts of one message that the link checks are told: a newsletter has a dozen."""
ANCHORS_LIMIT: Final = 10_000
"""Addresses of one message that are looked at."""
URL_KEPT: Final = 500
"""Characters of an address that is told."""
HOST_LIMIT: Final = 253
"""Characters of a host name (RFC 1035 §2.3.4)."""
MANY_LABELS: Final = 6
"""Labels of a host name that nobody would type: services that give each customer a name stay below."""

_PLAIN = re.compile(r"https?://((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,10}[a-z]{2,24})(?=[/?#]|\Z)")
"""The address as nearly all are: what it names needs no parser."""
_NORMAL = re.compile(
    r"https?://(?!(?:[a-z0-9-]*+\.)*?xn--)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,10}[a-z]{2,24}"
    r"(?:/(?!\.)[A-Za-z0-9_~!$&()*+,;=:@.-]*+)++(?:\?[A-Za-z0-9_~!$&()*+,;=:@/?%.-]*+)?"
)
"""An address in which there is nothing to put right: no names in other scripts, ports, dots as steps, escapes."""
_SCHEME = re.compile(r"[\x00-\x20]*+([a-zA-Z][a-zA-Z0-9+.-]{0,20}+)\s*+:")
_PAGE = re.compile(r"\s*+data:\s*+(?:text/html|text/xml|image/svg|application/x)", re.IGNORECASE)
_WRITTEN_HOST = re.compile(r"[/\\]{2,}+(?:[^/\\?#@]*+@)?([^/\\?#:]*+)")
_INNER = re.compile(r"https?(?::|%3a|%253a)(?:/|%2f|%252f){2}[^&\s\"'<>]{1,1000}", re.IGNORECASE)
_SHOWN = re.compile(
    r"(?:https?://|www\.)?((?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})(?::\d{1,5})?(?:[/?#]\S*)?\s*", re.IGNORECASE
)
_OTHER_SUFFIX = re.compile(r"(?:\A|\.)([a-z0-9-]{2,63}\.(?:com|net|org))\.")
_PORTS: Final = frozenset({"", "80", "443", "8080", "8443"})


class Oddity(enum.StrEnum):
    """What is odd about an address."""

    ADDRESS = "address"
    """The host is a number, not a name."""
    DISGUISED_HOST = "disguised-host"
    """The host is written with escapes, in octal or hexadecimal, or in another form than browsers make of it."""
    USER = "user"
    """A user name that looks like a host stands in front of the host."""
    PORT = "port"
    """An unusual port."""
    LOOK_ALIKE = "look-alike"
    """A name of letters that look like Latin ones, or of several scripts."""
    SCRIPT = "script"
    """`javascript:` and the like."""
    INLINE = "inline"
    """`data:`: a page in the address."""
    DEEP = "deep"
    """Very many labels."""
    OTHER_NAME = "other-name"
    """The name of another site stands in front of the true one."""
    REDIRECT = "redirect"
    """Another site's address stands in it."""
    BROKEN = "broken"
    """Slashes turned round, blanks or line ends inside."""


class Anchor(msgspec.Struct, gc=False):
    """One address of a message."""

    url: str
    """As it stands there, cut at `URL_KEPT`; `data:` addresses at 40."""
    host: str = ""
    """Lower case A-labels, or an address; "" when the address names none."""
    domain: str = ""
    """Registrable domain, "" for a number."""
    element: str = "a"
    """Element of a page, `text`, `qr`, `ocr`, `pdf`, `office`."""
    source: str = "html"
    shown: str = ""
    shown_domain: str = ""
    """Registrable domain that the shown text names, if it shows one."""
    inner: str = ""
    """Registrable domain of the other site in it."""
    odd: tuple[Oddity, ...] = ()
    hidden: bool = False
    pictured: bool = False
    """It shows a picture."""

    @property
    def followed(self) -> bool:
        """Whether a click leads there, or a form is sent there: not a picture's address, nor words in one."""
        return self.element not in ("img", "link", "base", "embed", "frame", "iframe", "ocr")


def registrable(host: str) -> str:
    """Return the registrable domain of a host name in lower-case A-labels, "" for an address or a bare suffix."""
    if not host or _is_number(host):
        return ""
    return registrable_domain(host)


def _is_number(host: str) -> bool:
    return host[-1].isdigit() or ":" in host or host[0] == "["


def read_target(target: Target) -> Anchor | None:
    """Return what an address in a page leads to; None: nowhere outside of the message."""
    anchor = read_anchor(target.url, "html", target.element)
    if anchor is not None:
        anchor.hidden = target.hidden
        anchor.pictured = target.pictured
        if target.shown and target.element == "a":
            anchor.shown = target.shown
            anchor.shown_domain = _read_shown(target.shown)
    return anchor


def read_anchor(url: str, source: str, element: str) -> Anchor | None:
    """Return what an address leads to; None: nowhere (inside the page, mail, a picture of the message)."""
    plain = _PLAIN.match(url)
    odd: tuple[Oddity, ...] = ()
    if plain is not None:
        host = plain[1]
    else:
        scheme = _SCHEME.match(url)
        name = "" if scheme is None else scheme[1].lower()
        if name in ("javascript", "vbscript"):
            return Anchor(url[:URL_KEPT], element=element, source=source, odd=(Oddity.SCRIPT,))
        if name == "data":
            if not _PAGE.match(url):
                return None
            return Anchor(url[:40], element=element, source=source, odd=(Oddity.INLINE,))
        parsed = _parse(url, name)
        if parsed is None:
            return None
        host, odd = parsed
    domain, more = _judge_host(host)
    inner = _read_inner(url, domain) if "ttp" in url[8:].lower() else ""
    if more or inner:
        odd = (*odd, *more, Oddity.REDIRECT) if inner else (*odd, *more)
    return Anchor(url[:URL_KEPT], host, domain, element, source, inner=inner, odd=odd)


@functools.lru_cache(maxsize=4096)
def _judge_host(host: str) -> tuple[str, tuple[Oddity, ...]]:
    """Return (registrable domain, what is odd about the name)."""
    domain = registrable(host)
    odd: list[Oddity] = []
    if domain:
        if host.count(".") >= MANY_LABELS - 1:
            odd.append(Oddity.DEEP)
        if _names_other(host, domain):
            odd.append(Oddity.OTHER_NAME)
    if "xn--" in host and _looks_latin(host):
        odd.append(Oddity.LOOK_ALIKE)
    return domain, tuple(odd)


def _parse(url: str, scheme: str) -> tuple[str, tuple[Oddity, ...]] | None:
    """Return (host, oddities) of an address that is not written plainly."""
    odd: list[Oddity] = []
    if not scheme or (scheme not in ("http", "https", "ftp") and "." in scheme):
        if url.startswith(("//", "\\\\")):
            url = f"http:{url}"
        elif url[:4].lower() == "www.":
            url = f"http://{url}"
        else:
            return None
    elif scheme not in ("http", "https", "ftp"):
        return None
    parsed = _browse(url)
    host = "" if parsed is None else parsed.hostname.rstrip(".")
    if parsed is None or not 0 < len(host) <= HOST_LIMIT:
        return None
    if "\\" in url.partition("?")[0] or "\n" in url.strip() or "\t" in url.strip():
        odd.append(Oddity.BROKEN)
    if "." in parsed.username:
        odd.append(Oddity.USER)
    if parsed.port not in _PORTS:
        odd.append(Oddity.PORT)
    written = _WRITTEN_HOST.search(url)
    if _is_number(host):
        odd.append(Oddity.ADDRESS)
        if written is not None and written[1] and host[0] != "[" and written[1] != host:
            odd.append(Oddity.DISGUISED_HOST)
    elif written is not None and "%" in written[1]:
        odd.append(Oddity.DISGUISED_HOST)
    return host.strip("[]"), tuple(odd)


def _browse(url: str) -> can_ada.URL | None:
    """Return an address as browsers take it apart; None: they do not."""
    try:
        return can_ada.parse(url)
    except (ValueError, TypeError):  # TypeError: characters that are none (lone surrogates)
        return None


def _names_other(host: str, domain: str) -> bool:
    """Whether the labels in front of the registrable domain are a site of their own: `www.bank.com.site.example`."""
    front = host[: -len(domain)]
    return _OTHER_SUFFIX.search(front) is not None


def _looks_latin(host: str) -> bool:
    """Whether a label of the name mixes scripts, or reads as a Latin word although it is none."""
    for encoded in host.split("."):
        if not encoded.startswith("xn--"):
            continue
        try:
            label = encoded[4:].encode("ascii").decode("punycode")
        except ValueError:
            continue
        foreign = [letter for letter in label if not letter.isascii()]
        if all(letter in LOOKS_LATIN for letter in foreign) and label.translate(LATIN_TABLE).isascii():
            mixed = any(letter.isascii() and letter.isalpha() for letter in label)
            if mixed or all(letter in TWINS for letter in foreign):
                return True
    return False


def _read_inner(url: str, domain: str) -> str:
    """Return the registrable domain of another site whose address stands inside this one."""
    found = _INNER.search(url, 8)
    if found is None:
        return ""
    parsed = _browse(urllib.parse.unquote(urllib.parse.unquote(found[0])))
    inner = "" if parsed is None else registrable(parsed.hostname.rstrip("."))
    return inner if inner != domain else ""


def _read_shown(shown: str) -> str:
    """Return the registrable domain that a link's text names, "" when it is no address."""
    if "." not in shown or len(shown) > URL_KEPT:
        return ""
    found = _SHOWN.fullmatch(shown)
    if found is None:
        return ""
    return registrable(read_domain(found[1]))


def distinct(anchors: Iterable[Anchor]) -> Iterator[Link]:
    """Yield the links to be checked, one for each host in order, at most `LINKS_LIMIT`; those a reader follows come
    before the pictures.
    """
    seen: set[str] = set()
    ordered = sorted(anchors, key=lambda anchor: not anchor.followed)
    for anchor in ordered:
        if anchor.host and anchor.host not in seen:
            seen.add(anchor.host)
            yield Link(anchor.host, anchor.domain, _normalise(anchor.url), anchor.source)
            if len(seen) >= LINKS_LIMIT:
                return
        if anchor.inner and anchor.inner not in seen:
            seen.add(anchor.inner)
            yield Link(anchor.inner, anchor.inner, _normalise(anchor.url), anchor.source)
            if len(seen) >= LINKS_LIMIT:
                return


def _normalise(url: str) -> str:
    """Return an address as browsers write it; as nearly all are, they leave it alone."""
    if _NORMAL.fullmatch(url):
        return url[:URL_KEPT]
    parsed = _browse(url)
    return url[:URL_KEPT] if parsed is None else str(parsed.href)[:URL_KEPT]
