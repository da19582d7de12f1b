"""Where the stores of a configuration are. Pure.

Asked by the commands that show stores, by the sweep that ends what is past its time, and by the recovery of releases.
"""

import msgspec

from gatepost.config.schema import Config
from gatepost.storage.item import StoreKind


class StorePlace(msgspec.Struct, frozen=True):
    """One kind of store in one directory, and what it keeps."""

    kind: StoreKind
    directory: str
    days: int = 0
    """0 = no limit."""
    bytes: int = 0
    """0 = no limit."""


def store_places(config: Config) -> list[StorePlace]:
    """Return every store once; several groups may share one, and several kinds a directory."""
    stores = config.stores
    limits = {
        StoreKind.INCOMING: (stores.incoming_archive_days, stores.incoming_archive_size),
        StoreKind.OUTGOING: (stores.outgoing_archive_days, stores.outgoing_archive_size),
        StoreKind.QUARANTINE: (stores.quarantine_days, stores.quarantine_size),
        StoreKind.BACKUP: (stores.backup_days, stores.backup_size),
        StoreKind.SPAM_QUARANTINE: (stores.spam_quarantine_days, stores.spam_quarantine_size),
    }
    found = [
        (StoreKind.INCOMING, config.path.incoming_archive_path),
        (StoreKind.OUTGOING, config.path.outgoing_archive_path),
    ]
    # The policy itself, the last of the groups, first: its stores are what is meant when nothing else is said.
    for group in reversed(config.groups):
        found += [
            (StoreKind.QUARANTINE, group.quarantine_path),
            (StoreKind.BACKUP, group.backup_path),
            (StoreKind.SPAM_QUARANTINE, group.spam_quarantine_path),
        ]
    return [StorePlace(kind, directory, *limits[kind]) for kind, directory in dict.fromkeys(found) if directory]
