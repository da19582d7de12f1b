"""The databases in force, as the master chooses them: `open_bases`.

Called by `master.process` at the start and for each reload; the filters' template is told the result.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.config.profiles_samples import choose_samples
from gatepost.config.schema import Config
from gatepost.doctor.databases import NO_SPAM
from gatepost.feeds.bases import BasesError, Choice, Trouble, choose_sets, list_sets, seed
from gatepost.feeds.keys import Keys, resolve_keys
from gatepost.feeds.manifest import Kind
from gatepost.feeds.own import pin_own
from gatepost.feeds.pinned import PinnedSet, SpamBases
from gatepost.licence.current import read_expiry
from gatepost.master.paths import Paths
from gatepost.notices.scan_field import Bases

NO_SPAM_BASES = f"no anti-spam databases: {NO_SPAM}"


class Databases(msgspec.Struct, frozen=True):
    """The databases that filters work with."""

    antivirus: tuple[PinnedSet, ...] = ()
    spam: SpamBases = SpamBases()


class Opened(msgspec.Struct, frozen=True):
    """Databases that may be used, and what is to be told of them."""

    databases: Databases
    antivirus_troubles: tuple[str, ...] = ()
    """What was wrong with sets that are not used ..."""
    spam_troubles: tuple[str, ...] = ()
    """... of either kind."""
    seeded: tuple[str, ...] = ()
    """What was put into the directories."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What was wrong, in all."""
        return (*self.antivirus_troubles, *self.spam_troubles)

    @property
    def summary(self) -> str:
        """Return the sets in a line for the log."""
        sets = (*self.databases.antivirus, *self.databases.spam.sets)
        named = [
            f"{each.facts.name} {each.facts.number} of {each.facts.issued} ({each.facts.records} records)"
            for each in sets
        ]
        spam = self.databases.spam
        if spam.own:
            named.append(f"{len(spam.own)} file(s) of your own")
        if spam.samples:
            named.append(f"{len(spam.samples)} sample(s) of the rules")
        return ", ".join(named)


def open_bases(config: Config) -> Opened:
    """Verify and choose the databases of a configuration, having put the packaged ones there if there were none.

    Without databases for anti-virus nothing goes on; without those for anti-spam no content is looked at, which is
    no trouble when the administrator wanted their directory to be empty.
    BasesError; BadKey: a key of the configuration is none; LicenceError.
    """
    bases = Path(config.path.bases_path)
    trusted = resolve_keys(config.ave.trusted_keys)
    expiry = read_expiry(config)
    seeded = _seed(bases, Kind.ANTIVIRUS)
    choice = choose_sets(bases, trusted, expiry)
    spam_seeded, spam_choice = _open_spam(Path(config.path.as_bases_path), trusted, expiry)
    own = Paths(config.relay.state_path).own_spam
    try:
        pinned = pin_own(own) if spam_choice.sets else ()
    except OSError as error:
        raise BasesError(Trouble.UNUSABLE, f"{own} cannot be read: {error}") from error
    samples = choose_samples(config.rule_set.samples) if spam_choice.sets else ()
    spam = SpamBases(spam_choice.sets, pinned, samples)
    return Opened(
        Databases(choice.sets, spam),
        choice.troubles,
        spam_choice.troubles,
        tuple(filter(None, (seeded, spam_seeded))),
    )


def _seed(bases: Path, kind: Kind) -> str:
    try:
        return seed(bases, kind)
    except OSError as error:
        raise BasesError(Trouble.UNUSABLE, f"{bases} cannot be made: {error}") from error


def _open_spam(bases: Path, trusted: Keys, expiry: dt.date | None) -> tuple[str, Choice]:
    """Return what was put into the directory of anti-spam sets, and the choice: none at all of an empty one."""
    try:
        seeded = _seed(bases, Kind.ANTISPAM)
        return seeded, choose_sets(bases, trusted, expiry, Kind.ANTISPAM) if list_sets(bases) else Choice(())
    except BasesError as error:
        return "", Choice((), tuple(str(error).splitlines()))


def describe_bases(sets: Sequence[PinnedSet]) -> Bases:
    """Return what texts say of these databases: the day of the newest, and how many records they have in all."""
    return Bases(max((each.facts.issued for each in sets), default=""), sum(each.facts.records for each in sets))
