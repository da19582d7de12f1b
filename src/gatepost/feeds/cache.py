"""The compiled form of chosen anti-virus sets: `load_image`.

Called by the filters' template. Only what we wrote ourselves for exactly these sets, this version and this library is
loaded: it is named after a digest of all of them and kept as `Artefacts` keep it. Whatever does not fit is compiled
anew from the sets, whose files are compared with the manifests that the master has verified.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from gatepost.antivirus.compiling import IMAGE_FORMAT, LIBRARY, Image, compile_knowledge
from gatepost.antivirus.sources import BadSource, Source
from gatepost.feeds.artefacts import Artefacts
from gatepost.feeds.manifest import BadSet, read_set, read_sources
from gatepost.feeds.pinned import PinnedSet

IMAGES_KEPT = 3
"""Compiled forms kept: the one in use, the one before it, and one that is being tried."""


class BasesNotLoaded(Exception):  # noqa: N818 - what happened
    """The databases cannot be loaded. The text says why."""


def load_image(cache: Path, sets: Sequence[PinnedSet]) -> Image:
    """Return the databases ready for use, from the cache when that can be, else compiled and cached. BasesNotLoaded."""
    key = image_key(sets)
    artefacts = Artefacts(cache, IMAGES_KEPT)
    raw = artefacts.get(key)
    if raw is not None:
        try:
            image = msgspec.msgpack.decode(raw, type=Image)
        except ValueError:  # DecodeError is one, text that is no UTF-8 another
            image = None
        if image is not None and image.format == IMAGE_FORMAT and image.digest == key:
            return image
    image = _compile(sets, key)
    artefacts.keep(key, msgspec.msgpack.encode(image))
    return image


def image_key(sets: Sequence[PinnedSet]) -> str:
    """Return what the compiled form of these sets is named after: a manifest's digest stands for its whole set."""
    parts = [f"{IMAGE_FORMAT} {LIBRARY}", *sorted(f"{each.facts.name} {each.facts.digest}" for each in sets)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_pinned(each: PinnedSet) -> Iterable[Source]:
    """Yield the files of a set as the master has verified it. BadSet, BasesNotLoaded."""
    database = read_set(Path(each.directory), None)
    if database.digest != each.facts.digest:
        raise BasesNotLoaded(f"{each.directory} has been changed since it was verified: reload the databases")
    return read_sources(database)


def _compile(sets: Sequence[PinnedSet], key: str) -> Image:
    sources: list[Source] = []
    try:
        for each in sets:
            sources += read_pinned(each)
        image = compile_knowledge(sources, tuple(each.facts for each in sets))
    except (BadSet, BadSource) as error:
        raise BasesNotLoaded(str(error)) from None
    return msgspec.structs.replace(image, digest=key)
