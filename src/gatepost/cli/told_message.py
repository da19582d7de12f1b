"""A message to be explained or learned: a file, or one that lies in a store; and how it came, as far as can be told.

Used by `cli.explaining` and `cli.spam_learn`. What a store knows of an envelope is certain. A file tells by its own
fields: in one that the gateway delivered stand our Received field and the envelope's sender; in any other one there are
only the addresses its author wrote.
"""

import re
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Final

import msgspec

from gatepost.cli.gateway import EXIT_UNREADABLE
from gatepost.cli.store_choice import Failed, SeveralItems, Stores
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.notices.original import header_of
from gatepost.storage.container import Damaged
from gatepost.storage.item import StoreKind

STRANGER: Final = "192.0.2.1"
"""Client of a message when nothing tells of one: an address of nobody (RFC 5737)."""
RECIPIENTS_LIMIT: Final = 100
"""Recipients taken from a header: more say nothing new, for groups are few."""

_FIELD = re.compile(r"^([!-9;-~]+):((?:[^\n]*\n)(?:[ \t][^\n]*\n)*)", re.MULTILINE)
_RECEIVED = re.compile(r"\s*from (\S+) \(\S+ \[(?:IPv6:)?([0-9A-Fa-f.:]+)\]\)\s+by (\S+) ")
_IN_A_STORE: Final = (
    StoreKind.SPAM_QUARANTINE,
    StoreKind.QUARANTINE,
    StoreKind.BACKUP,
    StoreKind.INCOMING,
    StoreKind.OUTGOING,
)
"""Where an id is looked for, the likeliest first."""


class ToldMessage(msgspec.Struct, frozen=True):
    """A message and what is known of its way."""

    content: bytes
    """With CRLF."""
    envelope: Envelope


def read_message(text: str, config: Config, conf_file: Path) -> ToldMessage:
    """Return the message in the file `text`, else the stored one with the item's or queue id `text`. `Failed`."""
    file = Path(text)
    if not file.exists():
        stored = find_stored(text, conf_file)
        if stored is not None:
            return stored
    try:
        content = file.read_bytes()
    except OSError as error:
        hint = "" if file.exists() else ", and the id of no stored message either"
        raise Failed(f"{text}: {error.strerror}{hint}", EXIT_UNREADABLE) from error
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return ToldMessage(content, _envelope_of(content, config))


def find_stored(text: str, conf_file: Path) -> ToldMessage | None:
    """Return the stored message with the item's or queue id `text`, None when there is none. `Failed`: several."""
    for kind in _IN_A_STORE:
        try:
            store, item_id = Stores((kind,), conf_file, None).find(text)
            return ToldMessage(b"".join(store.content(item_id)), store.container(item_id).item.envelope)
        except SeveralItems as error:
            raise Failed(str(error), EXIT_UNREADABLE) from error
        except ValueError:
            return None
        except (OSError, Damaged):
            continue
    return None


def _envelope_of(content: bytes, config: Config) -> Envelope:
    fields = [
        (found.group(1).lower(), found.group(2))
        for found in _FIELD.finditer(header_of(content).decode("utf-8", "replace").replace("\r\n", "\n"))
    ]
    recipients = _recipients_of(fields, config) or (config.network.postmaster,)
    return Envelope(
        _sender_of(fields, f"{config.antispam.header_prefix}-envelope-from".lower()),
        tuple(Recipient(address) for address in recipients),
        _client_of(fields, config.network.hostname),
    )


def _sender_of(fields: list[tuple[str, str]], ours: str) -> str:
    """Return the sender by our own field, by the one of the last delivery (RFC 5321 §4.4), or the author."""
    for wanted in (ours, "return-path", "from"):
        for name, value in fields:
            if name == wanted:
                return parseaddr(value)[1]
    return ""


def _recipients_of(fields: list[tuple[str, str]], config: Config) -> tuple[str, ...]:
    """Return those of our own people whom the header names; of others when it names nobody of ours."""
    named = [address for _, address in getaddresses([value for name, value in fields if name in {"to", "cc"}])]
    valid = [address for address in named if "@" in address][:RECIPIENTS_LIMIT]
    protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
    return tuple(dict.fromkeys([each for each in valid if protected.matches(each)] or valid))


def _client_of(fields: list[tuple[str, str]], hostname: str) -> Client:
    for name, value in fields:
        found = _RECEIVED.match(value) if name == "received" else None
        if found is not None and found.group(3).lower() == hostname.lower():
            return Client(found.group(2), helo=found.group(1))
    return Client(STRANGER)
