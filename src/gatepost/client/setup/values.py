"""Values of set-up: what is asked for, and the files that would change. Used by all of `client.setup`."""

from pathlib import Path

import msgspec


class SetupError(Exception):
    """It cannot be done, and nothing has been; the text says why and how to mend it."""


class FileState(msgspec.Struct, frozen=True):
    """A file as it is, or is to be."""

    content: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


class Change(msgspec.Struct, frozen=True):
    """One file, before and after; None: it is not there."""

    path: str
    before: FileState | None
    after: FileState | None
    ours: bool = False
    """Settings of a client program: once somebody has edited them they stay, whatever is undone."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the administrator asks for."""

    config: Path
    """Directory of the mail system's configuration."""
    mode: str = ""
    """How the mail system is to ask; "" its usual way."""
    servers: tuple[str, ...] = ()
    """Filtering servers for a new settings file."""
    door: str = ""
    """Address of a door that the mail system asks itself, without a client program; "" with one."""
    clamd: str = ""
    """Exim: address of a door of kind clamd; "" when only spam is asked about."""
    settings: Path = Path("/etc/gatepost-client/client.toml")
    units: Path | None = None
    """Where units of the service manager go; None: none is written."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What set-up would do."""

    system: str
    mode: str
    changes: tuple[Change, ...]
    """In this order; empty: everything is as wanted."""
    then: tuple[str, ...] = ()
    """What is left to do by hand, a command or a sentence each."""
    check: tuple[str, ...] = ()
    """Command that says whether the mail system can read its files; () when there is none."""
