"""Engines besides the built-in one: `[[engine]]`, a scanner elsewhere or a command of the administrator's.

Struct fields are the parameters (see `gatepost.config.parameter`). The parsed form goes to the filters (what to ask),
the relays (whom to connect to) and the commands' helper (what to run).
"""

import enum
import re
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Guard, Item, Required, choice, count, duration, flag, listing, size, text
from gatepost.config.units import Unit
from gatepost.wire.icap import parse_url

Texts = tuple[str, ...]

UNIX_PATH_LIMIT = 107
"""Bytes of a socket's path in the kernel's structure."""
PORT_LIMIT = 65535
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\Z")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
RESERVED = "builtin"
"""Name of the engine that is always there."""
ENGINES_LIMIT = 16
"""Engines in one configuration: each costs every object a question and every filter a connection."""


class EngineKind(enum.StrEnum):
    """What an engine speaks."""

    CLAMD = "clamd"
    ICAP = "icap"
    COMMAND = "command"


class OnFailure(enum.StrEnum):
    """What becomes of mail that an engine cannot look at."""

    DEFER = "defer"
    """It waits in the queue until the engine can."""
    ERROR = "error"
    """Its objects have status `error`: policy decides."""


class EngineTable(msgspec.Struct, frozen=True, kw_only=True):
    """A scanner besides the built-in one: clamd, an ICAP service, or a command."""

    name: Annotated[
        str, text("", "name in records, status and log: a-z, 0-9, _, -", required=Required.ALWAYS, generations=OWN)
    ] = ""
    kind: Annotated[
        EngineKind, choice("", tuple(EngineKind), "what it speaks", required=Required.ALWAYS, generations=OWN)
    ] = EngineKind.CLAMD
    address: Annotated[
        str,
        text("", "where it listens: /path, host:port, or icap://host:port/service", generations=OWN, guard=Guard.STATE),
    ] = ""
    command: Annotated[
        Texts,
        listing(
            "",
            Item.TEXT,
            "of kind command: program (absolute path) and arguments; the object is its standard input",
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = ()
    readable: Annotated[
        Texts,
        listing(
            "",
            Item.TEXT,
            "of kind command: files and directories it may read besides programs and libraries",
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = ()
    timeout: Annotated[float, duration("", 1, 600, "time for one object", generations=OWN)] = 20.0
    connections: Annotated[
        int, count("", 1, 1000, "sessions open at once, over all relays; one for each relay at least", generations=OWN)
    ] = 16
    max_size: Annotated[
        int,
        size(
            "", 1, 4096, "largest object it is given; larger ones count as not scanned", unit=Unit.MB, generations=OWN
        ),
    ] = 100 * 1024**2
    members: Annotated[
        bool,
        flag(
            "",
            "give it also what was found inside containers, not only the parts of the mail and what needed a password",
            generations=OWN,
        ),
    ] = False
    texts: Annotated[
        bool,
        flag(
            "",
            "give it also header blocks, and texts and pages without a file name; off: files alone",
            generations=OWN,
        ),
    ] = True
    remember: Annotated[
        float,
        duration(
            "",
            0,
            86400,
            "longest that an object it found clean counts as known clean (its own signatures may change unseen); "
            "0 = not at all; what commands find clean is never remembered",
            generations=OWN,
        ),
    ] = 3600.0
    on_failure: Annotated[
        OnFailure,
        choice("", tuple(OnFailure), "what becomes of mail it cannot look at", generations=OWN),
    ] = OnFailure.DEFER


def check_engine(engine: EngineTable) -> tuple[str, str, str] | None:
    """Return (parameter, what is wrong, how to mend it) of an engine that cannot work as it is written, else None."""
    if not _NAME.match(engine.name):
        return "name", f"{engine.name[:40]!r} is not a name", "Use up to 32 of a-z, 0-9, _ and -"
    if engine.name == RESERVED:
        return "name", f"{RESERVED!r} is the engine that is always there", "Choose another name"
    if engine.kind is EngineKind.COMMAND:
        if not engine.command or not engine.command[0].startswith("/"):
            return "command", "no program to run", 'Set command = ["/path/of/program", "argument"]'
        if engine.address:
            return "address", "a command has none", "Remove it"
        wrong = next((path for path in engine.readable if not path.startswith("/")), None)
        return ("readable", f"{wrong!r} is not an absolute path", "Write it from / on") if wrong else None
    if engine.command or engine.readable:
        return "command", "only engines of kind command run one", 'Remove it, or set kind = "command"'
    if not engine.address:
        return "address", "nobody to ask", "Set the address it listens at"
    try:
        if engine.kind is EngineKind.ICAP:
            parse_url(engine.address)
        elif not engine.address.startswith("/"):
            parse_host_port(engine.address)
        elif len(engine.address.encode()) > UNIX_PATH_LIMIT:
            return "address", "the path is too long for a socket", f"At most {UNIX_PATH_LIMIT} bytes"
    except ValueError as error:
        return "address", str(error), "Write /path/of/socket, host:port, or icap://host:port/service"
    return None


def parse_host_port(address: str) -> tuple[str, int]:
    """Return (address or name, port) of `host:port`; IPv6 in brackets. ValueError."""
    match = _HOST_PORT.match(address)
    if match is None or not 1 <= int(match[2]) <= PORT_LIMIT:
        raise ValueError(f"{address[:80]!r} is not host:port")
    return match[1].strip("[]"), int(match[2])
