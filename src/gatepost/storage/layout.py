"""Where things lie in a store's directory, and the durable steps on its files.

    messages/2026-11-22/14/0ABCDEFGHJKMN-0A1B2C.item   by the hour (UTC) in which the message was received
    coming/                                            files that are being written
    index.db                                           the index (and its log)
    lock

The place of an item follows from its id, so a message is found even without the index.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.model.ids import TEXT_LENGTH, parse_queue_id, received_ms
from gatepost.storage.item import parse_item_id

SUFFIX: Final = ".item"


class Layout:
    """The places below one directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.messages = f"{directory}/messages"
        self.coming = f"{directory}/coming"
        self.index = f"{directory}/index.db"
        self.new_index = f"{directory}/index.new"
        self.lock = f"{directory}/lock"

    @property
    def exists(self) -> bool:
        """Whether there is a store."""
        return Path(self.messages).is_dir()

    def make(self) -> None:
        """Make the directories, for the owner only. OSError."""
        for path in (self.directory, self.messages, self.coming):
            make_durably(path)

    def folder_of(self, item_id: str) -> str:
        """Return the directory of an item's file."""
        moment = time.gmtime(received_ms(parse_queue_id(item_id[:TEXT_LENGTH])) / 1000)
        return f"{self.messages}/{time.strftime('%Y-%m-%d/%H', moment)}"

    def path_of(self, item_id: str) -> str:
        """Return the path of an item's file."""
        return f"{self.folder_of(item_id)}/{item_id}{SUFFIX}"

    def item_ids(self) -> Iterator[str]:
        """Yield the ids of all files that lie where they belong, the oldest first."""
        for day in _sorted_names(self.messages):
            for hour in _sorted_names(f"{self.messages}/{day}"):
                for name in _sorted_names(f"{self.messages}/{day}/{hour}"):
                    with contextlib.suppress(ValueError):
                        item_id = parse_item_id(name.removesuffix(SUFFIX))
                        if self.path_of(item_id) == f"{self.messages}/{day}/{hour}/{name}":
                            yield item_id

    def forget_empty(self, item_id: str) -> None:
        """Remove the directories of an item that is gone, when they hold nothing else."""
        folder = self.folder_of(item_id)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
            Path(folder).parent.rmdir()

    def own(self, descriptor: int) -> None:
        """Give a file that root has made to the owner of the store, who has to work with it."""
        if os.geteuid() == 0:
            owner = Path(self.directory).stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def make_durably(path: str) -> None:
    """Create a directory and its parents with their names on the disk, for the owner only. OSError."""
    target = Path(path)
    if target.is_dir():
        return
    make_durably(str(target.parent))
    with contextlib.suppress(FileExistsError):
        target.mkdir(0o700)
    sync_directory(str(target.parent))


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sorted_names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))  # noqa: PTH208 - of a hundred thousand names no objects are made
    except (NotADirectoryError, FileNotFoundError):
        return []
