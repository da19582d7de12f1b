"""Copying a whole feed into a directory that other hosts can use as their source (`gatepost update -u`, F-UPD-07).

Promises: readers of the copy never see half of a state: files are there before the metadata that names them, and what
the last state named stays. What is copied is what was verified, byte for byte.
"""

import hashlib
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from gatepost.feeds.fetching import FetchError, hide_password
from gatepost.feeds.manifest import PATH_FORM
from gatepost.feeds.repository import FILE_MODE
from gatepost.feeds.updating import Update, UpdateError, explain
from gatepost.storage.whole_file import replace_file

ROOT_LIMIT: Final = 512_000
"""Bytes of a root: the library takes no more of those it verifies."""
STATES_KEPT: Final = 2
"""The state that is offered, and the one before it, which somebody may be in the middle of reading."""


def mirror(update: Update, source: str, target: Path) -> int:
    """Copy what a feed offers; return how many files are new in the copy. UpdateError."""
    try:
        offered = update.refresh(source)
        copied = sum(_copy(update, source, each, target) for each in offered.targets.values())
        changed = _copy_metadata(update, source, target / "metadata")
        _sweep(target)
    except (FetchError, RepositoryError, DownloadError) as error:
        raise UpdateError(f"{hide_password(source)}: {explain(error)}") from error
    except OSError as error:
        raise UpdateError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        update.fetcher.close()
    return copied + changed


def _copy(update: Update, source: str, each: TargetFile, target: Path) -> bool:
    """Copy one file; False when it is there already."""
    stored = _stored(target, each)
    if stored.exists() and hashlib.sha256(stored.read_bytes()).hexdigest() == each.hashes["sha256"]:
        return False
    stored.parent.mkdir(parents=True, exist_ok=True)
    replace_file(stored, update.fetch_target(source, each), mode=FILE_MODE)
    return True


def _stored(target: Path, each: TargetFile) -> Path:
    if PATH_FORM.match(each.path) is None:
        raise UpdateError(f"{each.path[:100]!r} is no path of a file in a feed")
    folder, _, name = each.path.rpartition("/")
    return target / "targets" / folder / f"{each.hashes['sha256']}.{name}"


def _copy_metadata(update: Update, source: str, target: Path) -> bool:
    """Write the verified metadata under the names that a feed has; False when the copy had that state."""
    target.mkdir(parents=True, exist_ok=True)
    kept = update.metadata
    roots = {int(path.name.partition(".")[0]): path.read_bytes() for path in kept.glob("root_history/*.root.json")}
    for number in range(1, min(roots)):  # before the one we began with: for hosts that trust an older one
        if not (target / f"{number}.root.json").exists():
            replace_file(target / f"{number}.root.json", _fetch_root(update, source, number), mode=FILE_MODE)
    for number, root in sorted(roots.items()):
        replace_file(target / f"{number}.root.json", root, mode=FILE_MODE)
    replace_file(target / "root.json", roots[max(roots)], mode=FILE_MODE)
    raw = {role: (kept / f"{role}.json").read_bytes() for role in (Targets.type, Snapshot.type, Timestamp.type)}
    for role in (Targets.type, Snapshot.type):
        version = Metadata.from_bytes(raw[role]).signed.version
        replace_file(target / f"{version}.{role}.json", raw[role], mode=FILE_MODE)
    last = target / "timestamp.json"
    changed = not last.exists() or last.read_bytes() != raw[Timestamp.type]
    if changed:
        replace_file(last, raw[Timestamp.type], mode=FILE_MODE)
    return changed


def _fetch_root(update: Update, source: str, number: int) -> bytes:
    root = b""
    for piece in update.fetcher.fetch(f"{source}/metadata/{number}.root.json"):
        root += piece
        if len(root) > ROOT_LIMIT:
            raise FetchError(f"{hide_password(source)}: root {number} has more than {ROOT_LIMIT} bytes")
    return root


def _sweep(target: Path) -> None:
    """Remove what neither the last state nor the one before it names."""
    metadata = target / "metadata"
    for role in (Snapshot.type, Targets.type):
        found = sorted(metadata.glob(f"*.{role}.json"), key=lambda path: int(path.name.partition(".")[0]))
        for old in found[:-STATES_KEPT]:
            old.unlink()
    named = {
        _stored(target, each)
        for path in metadata.glob(f"*.{Targets.type}.json")
        for each in Metadata[Targets].from_file(str(path)).signed.targets.values()
    }
    for path in sorted((target / "targets").rglob("*"), reverse=True):
        if path.is_file() and path not in named:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
