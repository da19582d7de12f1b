"""What the master tells the recorder: one line of JSON on its standard input at its start, another after each reload.

Standard input is its lifeline, too: its end says that the master is gone.
"""

from typing import Final

import msgspec

SETTINGS_TAKEN: Final = "T"
"""Begins the line on its standard output that says so, one for each line of settings."""


class RecorderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the recorder and its views."""

    directory: str
    """Where tracking and history are kept."""
    socket: str
    """Where relays deliver records."""
    questions: str
    """Where the master asks."""
    tracking: bool = True
    """Keep tracking and history; without it there are only the views below."""
    retention_days: int = 30
    subjects: str = "full"
    """A `config.tracking.Subjects`."""
    addresses: str = "full"
    """A `config.tracking.Addresses`."""
    json_file: str = ""
    """Path of the JSON lines, "" = none."""
    av_statistics: str = ""
    """Target of the AV record (specification F-LOG-10): a path or `tcp:host:port`, "" = none."""
    spam_statistics: str = ""
    """Path of the statistics log of anti-spam, "" = none ..."""
    spam_users: str = ""
    """... and of its user log."""
    counts_usage: bool = False
    """The licence limits something: addresses and bytes are counted ..."""
    licensed_domains: tuple[str, ...] = ()
    """... addresses in these domains."""
