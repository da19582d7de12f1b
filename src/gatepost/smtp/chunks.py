"""Reading message content that comes in counted pieces, BDAT (RFC 3030).

Used by `server_data.ContentSession` only. Promises: the octets of a chunk are content and nothing else, whatever they
look like; binary content comes out as it is, other content by the rule for line ends.
"""

from gatepost.smtp.content import ContentReader, DataLimits, LineFeedPolicy
from gatepost.smtp.server_events import Cause


class ChunkReader(ContentReader):
    """State of one content on its way in, over all its chunks."""

    def __init__(self, policy: LineFeedPolicy, limits: DataLimits, *, binary: bool) -> None:
        super().__init__(policy, limits, binary=binary)
        self._carry = b""
        """The CR at the end of what came last: whether it is bare shows with the next octet, in whatever chunk."""

    def announce(self, octets: int) -> None:
        """Set `fault` when a chunk of so many octets cannot fit: neither rule for line ends makes content smaller."""
        if self.fault is None and self.size + octets > min(self._limits.size, self._limits.session_left):
            self.fault = Cause.MESSAGE_SIZE if self._limits.size <= self._limits.session_left else Cause.SESSION_SIZE

    def read(self, data: bytes, *, last: bool) -> bytes:
        """Take octets of a chunk, `last` with those that end the content; return the content to keep."""
        if self.fault is not None:
            self.swallowed += len(data)
            return b""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        if not last and data.endswith(b"\r"):
            self._carry = b"\r"
            data = data[:-1]
        return self._judged(data) if data else b""
