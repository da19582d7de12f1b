"""Passwords to try on what is protected in a message, worked out when somebody first asks for one.

Made by `antivirus.stage` for each message, used by the openers as `Opening.passwords`. Most messages hold nothing that
is protected, and their texts are never read for this.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

from gatepost.antivirus.passwords import find_passwords
from gatepost.mime.decode import decode_body
from gatepost.mime.part import Message
from gatepost.mime.words import decode_header, decode_text

LEAVES_LOOKED_AT = 200
"""Parts of a message whose texts and names may say a password."""


class Keyring(Sequence[str]):
    """The passwords that the mail itself names, the likeliest first, then those configured."""

    def __init__(self, message: Message, configured: Sequence[str]) -> None:
        self._message = message
        self._configured = configured

    @cached_property
    def _passwords(self) -> tuple[str, ...]:
        message = self._message
        texts = [
            decode_header(message.content[field.value : field.value_end])
            for field in message.root.fields
            if field.name == b"subject"
        ]
        names: list[str] = []
        for owner, part in islice(message.leaves(), LEAVES_LOOKED_AT):
            names += part.names
            if part.content_type.startswith("text/") and not part.name:
                texts.append(decode_text(decode_body(owner.content, part).data, part.charset))
        return tuple(dict.fromkeys((*find_passwords(texts, names), *self._configured)))

    def __len__(self) -> int:
        return len(self._passwords)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._passwords[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._passwords)
