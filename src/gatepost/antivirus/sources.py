"""Files of databases and what is known of the sets they belong to: plain values.

Apart from `compiling`, so that processes that only speak of databases need not load what compiles them.
"""

import msgspec


class Source(msgspec.Struct, frozen=True):
    """One file of a database."""

    path: str
    """Below the directory of its set, with slashes; what kind of file it is says its name."""
    data: bytes
    origin: str = ""
    """Name of its set."""


class BadSource(Exception):  # noqa: N818 - what the file is
    """A file of a database cannot be used. The text names it and the line, and says why."""


class SetFacts(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one set whose signatures are in use."""

    name: str
    number: int
    issued: str
    """Day, as 2026-01-31."""
    records: int
    digest: str
    """SHA-256 of its manifest."""
