"""Checks of the answers of `gatepost setup`: the schema's own rules where an answer is a parameter.

Used by `cli.setup_questions`. Pure but for looking whether a file can be read; ValueError says what is wrong.
"""

import enum
import re
from collections.abc import Callable
from pathlib import Path

from gatepost.config.doors import DoorKind, parse_door_address
from gatepost.config.items import is_host_and_port, parse_next_hop
from gatepost.config.schema import find_field
from gatepost.config.values import parse_item, parse_scalar
from gatepost.control.accounts import check_account_name, check_new_password
from gatepost.control.socket import ControlError
from gatepost.feeds.fetching import normalise_source

Texts = tuple[str, ...]
_PROXY = re.compile(r"https?://\S+\Z", re.IGNORECASE)
_PARTS = re.compile(r"[,\s]+")
_COMMAS = re.compile(r"\s*,\s*")
_DOOR_WORDS = 3
"""Kind, address, and where a proxy door hands mail to."""


def parse_text(raw: object) -> str:
    """Return text without blanks around it."""
    if not isinstance(raw, str):
        raise ValueError(f"{str(raw)[:40]!r} is not text")  # noqa: TRY004 - one family of complaints
    return raw.strip()


def parse_elements(raw: object, split: re.Pattern[str] = _PARTS) -> list[str]:
    """Return the elements of a list, or of a text in which they stand one after the other."""
    if isinstance(raw, str):
        return [each.strip() for each in split.split(raw) if each.strip()]
    if isinstance(raw, list | tuple) and all(isinstance(each, str) for each in raw):
        return [each.strip() for each in raw]
    raise ValueError("not a list of texts")


def value_of(section: str, name: str, *, needed: bool = False) -> Callable[[object], str]:
    """Return the check of a parameter that is no list. `needed`: it cannot be left empty."""
    field = find_field(section, name)
    assert field is not None, name

    def parse(raw: object) -> str:
        text = parse_text(raw)
        if needed and not text:
            raise ValueError("it cannot be left empty")
        return str(parse_scalar(field.parameter, text))

    return parse


def values_of(section: str, name: str, *, needed: bool = False) -> Callable[[object], Texts]:
    """Return the check of a list parameter. `needed`: it has an element at least."""
    field = find_field(section, name)
    assert field is not None, name

    def parse(raw: object) -> Texts:
        elements = parse_elements(raw)
        if needed and not elements:
            raise ValueError("at least one is needed")
        return tuple(dict.fromkeys(parse_item(field.parameter, each) for each in elements))

    return parse


def word_of(words: type[enum.StrEnum]) -> Callable[[object], enum.StrEnum]:
    """Return the check of a word out of some."""

    def parse(raw: object) -> enum.StrEnum:
        try:
            return words(parse_text(raw).lower())
        except ValueError:
            raise ValueError(f"{str(raw)[:40]!r}: say one of {', '.join(words)}") from None

    return parse


def parse_hostname(raw: object) -> str:
    """Return a full host name."""
    name = value_of("network", "hostname", needed=True)(raw)
    if "." not in name.strip("."):
        raise ValueError(f"{name!r} has no domain: other mail systems want a full name, such as mx.example.org")
    return name


def parse_forward(raw: object) -> str:
    """Return a next hop, "" for the MX of each recipient."""
    text = parse_text(raw)
    return str(parse_next_hop(text)) if text else ""


def _door(text: str) -> str:
    kind, address, *rest = text.split()[:_DOOR_WORDS] if len(text.split()) > 1 else (text, "")
    if kind.lower() not in set(DoorKind):
        raise ValueError(f"{kind[:40]!r} is no kind of door: {', '.join(DoorKind)}")
    parse_door_address(address)
    if (kind.lower() == DoorKind.PROXY) != bool(rest):
        raise ValueError("a proxy door, and no other, is written as: proxy ADDRESS NEXT-HOP")
    for each in rest:
        parse_door_address(each)
    return " ".join([kind.lower(), address, *rest])


def parse_doors(raw: object) -> Texts:
    """Return doors: kind and address, of a proxy door the next hop, too."""
    return tuple(dict.fromkeys(_door(each) for each in parse_elements(raw, _COMMAS)))


def parse_proxy(raw: object) -> str:
    """Return the URL of a proxy."""
    text = parse_text(raw)
    if text and not _PROXY.match(text):
        raise ValueError(f"{text[:60]!r} is not http://host:port or http://user:password@host:port")
    return text


def parse_source(raw: object) -> str:
    """Return where databases come from."""
    text = parse_text(raw)
    if text:
        normalise_source(text)
    return text


def parse_file(raw: object) -> str:
    """Return the absolute path of a file that can be read."""
    text = parse_text(raw)
    if not text:
        return ""
    path = Path(text)
    try:
        with path.open("rb"):
            return str(path.absolute())
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror}") from None


def parse_servers(raw: object) -> Texts:
    """Return host:port of each."""
    servers = tuple(parse_elements(raw))
    for each in servers:
        if not is_host_and_port(each):
            raise ValueError(f"{each[:60]!r} is not host:port")
    return servers


def parse_account(raw: object) -> str:
    """Return the name of an account."""
    try:
        return check_account_name(parse_text(raw)) if parse_text(raw) else ""
    except ControlError as error:
        raise ValueError(str(error)) from None


def parse_password(raw: object) -> str:
    """Return a password that may be set."""
    if not isinstance(raw, str):
        raise ValueError("it is not text")  # noqa: TRY004 - one family of complaints
    try:
        return check_new_password(raw, "") if raw else ""
    except ControlError as error:
        raise ValueError(str(error)) from None
