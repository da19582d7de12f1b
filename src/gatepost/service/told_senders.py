"""Which senders have a report on mail that another mail system asks about: each gets it once, though the answer was
lost and the same question comes again.

Used by `service.desk_judge` when rules have ordered a report, and never else. The memory is that of
`service.proxy_memory`, shared by all relays. Promises: a report is noted only when it is durable; what cannot be noted
or recalled means a second report, never a lost one.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gatepost.model.filtering import Request, Ruling
from gatepost.relay.disposal import Disposition
from gatepost.service.gathered import READ_BYTES
from gatepost.service.proxy_memory import DeliveredMemory, is_one_of_a_kind

TOLD: Final = "told"
"""Below the state directory."""


class ToldSenders:
    """What one gateway has told."""

    def __init__(self, directory: Path, report: Callable[[str, str], None]) -> None:
        self._memory = DeliveredMemory(directory, TOLD)
        self._report = report

    async def key(self, request: Request, ruling: Ruling, content: bytes | Path) -> str:
        """Return what tells this question with this answer from others; "" when the message does not say which one it
        is. OSError.
        """
        if isinstance(content, bytes):
            return self._key(request, ruling, iter((content,)))
        return await asyncio.to_thread(lambda: self._key(request, ruling, _pieces(content)))

    def _key(self, request: Request, ruling: Ruling, pieces: Iterator[bytes]) -> str:
        first = next(pieces, b"")
        if not is_one_of_a_kind(first):
            return ""
        told = sorted(f"{each} {part.deed.value}" for part in ruling.parts for each in part.recipients)

        def every() -> Iterator[bytes]:
            yield "\n".join(told).encode() + b"\0"
            yield first
            yield from pieces

        return self._memory.key(request.sender, every())

    def knows(self, key: str, sender: str, now: float) -> bool:
        """Tell whether the sender has this report. `now`: Unix time."""
        return self._memory.holds_any(now) and bool(self._memory.recall(key, (sender,), now))

    def note(self, key: str, sender: str, now: float) -> None:
        """Remember that the report is on its way."""
        try:
            self._memory.note(key, (sender,), now)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._report("W", f"a report cannot be remembered, its sender may get it twice: {where}{error.strerror}")


def drop_reports(disposition: Disposition, kind: str) -> None:
    """Take the reports of this kind, and the records of their making, out of a disposition."""
    dropped = {new.stored.id for new in disposition.generated if new.stored.kind == kind}
    for new in disposition.generated:
        if new.stored.id in dropped:
            new.content.discard()
    disposition.generated = [new for new in disposition.generated if new.stored.id not in dropped]
    disposition.records = [record for record in disposition.records if record.id not in dropped]


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
