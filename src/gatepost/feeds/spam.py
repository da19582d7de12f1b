"""Anti-spam databases for the filters' template: `load_knowledge`."""

import hashlib
from pathlib import Path

from gatepost.antispam.knowledge import Knowledge, merge_sets
from gatepost.feeds.artefacts import Artefacts
from gatepost.feeds.cache import BasesNotLoaded, read_pinned
from gatepost.feeds.manifest import BadSet
from gatepost.feeds.own import OWN_LIMIT, OWN_SET
from gatepost.feeds.pinned import PinnedFile, SpamBases

FORMS_KEPT = 12
"""Compiled forms kept: some for each set of databases, of which there are three at most (see `feeds.cache`)."""


def load_knowledge(bases: SpamBases, cache: Path) -> Knowledge:
    """Return the databases that the master has chosen. BasesNotLoaded: they are not what it has verified."""
    try:
        found = [(each.facts.name, {source.path: source.data for source in read_pinned(each)}) for each in bases.sets]
    except BadSet as error:
        raise BasesNotLoaded(str(error)) from None
    found.append((OWN_SET, {Path(each.path).name: _read_own(each) for each in bases.own}))
    return merge_sets(found, Artefacts(cache, FORMS_KEPT))


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
