"""What marks messages that the gateway has written or released, so that they are known when they come back by a door.

A filtering server sends its notifications and reports, and what is released, by the mail system that asks it about
mail: that one asks about them, too. `relay.notifying`, `relay.reports` and `relay.announcing` put a mark in front of
what they write, `relay.delivery` one for each recipient in front of what is released; `service.desk_judge` lets pass
what has one. Promises: nobody without the key can make a mark, or use one for another text (`mime.loop_mark`), or that
of a release for another recipient; where no door is configured there are none.
"""

import asyncio
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.mime.loop_mark import Marked, MessageDigest, build_mark, read_marks
from gatepost.model.address import NULL_SENDER
from gatepost.notices.original import HEADER_LIMIT, header_of
from gatepost.storage.key_file import load_key

FIELD: Final = "X-Gatepost-Own"
KEY_FILE: Final = "own-mail.key"
"""Below the state directory, the same for all relays."""
READ_BYTES: Final = 256 * 1024
RECIPIENTS_LIMIT: Final = 20
"""A release to more recipients at once is not marked: each has a mark, and each mark is tried for each."""
_MARKS: Final = re.compile(
    rb"^" + FIELD.encode() + rb":[ \t]*+([0-9a-f-]{1,200})[ \t]*+\r?$", re.IGNORECASE | re.MULTILINE
)


class OwnMark:
    """Maker and reader of marks in one relay."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` logs."""
        self._report = report
        self._key: bytes | None = None

    def configure(self, config: Config) -> None:
        """Take a (new) configuration into use. A key that cannot be had is told: own mail is then judged like any."""
        self._key = None
        if not config.doors:
            return
        try:
            self._key = load_key(Path(config.relay.state_path) / KEY_FILE, "own mail under way is then judged like any")
        except OSError as error:
            self._report("E", f"messages of the gateway's own are not marked: {error}")

    @property
    def active(self) -> bool:
        """Tell whether messages are marked."""
        return self._key is not None

    def build(self, text: bytes, now: float) -> bytes:
        """Return the field to put in front of a message without a sender, b"" where there are no marks. `now`: Unix
        time.
        """
        return _field(self._key, now, digest_of((text,))) if self._key is not None else b""

    def build_released(self, digest: str, recipients: Sequence[str], now: float) -> bytes:
        """Return the fields to put in front of a message that is released to these recipients (`digest_of`)."""
        if self._key is None or len(recipients) > RECIPIENTS_LIMIT:
            return b""
        return b"".join([_field(_key_for(self._key, each), now, digest) for each in recipients])

    async def holds(
        self, head: bytes, content: bytes | Path, sender: str, recipients: Sequence[str], now: float
    ) -> bool:
        """Tell whether a message bears a mark that fits: of the gateway's own, or of a release to each of the
        recipients. `head`: its header, or the beginning of it. OSError.
        """
        marks = [found.decode() for found in _MARKS.findall(header_of(head))[:RECIPIENTS_LIMIT]]
        if self._key is None or not marks:
            return False
        if isinstance(content, bytes):
            digest = digest_of((content,))
        else:
            digest = await asyncio.to_thread(lambda: digest_of(_pieces(content)))
        if sender == NULL_SENDER and read_marks(marks, self._key, now, digest) is Marked.YES:
            return True
        keys = [_key_for(self._key, each) for each in recipients[: RECIPIENTS_LIMIT + 1]]
        return 0 < len(keys) <= RECIPIENTS_LIMIT and all(
            read_marks(marks, key, now, digest) is Marked.YES for key in keys
        )


def digest_of(pieces: Iterable[bytes]) -> str:
    """Return the digest of a message that comes in pieces, such as a mark holds."""
    rest = iter(pieces)
    head = b""
    for piece in rest:
        head += piece
        if len(head) > HEADER_LIMIT + 4:  # as much as `header_of` looks at
            break
    header = header_of(head)
    digest = MessageDigest(header)
    digest.update(head[len(header) :])
    for piece in rest:
        digest.update(piece)
    return digest.hex()


def _key_for(key: bytes, recipient: str) -> bytes:
    """Return the key of marks for a recipient."""
    return hmac.digest(key, b"released to " + recipient.lower().encode("utf-8", "replace"), "sha256")


def _field(key: bytes, now: float, digest: str) -> bytes:
    return f"{FIELD}: {build_mark(key, now, digest)}\r\n".encode()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
