"""The databases in force, as the master chooses them: `open_bases`.

Called by `master.process` at the start and for each reload; the filters' template is told the result.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.feeds.bases import BasesError, Choice, Trouble, choose_sets, seed
from gatepost.feeds.keys import resolve_keys
from gatepost.feeds.pinned import PinnedSet
from gatepost.licence.term import read_expiry
from gatepost.notices.scan_field import Bases


class Opened(msgspec.Struct, frozen=True):
    """Databases that may be used, and what is to be told of them."""

    choice: Choice
    seeded: str = ""
    """What was put into the directory, "" for nothing."""

    @property
    def summary(self) -> str:
        """Return the sets in a line for the log."""
        return ", ".join(
            f"{each.facts.name} {each.facts.number} of {each.facts.issued} ({each.facts.records} records)"
            for each in self.choice.sets
        )


def open_bases(config: Config) -> Opened:
    """Verify and choose the databases of a configuration, having put the packaged ones there if there were none.

    BasesError; BadKey: a key of the configuration is none; LicenceError.
    """
    bases = Path(config.path.bases_path)
    trusted = resolve_keys(config.ave.trusted_keys)
    expiry = read_expiry(Path(config.path.license_path))
    try:
        seeded = seed(bases)
    except OSError as error:
        raise BasesError(Trouble.UNUSABLE, f"{bases} cannot be made: {error}") from error
    return Opened(choose_sets(bases, trusted, expiry), seeded)


def describe_bases(sets: Sequence[PinnedSet]) -> Bases:
    """Return what texts say of these databases: the day of the newest, and how many records they have in all."""
    return Bases(max((each.facts.issued for each in sets), default=""), sum(each.facts.records for each in sets))
