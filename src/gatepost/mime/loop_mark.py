"""The mark of a message that comes by again on its way from us: nobody else can make it, or use it for another.

Used by `client.cgpro` for what it has filtered and handed in again (row F-CLI-07), and by `relay.own_mark` for messages
of the gateway's own. A mark is a moment, a digest of the message, and an HMAC over both. Of a header,
which changes on the way (the server adds a Received field, takes out others), only that counts which says how the body
is read and whom it seems to be from, and what is no field, where some readers see the body begin: else who gets marked
mail could send its body on as something else, or a body of his own above it. Pure.
"""

import enum
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

LIFE_S: Final = 5 * 86_400
"""For so long a mark holds: longer than a server that is down leaves a file lying."""
LOOPS_LIMIT: Final = 3
"""So many marks of ours that do not fit say that somebody changes the body on the way, and filtering never ends."""
SECRET_BYTES: Final = 16
"""The least a secret has."""

_COUNTS: Final = re.compile(
    rb"^(content-[!-9;-~]*+|mime-version|subject|from)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)",
    re.IGNORECASE | re.MULTILINE,
)
"""Fields that a mark covers, with the lines that continue them."""
_STRANGE: Final = re.compile(
    rb"^(?:(?![!-9;-~]++[ \t]*+:|[ \t]++[^ \t\r\n])(?!\r?$)[^\n]++|[^\r\n]*+\r(?!\n)[^\n]*+)", re.MULTILINE
)
"""Lines of a header that are no field nor continue one, blank ones in the midst of it, and such with a bare CR."""
_MARK: Final = re.compile(r"1-([0-9a-f]{1,12})-([0-9a-f]{32})-([0-9a-f]{64})\Z")


class Marked(enum.Enum):
    """What the marks of a message say."""

    NO = "no"
    YES = "yes"
    LOOPS = "loops"


class MessageDigest:
    """Digest of a message, whatever its line ends, and however many of them are at its end."""

    def __init__(self, header: bytes = b"") -> None:
        """`header`: all of it; the body comes by `update`."""
        fields = [b"%b:%b" % (name.lower(), b" ".join(value.split())) for name, value in _COUNTS.findall(header)]
        fields += [line.rstrip(b"\r") for line in _STRANGE.findall(header)]
        self._hash = hashlib.sha256(hashlib.sha256(b"\n".join(fields)).digest())
        self._cr = b""
        self._line_ends = 0

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        data = self._cr + piece
        self._cr = b"\r" if data.endswith(b"\r") else b""
        data = data[: len(data) - len(self._cr)].replace(b"\r\n", b"\n")
        solid = data.rstrip(b"\n")
        if solid:
            self._hash.update(b"\n" * self._line_ends)
            self._hash.update(solid)
            self._line_ends = 0
        self._line_ends += len(data) - len(solid)

    def hex(self) -> str:
        """Return it, 32 characters."""
        return self._hash.hexdigest()[:32]


def build_mark(secret: bytes, now: float, digest: str) -> str:
    """Return the value of the field."""
    moment = f"{int(now):x}"
    return f"1-{moment}-{digest}-{_seal(secret, moment, digest)}"


def read_marks(values: Iterable[str], secret: bytes, now: float, digest: str) -> Marked:
    """Return what the marks in a message's fields say of it. Those that are not ours say nothing."""
    strange = 0
    for value in values:
        match = _MARK.match(value.strip())
        if match is None or not hmac.compare_digest(match[3], _seal(secret, match[1], match[2])):
            continue
        if abs(now - int(match[1], 16)) > LIFE_S:
            continue
        if hmac.compare_digest(match[2], digest):
            return Marked.YES
        strange += 1
    return Marked.LOOPS if strange >= LOOPS_LIMIT else Marked.NO


def _seal(secret: bytes, moment: str, digest: str) -> str:
    return hmac.new(secret, f"gatepost loop mark 1 {moment} {digest}".encode(), hashlib.sha256).hexdigest()
