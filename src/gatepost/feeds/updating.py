"""Updating databases from a feed: what is new is fetched and checked (specification management.md §14).

Called by `gatepost update`, which has it tried and put in place (`feeds.installed`). The feed is TUF: roll-back,
freeze, mix-and-match and foreign signatures are refused by the library; sets carry signatures of their own besides.
Promises: the databases in use are not touched; what was fetched by a run that broke off is not fetched again; only
files that differ are fetched, as differences where the feed has them.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from gatepost.feeds.bases import check_kind
from gatepost.feeds.fetching import Fetcher, FetchError, NotThere, Route, Unreachable, hide_password
from gatepost.feeds.installed import DOWNLOADS, STAGING, Place, clear_staging, files_of, installed_number
from gatepost.feeds.keys import Keys
from gatepost.feeds.manifest import (
    NAME_FORM,
    PATH_FORM,
    SET_LIMIT,
    BadSet,
    Kind,
    check_set,
    read_set,
)
from gatepost.feeds.repository import FILE_MODE, WINDOW_LOG, delta_name, latest_number
from gatepost.model.zstandard import zstd
from gatepost.storage.whole_file import replace_file

ROOT_FILE: Final = "root.json"
"""The root that is trusted first, in the updater's directory: with it everything begins."""
ATTEMPTS: Final = 3
"""Of one file at one server, each going on where the last one broke off."""

Say = Callable[[int, str], None]
"""Report: (level 1…9, text)."""
Bases = Mapping[Kind, Path]


class UpdateError(Exception):
    """Nothing was changed. The text says why."""


class LicenceEnded(UpdateError):  # noqa: N818 - what happened
    """There are newer databases, issued after the licence's end."""


class Wanted(msgspec.Struct, frozen=True):
    """A set that the feed has and we have not."""

    kind: Kind
    name: str
    number: int

    @property
    def prefix(self) -> str:
        """How its targets begin."""
        return f"{self.kind}/{self.name}-{self.number}/"

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.name} {self.number}"


