"""What a view of the relays' records is to the recorder. Called by `recorder.books`, on one thread; implemented by
`json_view`, `av_record` and the like.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gatepost.model.record import Record
from gatepost.recorder.settings import RecorderSettings


class Batch(msgspec.Struct, frozen=True):
    """Records of one commit of one spool, in their order."""

    source: str
    """The outbox they come from: its numbers begin anew only under another name."""
    shard: int
    """Number of the spool, for people."""
    first: int
    """Number of the first record; the others follow without a gap."""
    records: Sequence[Record]


class View(Protocol):
    """One consumer of records. Nothing it raises stops the others: it is told in the log."""

    def configure(self, settings: RecorderSettings) -> None:
        """Take (new) settings; called once before the first batch, and after every reload or log rotation (HUP): files
        are opened anew.
        """

    def consume(self, batch: Batch) -> None:
        """Take records. They were masked where the configuration wants that. After a kill of the recorder or of a relay
        those of about the last second may come again (same source, same numbers).
        """

    def flush(self) -> None:
        """Let what was taken go out. Called at most `books.COMMIT_S` (1 s) after a batch; blocks nobody's mail, but all
        other views: at most some ms.
        """

    def close(self) -> None:
        """Flush, and let go of files and sockets: the recorder ends."""
