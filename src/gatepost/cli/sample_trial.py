"""Whether a set of databases finds the samples it carries, and nothing in those it must not: `try_samples`.

Used by `gatepost feed build` for a set that was just made, by `gatepost update` for one to be installed. The set
answers for itself: beside it only the shipped one for anti-spam is loaded, which it adds to; what else an administrator
has installed, exceptions of his own among it, is no matter of its author's.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import msgspec

from gatepost.antispam.knowledge import BASE_SET
from gatepost.antispam.rating import rate
from gatepost.cli.trial import TrialError, running_template
from gatepost.config.schema import Config
from gatepost.feeds.manifest import DatabaseSet, Kind, read_set
from gatepost.feeds.pinned import PinnedSet, SpamBases
from gatepost.feeds.trial_samples import TrialSample, read_samples
from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.filter.settings import FilterSettings
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions
from gatepost.model.spam import SpamOptions
from gatepost.relay.filters import filter_settings

SPAM_RATE: Final = 50.0
"""Percent from which a mail is taken for spam, whatever a group's level says."""
_FOUND: Final = frozenset({ObjectStatus.INFECTED, ObjectStatus.DISINFECTED, ObjectStatus.SUSPICIOUS})
TOLD_LIMIT: Final = 10
"""Samples named of those that went wrong."""


class Unfit(Exception):  # noqa: N818 - what the databases are
    """The databases must not be installed. The text says why."""


def try_samples(config: Config, database: DatabaseSet) -> int:
    """Try a set that was read and checked with its own samples; return how many it has. Unfit, BadSet."""
    samples = read_samples(database)
    if not samples:
        return 0
    kind = database.manifest.kind
    with tempfile.TemporaryDirectory(prefix="gatepost-samples-") as name:
        settings = _settings(config, database, name)
        mails = [sample.as_mail(kind) for sample in samples]
        options = ScanOptions(spam=SpamOptions(), scan=False) if kind is Kind.ANTISPAM else ScanOptions()
        try:
            found = inspect_all(settings, Path(name) / "filters.sock", mails, options)
        except (TrialError, FilterFailed, FilterUnavailable) as error:
            raise Unfit(f"the databases cannot be loaded: {error}") from error
    wrong = [trouble for sample, each in zip(samples, found, strict=True) if (trouble := _trouble(sample, each))]
    if wrong:
        more = f"\n… and {len(wrong) - TOLD_LIMIT} more" if len(wrong) > TOLD_LIMIT else ""
        raise Unfit("\n".join(wrong[:TOLD_LIMIT]) + more)
    return len(samples)


def inspect_all(settings: FilterSettings, socket: Path, mails: Sequence[bytes], options: ScanOptions) -> list[Analysis]:
    """Return what one filter of a template of its own says of each mail. TrialError, or what the pool raises."""

    async def inspect() -> list[Analysis]:
        pool = FilterPool(settings, socket, asyncio.get_running_loop())
        pool.start()
        try:
            return [await pool.inspect("databases-trial", mail, len(mail), options) for mail in mails]
        finally:
            await pool.close()

    with running_template(settings, socket):
        return asyncio.run(inspect())


def _settings(config: Config, database: DatabaseSet, cache: str) -> FilterSettings:
    alone, antispam = PinnedSet(str(database.directory), database.facts), database.manifest.kind is Kind.ANTISPAM
    shipped = () if database.manifest.name == BASE_SET else (_shipped(Kind.ANTISPAM),)
    return msgspec.structs.replace(
        filter_settings(config, 1),
        minimum=1,
        spare=1,
        remotes=(),
        antispam=antispam,
        bases=(_shipped(Kind.ANTIVIRUS) if antispam else alone,),
        spam_bases=SpamBases((*shipped, alone)) if antispam else SpamBases(),
        bases_cache=cache,
    )


def _shipped(kind: Kind) -> PinnedSet:
    with as_file(files(f"gatepost.{kind}") / "rules") as place:
        return PinnedSet(str(place), read_set(place, None).facts)


def _trouble(sample: TrialSample, analysis: Analysis) -> str:
    """Return what is wrong with what was found in a sample, "" when nothing is."""
    if analysis.spam is not None:
        rating = rate(analysis.spam.signs)
        if sample.found == (rating >= SPAM_RATE):
            return ""
        what = "not enough for spam" if sample.found else "spam"
        return f"the set's sample {sample.name} is rated {rating:.0f} %, which is {what}"
    told = next((each for each in analysis.objects if each.status is not ObjectStatus.CLEAN), None)
    if sample.found:
        caught = any(each.status in _FOUND for each in analysis.objects)
        return "" if caught else f"the set does not find its own sample {sample.name}"
    return "" if told is None else f"the set finds {told.threat or told.status} in its clean sample {sample.name}"
