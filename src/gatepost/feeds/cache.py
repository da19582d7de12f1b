"""The compiled form of chosen sets on disk: `load_image`.

Called by the filters' template. A compiled form is native code, so only what we wrote ourselves for exactly these sets,
this version and this library is loaded: it is named after a digest of all of them, its own SHA-256 stands in an index
beside it, and both must belong to us and be writable by nobody else. Whatever does not fit is compiled anew from the
sets, whose files are compared with the manifests that the master has verified.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.antivirus.compiling import IMAGE_FORMAT, LIBRARY, Image, compile_knowledge
from gatepost.antivirus.sources import BadSource, Source
from gatepost.feeds.manifest import BadSet, read_set, read_sources
from gatepost.feeds.pinned import PinnedSet

IMAGES_KEPT = 3
"""Compiled forms kept: the one in use, the one before it, and one that is being tried."""
IMAGE_LIMIT = 2 * 1024**3
INDEX_FILE = "index.json"
INDEX_LIMIT = 64 * 1024
_FOREIGN_WRITE = stat.S_IWGRP | stat.S_IWOTH


class BasesNotLoaded(Exception):  # noqa: N818 - what happened
    """The databases cannot be loaded. The text says why."""


def load_image(cache: Path, sets: Sequence[PinnedSet]) -> Image:
    """Return the databases ready for use, from the cache when that can be, else compiled and cached. BasesNotLoaded."""
    key = image_key(sets)
    raw = _read_cached(cache, key)
    if raw is not None:
        try:
            image = msgspec.msgpack.decode(raw, type=Image)
        except ValueError:  # DecodeError is one, text that is no UTF-8 another
            image = None
        if image is not None and image.format == IMAGE_FORMAT and image.digest == key:
            return image
    image = _compile(sets, key)
    with contextlib.suppress(OSError):  # a full disk costs the next start a second, nothing else
        _store(cache, key, msgspec.msgpack.encode(image))
    return image


def image_key(sets: Sequence[PinnedSet]) -> str:
    """Return what the compiled form of these sets is named after: a manifest's digest stands for its whole set."""
    parts = [f"{IMAGE_FORMAT} {LIBRARY}", *sorted(f"{each.facts.name} {each.facts.digest}" for each in sets)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _compile(sets: Sequence[PinnedSet], key: str) -> Image:
    sources: list[Source] = []
    try:
        for each in sets:
            database = read_set(Path(each.directory), None)
            if database.digest != each.facts.digest:
                raise BasesNotLoaded(f"{each.directory} has been changed since it was verified: reload the databases")
            sources += read_sources(database)
        image = compile_knowledge(sources, tuple(each.facts for each in sets))
    except (BadSet, BadSource) as error:
        raise BasesNotLoaded(str(error)) from None
    return msgspec.structs.replace(image, digest=key)


def _read_cached(cache: Path, key: str) -> bytes | None:
    """Return the compiled form if it is whole and ours, else None."""
    index = _read_index(cache)
    wanted = index.get(key)
    if wanted is None:
        return None
    raw = _read_own(cache / f"{key}.image", IMAGE_LIMIT)
    return raw if raw is not None and hashlib.sha256(raw).hexdigest() == wanted else None


def _read_index(cache: Path) -> dict[str, str]:
    """Return the digests of compiled forms by name, oldest first."""
    raw = _read_own(cache / INDEX_FILE, INDEX_LIMIT)
    try:
        return msgspec.json.decode(raw, type=dict[str, str]) if raw is not None else {}
    except ValueError:  # DecodeError is one, text that is no UTF-8 another
        return {}


def _read_own(path: Path, limit: int) -> bytes | None:
    """Return a file that nobody but us can have written, None when it is not there or not such a file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            ours = facts.st_uid in {os.geteuid(), 0} and not facts.st_mode & _FOREIGN_WRITE
            if not ours or not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
                return None
            return file.read()
    except OSError:
        return None


def _store(cache: Path, key: str, raw: bytes) -> None:
    cache.mkdir(0o700, parents=True, exist_ok=True)
    index = _read_index(cache)
    index.pop(key, None)
    index[key] = hashlib.sha256(raw).hexdigest()
    for old in list(index)[:-IMAGES_KEPT]:
        del index[old]
    _replace(cache / f"{key}.image", raw)
    _replace(cache / INDEX_FILE, msgspec.json.encode(index))
    for path in cache.glob("*.image"):
        if path.stem not in index:
            path.unlink(missing_ok=True)


def _replace(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(raw)
    temporary.rename(path)
