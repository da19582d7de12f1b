"""Links in mails to recipients: what one may do, for whom, until when, sealed so that nobody can make or change one.

Made by `master.digests`, opened by `master.user_desk`. Sans-I/O: keys, time and randomness are given. A link is 128
random bits, by which its use is remembered, and what it means, under a MAC of 128 bits (HMAC-SHA-256, cut: RFC 2104
§5) with one of the gateway's own keys. There is one spelling of each link: another one, padded or in other letters,
is none.
"""

import base64
import enum
import hmac
import itertools
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

KEY_BYTES: Final = 32
_MAC_BYTES: Final = 16
_ID_BYTES: Final = 16
TEXT_LIMIT: Final = 1024
"""Characters of a link: an address has at most 254, or a few more beyond ASCII (RFC 5321 §4.5.3.1)."""
_SEALED: Final = b"gatepost mail link 1\0"
_FORM: Final = b"gatepost mail form 1\0"
"""What a key signs: one kind of text can never pass for the other."""


class Verb(enum.StrEnum):
    """What a link is for."""

    RELEASE = "release"
    ALLOW = "allow"
    BLOCK = "block"
    OPEN = "open"
    """The page of all that is kept for the recipient."""


class MailLink(msgspec.Struct, frozen=True, array_like=True):
    """What a link means."""

    id: bytes
    """Random; also what its use is remembered by."""
    verb: Verb
    recipient: str
    """Lower case."""
    until: int
    """Unix time at which it ends."""
    item: str = ""
    """Of the spam quarantine; "" with `OPEN`."""


class LinkKey(msgspec.Struct, frozen=True):
    """A key, by the number that links name it by."""

    number: int
    key: bytes
    made: float


class BadLink(ValueError):  # noqa: N818 - named for what is wrong
    """It is none of ours, or was changed on its way."""


class EndedLink(BadLink):
    """It was good, and its time is over."""

    def __init__(self, link: MailLink) -> None:
        super().__init__("the link has ended")
        self.link = link


def new_link(verb: Verb, recipient: str, until: float, item: str = "") -> MailLink:
    """Return a link that nobody can guess."""
    return MailLink(secrets.token_bytes(_ID_BYTES), verb, recipient, int(until), item)


def seal_link(link: MailLink, key: LinkKey) -> str:
    """Return a link as it stands in an address: letters, digits, `-` and `_`."""
    body = msgspec.msgpack.encode((key.number, link))
    return base64.urlsafe_b64encode(body + _mac(key, _SEALED + body)).decode().rstrip("=")


def open_link(text: str, keys: Sequence[LinkKey], now: float) -> MailLink:
    """Return what a link means. BadLink; EndedLink when only its time is over."""
    if not text.isascii() or len(text) > TEXT_LIMIT:
        raise BadLink("no link")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadLink("no link") from None
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
        raise BadLink("no link in its one spelling")
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    # Every key is tried, whatever the number says: the body is read only after it has proved to be ours.
    key = next((key for key in keys if hmac.compare_digest(_mac(key, _SEALED + body), mac)), None)
    if key is None:
        raise BadLink("not sealed by a key of ours")
    try:
        number, link = msgspec.msgpack.decode(body, type=tuple[int, MailLink])
    except msgspec.MsgspecError:
        raise BadLink("not of this version") from None
    if number != key.number:
        raise BadLink("not the key it names")
    if now >= link.until:
        raise EndedLink(link)
    return link


def form_token(link: MailLink, key: LinkKey) -> str:
    """Return what the form on a link's page sends back: who has it has seen the page."""
    return _mac(key, _FORM + link.id).hex()


def form_fits(link: MailLink, given: str, keys: Sequence[LinkKey]) -> bool:
    """Tell whether `given` came from the form of this link's page, whichever key made it."""
    return any(hmac.compare_digest(form_token(link, key).encode(), given.encode("utf-8", "replace")) for key in keys)


def turn_keys(keys: Sequence[LinkKey], now: float, *, turn_s: float, kept_s: float) -> tuple[LinkKey, ...]:
    """Return the keys to work with, the newest first: a new one when the last is `turn_s` old, none of those of which
    no link can be left (`kept_s` after the next one came). A clock that was set back makes no key older.
    """
    newest = max(keys, key=lambda key: key.number, default=None)
    kept = sorted(keys, key=lambda key: -key.number)
    if newest is None or now - newest.made >= turn_s:
        kept.insert(0, LinkKey(newest.number + 1 if newest else 1, secrets.token_bytes(KEY_BYTES), now))
    left = [kept[0]]
    for newer, older in itertools.pairwise(kept):
        if now - newer.made < kept_s:
            left.append(older)
    return tuple(left)


def _mac(key: LinkKey, text: bytes) -> bytes:
    return hmac.digest(key.key, text, "sha256")[:_MAC_BYTES]