class Update:
    """One run against one source after the other."""

    def __init__(
        self,
        place: Place,
        route: Route,
        say: Say,
        *,
        trusted: Keys,
        expiry: dt.date | None,
        skipped: Mapping[str, int],
        progress: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:
        """`trusted`: who may sign sets; `expiry`: last day whose sets may be used; `progress(done, all)` in bytes."""
        self._place = place
        self.fetcher = Fetcher(route)
        self._say = say
        self._trusted = trusted
        self._expiry = expiry
        self._skipped = skipped
        self._progress = progress
        self._done = self._all = 0
        self.metadata = place.directory
        """Where the metadata lies that `refresh` has verified."""
        self.source = ""
        """Where what was found came from."""

    @property
    def received(self) -> int:
        """Bytes that were fetched."""
        return self.fetcher.received

    def fetch(self, sources: Sequence[str]) -> dict[Wanted, Path]:
        """Return what is new, checked to its last byte, in staging directories; {} when nothing is. Servers are asked
        in their order until one is sound. UpdateError: none was; LicenceEnded.
        """
        troubles = []
        try:
            for source in sources:
                shown = hide_password(source)
                self._say(3, f"asking {shown}")
                try:
                    found = self._fetch_from(source)
                except (Unreachable, FetchError, RepositoryError, DownloadError, BadSet) as error:
                    told = explain(error)
                    troubles.append(told if told.startswith(shown) else f"{shown}: {told}")
                    self._say(2, troubles[-1])
                else:
                    self.source = shown
                    return found
        except OSError as error:
            clear_staging(self._place)  # on a full disk what was fetched is in the way of mail
            raise UpdateError(f"{error.filename or self._place.directory}: {error.strerror}") from error
        finally:
            self.fetcher.close()
        raise UpdateError("\n".join(troubles) or "there is no source: [updater.options] names none")

    def _fetch_from(self, source: str) -> dict[Wanted, Path]:
        offered = self.refresh(source)
        wanted = self._choose(offered)
        targets = {name: each for name, each in offered.targets.items() if not _is_delta(name)}
        self._all = sum(each.length for one in wanted for name, each in targets.items() if name.startswith(one.prefix))
        self._done = 0
        clear_staging(self._place, {(one.kind, one.name, one.number) for one in wanted})
        return {one: self._stage(source, offered, one) for one in wanted}

    def refresh(self, source: str) -> Targets:
        """Return what the feed offers now, believed by the rules of TUF."""
        directory = self._place.directory
        root = directory / ROOT_FILE
        if not root.exists():
            text = f"{root}: no feed is trusted yet; `gatepost update --trust-root FILE` takes the root of one"
            raise UpdateError(text)
        metadata = directory / "metadata" / hashlib.sha256(root.read_bytes()).hexdigest()[:16]
        metadata.mkdir(0o750, parents=True, exist_ok=True)
        updater = Updater(
            str(metadata),
            f"{source}/metadata/",
            fetcher=_TufFetcher(self.fetcher),
            bootstrap=root.read_bytes(),
        )
        updater.refresh()
        self.metadata = metadata
        return Metadata[Targets].from_file(str(metadata / "targets.json")).signed

    def _choose(self, offered: Targets) -> list[Wanted]:
        """Return the newest set of each name, where it is newer than what is installed."""
        families = {
            (kind, name.rpartition("-")[0])
            for target in offered.targets
            if len(parts := target.split("/", 2)) == 3 and (kind := parts[0]) in set(Kind) and (name := parts[1])
        }
        wanted = []
        for kind_text, name in sorted(families):
            if NAME_FORM.match(name) is None:
                continue
            kind = Kind(kind_text)
            newest = latest_number(offered, f"{kind}/{name}-")[0]
            least = max(self._skipped.get(f"{kind}/{name}", 0), installed_number(self._place.bases[kind], name))
            if newest > least:
                wanted.append(Wanted(kind, name, newest))
            else:
                self._say(5, f"{name}: {newest} is offered, nothing newer than {least}")
        return wanted

    def _stage(self, source: str, offered: Targets, wanted: Wanted) -> Path:
        """Return the whole set in a directory of its own. Files that a run before has brought are not fetched again.
        FetchError, BadSet, LicenceEnded, OSError.
        """
        bases = self._place.bases[wanted.kind]
        staged = bases / STAGING / f"{wanted.name}-{wanted.number}"
        staged.mkdir(parents=True, exist_ok=True)
        old = files_of(bases, wanted.name)
        names = [name for name in offered.targets if name.startswith(wanted.prefix) and not _is_delta(name)]
        for name in sorted(names):
            path = name.removeprefix(wanted.prefix)
            if PATH_FORM.match(path) is None:
                raise BadSet(f"{name!r} is no path of a file in a set")
            target = offered.targets[name]
            if target.length > SET_LIMIT:
                raise BadSet(f"{name}: larger than {SET_LIMIT} bytes")
            place = staged / path
            if not _is_whole(place, target):
                data = self._bring(source, offered, target, old.get(path))
                place.parent.mkdir(parents=True, exist_ok=True)
                replace_file(place, data, mode=FILE_MODE)
            self._done += target.length
            self._progress(self._done, self._all)
        database = read_set(staged, self._trusted)
        check_set(database)
        check_kind(database, wanted.kind)
        manifest = database.manifest
        if (manifest.name, manifest.number) != (wanted.name, wanted.number):
            raise BadSet(f"{staged}: it is {manifest.name} {manifest.number}, not {wanted}")
        if self._expiry is not None and manifest.issued > self._expiry:
            text = f"{wanted} was issued on {manifest.issued}, after the licence's end on {self._expiry}"
            raise LicenceEnded(text)
        self._say(3, f"{wanted} of {manifest.issued}: {manifest.records} records")
        return staged

    def _bring(self, source: str, offered: Targets, target: TargetFile, old: Path | None) -> bytes:
        """Return a file's bytes: what we have, what we have with a difference, or fetched."""
        digest = target.hashes["sha256"]
        if old is not None:
            before = old.read_bytes()
            known = hashlib.sha256(before).hexdigest()
            if known == digest:
                self._say(7, f"{target.path}: as before")
                return before
            delta = offered.targets.get(delta_name(target.path, known))
            if delta is not None:
                data = self._apply(source, delta, before, target)
                if data is not None:
                    return data
        return self.fetch_target(source, target)

    def _apply(self, source: str, delta: TargetFile, before: bytes, target: TargetFile) -> bytes | None:
        try:
            difference = self.fetch_target(source, delta)
            options = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG}
            opened = zstd.ZstdDecompressor(options=options, zstd_dict=zstd.ZstdDict(before, is_raw=True).as_prefix)
            data = opened.decompress(difference, max_length=target.length + 1)
        except (zstd.ZstdError, FetchError) as error:
            self._say(4, f"{delta.path}: {error}: the whole file is fetched")
            return None
        if len(data) != target.length or hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
            self._say(4, f"{delta.path}: does not give the file: the whole file is fetched")
            return None
        self._say(6, f"{target.path}: by a difference of {len(difference)} bytes")
        return data

    def fetch_target(self, source: str, target: TargetFile) -> bytes:
        """Return a target's bytes, going on where an earlier attempt or run broke off. FetchError, OSError."""
        digest = target.hashes["sha256"]
        folder, _, name = target.path.rpartition("/")
        url = f"{source}/targets/{folder}/{digest}.{name}"
        part = self._place.directory / DOWNLOADS / f"{digest}.part"
        part.parent.mkdir(0o750, parents=True, exist_ok=True)
        trouble = ""
        for _ in range(ATTEMPTS):
            try:
                trouble = self._fetch_on(url, part, target)
            except (NotThere, Unreachable):
                raise
            except FetchError as error:
                trouble = str(error)
                self._say(4, f"{trouble}: going on from byte {part.stat().st_size if part.exists() else 0}")
                continue
            if not trouble:
                data = part.read_bytes()
                part.unlink()
                self._say(6, f"{target.path}: {target.length} bytes")
                return data
            part.unlink()  # what came is wrong: from the beginning
            self._say(4, trouble)
        raise FetchError(trouble)

    def _fetch_on(self, url: str, part: Path, target: TargetFile) -> str:
        """Fetch the rest of a file; return what is wrong with it, "" when it is the one."""
        size = part.stat().st_size if part.exists() else 0
        if size > target.length:
            part.unlink()
            size = 0
        with part.open("ab") as file:
            if size < target.length:
                for piece in self.fetcher.fetch(url, size):
                    size += len(piece)
                    if size > target.length:
                        break
                    file.write(piece)
                    self._progress(self._done + size, self._all)
        if size < target.length:
            raise FetchError(f"{hide_password(url)}: ended at byte {size} of {target.length}")
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        if size > target.length or digest != target.hashes["sha256"]:
            return f"{hide_password(url)}: not the file that the feed's owner has signed"
        return ""


