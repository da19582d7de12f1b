"""What is stored, the version each part has in each format, and the steps between the versions.

A *part* is one kind of file with a number of its own; a *format* is one set of these numbers: what a program reads and
writes. To change what a part stores: raise its number where it is opened, add the step here (there and back), add a
format, and a sample of it to the tests. Fields added at the end of an encoded array, with a default, are no change; a
new tag of a record is one, because an older program cannot read it. A released format is never changed.

What is not listed follows from other files and is made anew when its number is another one: indexes of stores, compiled
databases, greylisting. Items of stores say their form in their first line (`storage.container`).
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.schema import Config
from gatepost.spool.schema import DOWNGRADES, UPGRADES
from gatepost.spool.shard import list_shards, shard_directory


class Kind(enum.Enum):
    """How a part carries its number."""

    SQLITE = "sqlite"
    """`user_version`."""
    JSON = "json"
    """The field `version`, 1 when it is missing."""


class Step(msgspec.Struct, frozen=True):
    """From one version of a database to the next, and back, as SQL; the number itself is set by whoever does it."""

    up: str
    down: str


class Part(msgspec.Struct, frozen=True):
    """One kind of file."""

    name: str
    title: str
    version: int
    """Number that this program reads and writes."""
    find: Callable[[Config], Iterable[Path]]
    """Where its files are; those that do not exist do not matter."""
    kind: Kind = Kind.SQLITE
    steps: Mapping[int, Step] = {}
    """From the version that is the key to the next."""
    oldest: int = 1
    """Lowest number there has been; a database without any (0) was not finished and is begun anew by who opens it."""


def _state(config: Config, *names: str) -> Path:
    return Path(config.relay.state_path).joinpath(*names)


def _queue(config: Config) -> list[Path]:
    queue = config.path.queue_path
    return [Path(shard_directory(queue, number)) / "spool.db" for number in list_shards(queue)]


PARTS: Final = (
    Part(
        "queue",
        "queue",
        3,
        _queue,
        steps={number: Step(UPGRADES[number], DOWNGRADES[number]) for number in UPGRADES},
    ),
    Part("tracking", "tracking", 1, lambda config: sorted(_state(config, "tracking").glob("*.tracking"))),
    Part("history", "history of counts", 1, lambda config: [_state(config, "tracking", "history.db")]),
    Part("learned", "what was learned", 1, lambda config: [_state(config, "learned", "journal.db")]),
    Part(
        "digests",
        "links and digests of recipients",
        1,
        lambda config: [_state(config, "user-quarantine", "state.sqlite")],
        steps={0: Step("CREATE INDEX IF NOT EXISTS used_until ON used(until)", "DROP INDEX IF EXISTS used_until")},
        oldest=0,
    ),
    Part(
        "licence-usage",
        "use of the licence",
        1,
        lambda config: [_state(config, "tracking", "licence.db")],
        steps={0: Step("", "")},
        oldest=0,
    ),
    Part("accounts", "accounts", 1, lambda config: [_state(config, "accounts.json")], kind=Kind.JSON),
)

FIRST: Final = 1
"""The format of directories without a stamp."""
FORMATS: Final[Mapping[int, Mapping[str, int]]] = {
    1: {
        "queue": 3,
        "tracking": 1,
        "history": 1,
        "learned": 1,
        "digests": 0,
        "licence-usage": 0,
        "accounts": 1,
    },
    2: {
        "queue": 3,
        "tracking": 1,
        "history": 1,
        "learned": 1,
        "digests": 1,
        "licence-usage": 1,
        "accounts": 1,
    },
}
"""Format → part → version."""
CURRENT: Final = max(FORMATS)
