"""What a filter pool and its template are told: one frozen value, made by the master from the configuration.

The master hands it to the template as one line of JSON on standard input and to `FilterPool` as it is, so that both
sides always speak of the same numbers.
"""

import msgspec

from gatepost.config.engines import EngineTable
from gatepost.feeds.pinned import PinnedSet, SpamBases

INLINE_LIMIT = 128 * 1024
"""Content up to this size travels inside the job; larger content goes by descriptor (fits a socket buffer)."""

NOBODY = 65534
"""User and group a template started as root gives its filters unless told otherwise."""


class FilterSettings(msgspec.Struct, frozen=True):
    """Sizes, times and walls of the filters. Times in seconds."""

    maximum: int = 8
    """Filters at most, counted by the template over all relays and by each pool for itself."""
    minimum: int = 1
    """Idle filters a pool keeps ready (F-ASD-01); fewer are made up, within `maximum`."""
    spare: int = 64
    """Idle filters a pool tolerates; the surplus is stopped ..."""
    surplus_s: float = 5.0
    """... when nothing has needed it for so long: of mail that comes in waves, each would cost a start."""
    waiting: int = 10_000
    """Jobs that may wait for a free filter in one pool."""
    wait_s: float = 60.0
    """How long a job may wait for a filter before the caller is told that none is to be had."""
    quota: int = 300
    """Messages after which a filter ends (F-ASD-02) ..."""
    quota_random: int = 30
    """... plus a random 0 ... quota_random - 1, so that they do not all end together."""
    idle_s: float = 300.0
    """Idle time after which a filter ends (F-ASD-03)."""
    delayed_exit_s: int = 0
    """Filters of an older template get no work, and end after a random 0 ... delayed_exit_s - 1 (F-ASD-04)."""
    grace_s: float = 2.0
    """What a filter gets beyond a message's own deadline before it is killed from outside."""
    start_s: float = 10.0
    """Time a new filter has to come up."""
    memory_bytes: int = 512 * 1024 * 1024
    """Address space of a filter (RLIMIT_AS), what it shares with the template included. What scanners only reserve
    comes on top."""
    uid: int = NOBODY
    """User of the filters; used only when the template runs as root. Must be one the relay may signal."""
    gid: int = NOBODY
    """Group of the filters; used only when the template runs as root."""
    engines: tuple[str, ...] = ("builtin",)
    """Names of the entry-point group `gatepost.engines`, or `module:attribute`."""
    remotes: tuple[EngineTable, ...] = ()
    """Engines elsewhere (`[[engine]]`)."""
    bases: tuple[PinnedSet, ...] = ()
    """Databases of the built-in engine, verified by the master; () = those the package carries."""
    antispam: bool = False
    """Some group checks for spam; else the template loads nothing of it."""
    spam_bases: SpamBases | None = None
    """Anti-spam databases, verified by the master; None = those the package carries."""
    recognise_text: str = "auto"
    """Whether words in pictures are read: `on` and `auto` where that can be done, `off`."""
    recognise_text_data: str = ""
    """Directory of the language data; "" = where the system has it."""
    previews: bool = False
    """Kept messages are shown to administrators: the template loads what makes them harmless."""
    bases_cache: str = ""
    """Directory of their compiled forms."""
    learned: str = ""
    """File of the learned weights of the classifier (`antispam.classifier.learned`), "" for none."""
    learned_inode: int = 0
    """Its inode, 0 while it cannot be used: a file made anew needs a new template."""
    generation: int = 0
    """Rises with every new template (database update): a pool retires filters of an older one when they are idle."""
