"""Anti-spam databases for the filters' template: `load_knowledge`."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gatepost.antispam.knowledge import Knowledge, merge_sets
from gatepost.antispam.samples.base import sketch
from gatepost.antispam.samples.source import SUFFIX, build_sample, parse_sample
from gatepost.config.profiles_samples import ReadySample
from gatepost.feeds.artefacts import Artefacts
from gatepost.feeds.cache import BasesNotLoaded, read_pinned
from gatepost.feeds.manifest import BadSet
from gatepost.feeds.own import OWN_LIMIT, OWN_SET
from gatepost.feeds.pinned import PinnedFile, SpamBases
from gatepost.feeds.rule_samples import parse_samples

RULES_SET = "rules"
"""What the samples of the rule set are called among the sets."""
FORMS_KEPT = 12
"""Compiled forms kept: some for each set of databases, of which there are three at most (see `feeds.cache`)."""


def load_knowledge(bases: SpamBases, cache: Path) -> Knowledge:
    """Return the databases that the master has chosen. BasesNotLoaded: they are not what it has verified."""
    try:
        found = [(each.facts.name, {source.path: source.data for source in read_pinned(each)}) for each in bases.sets]
    except BadSet as error:
        raise BasesNotLoaded(str(error)) from None
    found.append((OWN_SET, {Path(each.path).name: _read_own(each) for each in bases.own}))
    samples = bases.samples
    if bases.sample_file is not None:
        samples = parse_samples(_read_own(bases.sample_file))
    found.append((RULES_SET, dict(_build_samples(samples))))
    return merge_sets(found, Artefacts(cache, FORMS_KEPT))


def _build_samples(samples: Iterable[ReadySample]) -> Iterator[tuple[str, bytes]]:
    """Yield samples of a rule set as files of a set; one without enough words of its own finds nothing, and is no fault
    of the databases.
    """
    for sample in samples:
        path = f"samples/{sample.name}{SUFFIX}"
        try:
            raw = build_sample(sample.category, sample.text)
            sketch(parse_sample(path, raw).text)
        except ValueError:
            continue
        yield path, raw


def _read_own(pinned: PinnedFile) -> bytes:
    try:
        with Path(pinned.path).open("rb") as file:
            data = file.read(OWN_LIMIT + 1)
    except OSError as error:
        raise BasesNotLoaded(f"{pinned.path}: {error.strerror}") from None
    if len(data) > OWN_LIMIT:
        raise BasesNotLoaded(f"{pinned.path}: longer than {OWN_LIMIT} bytes")
    if hashlib.sha256(data).hexdigest() != pinned.sha256:
        raise BasesNotLoaded(f"{pinned.path} has been changed since it was chosen: reload the databases")
    return data
