"""Copying a whole feed into a directory that other hosts can use as their source (`gatepost update -u`, F-UPD-07)."""

import hashlib
import shutil
from pathlib import Path

import msgspec
from tuf.api.exceptions import DownloadError, RepositoryError

from gatepost.feeds.fetching import FetchError, NotThere, hide_password
from gatepost.feeds.installed import write_durably
from gatepost.feeds.updating import Update, UpdateError, explain


def mirror(update: Update, source: str, target: Path) -> int:
    """Copy what a feed offers; return the bytes that came. The metadata is believed first, and written last: readers of
    the copy never see half of it. UpdateError.
    """
    try:
        offered = update.refresh(source)
        for each in offered.targets.values():
            folder, _, name = each.path.rpartition("/")
            digest = each.hashes["sha256"]
            stored = target / "targets" / folder / f"{digest}.{name}"
            if not stored.exists() or hashlib.sha256(stored.read_bytes()).hexdigest() != digest:
                stored.parent.mkdir(parents=True, exist_ok=True)
                write_durably(stored, update.fetch_target(source, each))
        _mirror_metadata(update, source, target / "metadata")
    except (FetchError, RepositoryError, DownloadError) as error:
        raise UpdateError(f"{hide_password(source)}: {explain(error)}") from error
    except OSError as error:
        raise UpdateError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        update.fetcher.close()
    return update.fetcher.received


def _mirror_metadata(update: Update, source: str, target: Path) -> None:
    fetcher = update.fetcher
    target.mkdir(parents=True, exist_ok=True)

    def bring(name: str) -> bytes:
        data = b"".join(fetcher.fetch(f"{source}/metadata/{name}"))
        write_durably(target / name, data)
        return data

    number = 1
    try:
        while True:
            bring(f"{number}.root.json")
            number += 1
    except NotThere:
        if number == 1:
            raise
    shutil.copyfile(target / f"{number - 1}.root.json", target / "root.json")
    timestamp = b"".join(fetcher.fetch(f"{source}/metadata/timestamp.json"))
    snapshot = msgspec.json.decode(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    told = msgspec.json.decode(bring(f"{int(snapshot)}.snapshot.json"))
    bring(f"{int(told['signed']['meta']['targets.json']['version'])}.targets.json")
    write_durably(target / "timestamp.json", timestamp)
