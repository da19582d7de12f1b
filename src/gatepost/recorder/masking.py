"""Masking of what records tell of people, before anything is written (`[tracking] subjects`, `addresses`).

A masked value is a keyed digest: the same value gives the same digest, so that it can still be searched for by whoever
knows it, and nobody can try out values without the key, which lies beside the files.
"""

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.model.record import Record
from gatepost.storage.key_file import load_key

DIGEST_CHARACTERS: Final = 16
"""64 bits: two of a million addresses hardly ever meet."""
KEY_FILE: Final = "mask.key"

Mask = Callable[[str], str]


def load_mask_key(directory: Path) -> bytes:
    """Return the key of a directory's files; make it at the first time. OSError."""
    return load_key(directory / KEY_FILE, "what was masked with it is then found no more")


class Masking:
    """What a configuration wants hidden, and how."""

    def __init__(self, subjects: str, addresses: str, key: bytes) -> None:
        """`subjects`: `full`, `hash`, `none`; `addresses`: `full`, `hash-local`, `hash`."""
        self._key = key
        self.subject: Mask = {"full": _plain, "none": _nothing}.get(subjects, self._hash_subject)
        self.address: Mask = {"full": _plain, "hash-local": self._hash_local}.get(addresses, self._hash_address)
        self._subjects = subjects != "full"
        self._addresses = addresses != "full"

    @property
    def needed(self) -> bool:
        """Anything is hidden."""
        return self._subjects or self._addresses

    def mask(self, record: Record) -> Record:
        """Return a record with everything hidden that is to be."""
        changes: dict[str, object] = {}
        for name in record.__struct_fields__:
            if name in _ADDRESS_FIELDS and self._addresses:
                value = getattr(record, name)
                if isinstance(value, str):
                    changes[name] = self.address(value)
                elif isinstance(value, tuple):
                    changes[name] = tuple(self.address(each) for each in value)
            elif name == "subject" and self._subjects:
                changes[name] = self.subject(getattr(record, name))
            elif name in _QUOTING_FIELDS and self._addresses:
                changes[name] = type(getattr(record, name))()
            elif name == "detail" and self._addresses:
                changes[name] = getattr(record, name).partition(" to <")[0]
        return msgspec.structs.replace(record, **changes) if changes else record

    def _digest(self, text: str) -> str:
        made = hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
        return made[:DIGEST_CHARACTERS]

    def _hash_subject(self, text: str) -> str:
        return self._digest(" ".join(text.casefold().split())) if text else ""

    def _hash_local(self, address: str) -> str:
        local, at, domain = address.rpartition("@")
        return f"{self._digest(f'{local}@{domain}'.lower())}@{domain}" if at else self._hash_address(address)

    def _hash_address(self, address: str) -> str:
        return self._digest(address.lower()) if address else ""


_ADDRESS_FIELDS: Final = frozenset({"sender", "recipient", "recipients", "addresses", "to", "user"})
_QUOTING_FIELDS: Final = frozenset({"reply", "notes"})
"""Peers repeat the address they do not know, evidence quotes the header: these are left out."""


def _plain(text: str) -> str:
    return text


def _nothing(_: str) -> str:
    return ""