class _TufFetcher(FetcherInterface):
    """Our connections, for the library."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self.fetcher.fetch(url)
        except NotThere as error:
            raise DownloadHTTPError(str(error), 404) from None  # it asks for roots until there are no more


def trust_root(directory: Path, raw: bytes) -> None:
    """Trust a feed by a root of its; what was known of another feed counts no more. UpdateError: it is no root."""
    try:
        root = Metadata[Root].from_bytes(raw)
        root.verify_delegate(Root.type, root)
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise UpdateError(f"not a root of a feed (its metadata/1.root.json): {error}") from error
    directory.mkdir(0o750, parents=True, exist_ok=True)
    replace_file(directory / ROOT_FILE, raw, mode=FILE_MODE)


def _is_whole(place: Path, target: TargetFile) -> bool:
    try:
        return hashlib.sha256(place.read_bytes()).hexdigest() == target.hashes["sha256"]
    except OSError:
        return False


def _is_delta(name: str) -> bool:
    return ".from-" in name.rpartition("/")[2]


def explain(error: Exception) -> str:
    """Return what a failure means to an administrator; the library's words say little."""
    words = {
        "BadVersionNumberError": "it offers an older state than was seen before (roll-back refused)",
        "EqualVersionNumberError": "it offers an older state than was seen before (roll-back refused)",
        "ExpiredMetadataError": "its state has expired: it is not kept up, or an old one is shown (freeze refused)",
        "UnsignedMetadataError": "too few of the trusted keys have signed it",
        "LengthOrHashMismatchError": "its files do not belong together (mix-and-match refused)",
    }
    meaning = words.get(type(error).__name__)
    if meaning is not None:
        return f"{meaning}: {error}"
    cause = error.__cause__
    return str(cause) if isinstance(error, DownloadError) and cause is not None else str(error)
