"""Files of the documented filtering servers as they are written: `keyword value` lines, `#` comments, no sections.

Read by `config.old_server` and `config.old_client`, which carry over what they say. Three kinds are told apart by the
keywords in them (specification configuration.md §5.1, §5.2, §6.1); some sites wrote `keyword=value`, which is read too.
"""

import enum
import re

import msgspec

from gatepost.config.parameter import fold
from gatepost.config.problem import Origin
from gatepost.model.foreign_text import printable

LINES_LIMIT = 10_000
"""Lines of such a file: the documented ones have fewer than sixty parameters."""

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:\s*=\s*|\s+|\Z)(.*)\Z")
_ADDRESS = re.compile(r"(tcp|unix|local):(.+)\Z", re.IGNORECASE)


class OldForm(enum.StrEnum):
    """Whose file it is."""

    MASTER_20 = "filtering server 2.0"
    CLIENT_20 = "client module 2.0"
    SERVER_30 = "filtering server 3.0"


_MARKS: dict[OldForm, tuple[str, ...]] = {
    OldForm.SERVER_30: (
        "ServerListen",
        "ServerStartFilters",
        "ServerMaxFilters",
        "ServerSpareFilters",
        "FilterMaxMessages",
        "FilterRandMessages",
        "FilterMaxIdle",
        "FilterDataTimeout",
        "FilterReceivedHeadersLimit",
        "ClientConnectTo",
        "ClientOnError",
        "LicenseListen",
        "SPFDListen",
        "SendMailAddress",
        "PipeOutgoingAddr",
        "PipeListen",
        "QMailOriginalQueue",
    ),
    OldForm.CLIENT_20: (
        "SpamtestAddr",
        "FilterAddr",
        "ClientAddr",
        "RWTimeout",
        "OriginalQueue",
        "LoopHeader",
        "InProtocolLMTP",
    ),
    OldForm.MASTER_20: ("FilterParam", "StartFilters", "MaxFilters", "MinSpareFilters", "SysLogFacility", "Listen"),
}
"""Keywords that only one kind of file has. The first kind that has one of them is the file's."""


class OldEntry(msgspec.Struct, frozen=True):
    """One line."""

    keyword: str
    """As written."""
    value: str
    origin: Origin

    @property
    def name(self) -> str:
        """The keyword as it is compared: case and underscores do not count."""
        return fold(self.keyword)


class OldFile(msgspec.Struct, frozen=True):
    """A file as it is written."""

    form: OldForm
    file: str
    entries: tuple[OldEntry, ...]
    """In file order; of a keyword that is repeated the last, as the old programs had it."""
    odd: tuple[Origin, ...]
    """Lines that are none of `keyword value`."""


def read_old_file(text: str, file: str) -> OldFile | None:
    """Return a file of the documented filtering servers, None when the text is something else."""
    entries: dict[str, OldEntry] = {}
    odd: list[Origin] = []
    lines = text.split("\n")  # not at other line ends of Unicode: they may stand in a value
    if len(lines) > LINES_LIMIT:
        return None
    for number, raw_line in enumerate(lines, start=1):
        line = raw_line.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            return None  # a file with sections is one of the gateways'
        origin = Origin(file, number)
        found = _LINE.match(line)
        if found is None:
            odd.append(origin)
            continue
        entry = OldEntry(found[1], _bare(found[2]), origin)
        entries.pop(entry.name, None)
        entries[entry.name] = entry
    form = next((form for form, marks in _MARKS.items() if any(fold(mark) in entries for mark in marks)), None)
    return None if form is None else OldFile(form, file, tuple(entries.values()), tuple(odd))


def _bare(value: str) -> str:
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def comment_text(text: str) -> str:
    """Return what a file says as the text of a comment in TOML: one line, nothing in it that may not stand there."""
    return printable(" ".join(text.split()))


def parse_old_address(text: str) -> str:
    """Return `tcp:host:port`, `unix:/path` or `local:/path` as an address of ours. ValueError."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:80]!r} is neither tcp:host:port nor unix:/path")
    scheme = found[1].lower()
    if scheme == "tcp":
        host, colon, port = found[2].rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit()):
            raise ValueError(f"{text[:80]!r} is not tcp:host:port")
        host = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(host.lower(), host)  # noqa: S104 - as it is written
        return f"tcp:{host}:{port}"
    if not found[2].startswith("/"):
        raise ValueError(f"{text[:80]!r}: a socket's path begins with /")
    return f"unix:{found[2]}"


def parse_old_switch(text: str) -> bool:
    """Return whether a switch is on. ValueError."""
    word = text.strip().lower()
    if word in {"yes", "y", "true", "on", "1"}:
        return True
    if word in {"no", "n", "false", "off", "0"}:
        return False
    raise ValueError(f"{text[:40]!r} is neither yes nor no")


def parse_old_number(text: str, scale: int = 1) -> int:
    """Return a whole number times `scale`. ValueError."""
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 12):
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(word) * scale
