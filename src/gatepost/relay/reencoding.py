"""Re-encoding: 8-bit or binary content for a server that takes 7 bits only (`options.reencode_eight_bit`).

Used by `relay.delivery` when a server has turned out to be one. A filter reads the content and says what to replace;
the relay only puts it in. Nothing is stored: it is done again, which is rare, after a deferral.
"""

from typing import Final

from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.mime.edit import apply_splices
from gatepost.model.finding import ScanOptions
from gatepost.model.ids import format_queue_id
from gatepost.model.verdict import Splice
from gatepost.relay.work import SevenBitForm, Work
from gatepost.spool.interface import Spool, SpoolError

SIZE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of content: it is held in memory, and its 7-bit form up to three times that. Larger mail fails."""


class Unavailable(Exception):  # noqa: N818 - a state, not a failure of the message
    """It cannot be told now: the mail waits."""


async def make_seven_bit(work: Work, spool: Spool, pool: FilterPool, deadline_s: float) -> SevenBitForm | str:
    """Return the 7-bit form of a message in work, or why there is none. `Unavailable`: try again later."""
    stored = work.stored
    if stored.content.size > SIZE_LIMIT:
        return "too large"
    if not stored.prefix.isascii():
        return "fields of ours beyond ASCII"
    try:
        content = work.content if work.content is not None else await spool.content(stored.content)
        if stored.splices:
            content = b"".join(apply_splices(content, stored.splices))
        options = ScanOptions(deadline_s=deadline_s, seven_bit=True)
        analysis = await pool.inspect(format_queue_id(stored.id), content, len(content), options)
    except FilterFailed as error:
        return str(error) or "the content cannot be read"
    except (FilterUnavailable, SpoolError, OSError) as error:
        raise Unavailable(str(error)) from error
    if analysis.obstacle:
        return analysis.obstacle
    return SevenBitForm(content, tuple(Splice(start, end, data) for start, end, data in analysis.rewrite))
