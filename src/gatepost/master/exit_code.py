"""Return codes of the daemon, and the error that carries one (specification management.md §5.1)."""

import enum


class ExitCode(enum.IntEnum):
    """Documented return codes."""

    STARTED = 0
    """Started, or ended as it was told to."""
    OPTIONS = 1
    SYSTEM = 30
    """Critical system error."""
    PID_FILE_EXISTS = 41
    PID_FILE = 42
    """The pid file cannot be made."""
    DAEMONISE = 43
    IDENTITY = 44
    """User or group cannot be taken."""
    SIGNALS = 45
    """A signal handler cannot be set."""
    STREAMS_CLOSED = 46
    """Standard streams cannot be closed ..."""
    STREAMS_REDIRECTED = 47
    """... or not redirected."""
    ENGINE = 48
    """The anti-virus engine cannot be initialised."""
    TRACE = 49
    """What traces mail cannot be initialised: the directory of the tracking records."""
    BASES = 50
    BASES_DATE = 51
    """The databases are newer than the licence allows."""
    BIND = 55
    LICENCE = 64
    NOT_LOADABLE = 65
    """The configuration cannot be read ..."""
    CONFIGURATION = 66
    """... or has errors."""
    LOG = 67
    CORRUPTED = 70
    """The program's own files are damaged."""


class StartError(Exception):
    """The gateway cannot start; carries the return code."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code
