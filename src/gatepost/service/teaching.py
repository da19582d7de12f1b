"""What clients of doors teach: spam or not, where a door's `learning` is on.

Made by `relay.entrances`. A filter says what of a message can be learned; the master's learner learns it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from gatepost.control.channel import Taught

SOURCE: Final = "door"
"""Of these lessons, as the learner keeps it."""
NOTHING: Final = "there is nothing in it that could be learned, or anti-spam is not at work"


class Teaching:
    """What all doors of a relay teach."""

    def __init__(self, lesson_of: Callable[[bytes], Awaitable[bytes]], send: Callable[[Taught], bool]) -> None:
        """`lesson_of` has a filter read a message; `send` hands it to the master."""
        self._lesson_of = lesson_of
        self._send = send

    async def learn(self, door: str, content: bytes, spam: bool | None) -> str:
        """Have a message learned as spam, as wanted, or (None) forgotten. Return "", or why it is not."""
        try:
            lesson = await self._lesson_of(content)
        except (ValueError, OSError) as error:
            return str(error)
        if not lesson:
            return NOTHING
        taught = Taught(lesson, spam=bool(spam), who=door, source=SOURCE, forget=spam is None)
        return "" if self._send(taught) else "the master does not take it now"
