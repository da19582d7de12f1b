"""The administrator's own anti-spam files, samples and images compiled, terms as written:
where the master and the commands find them, `pin_own`.

They lie in one directory, each replaced by a rename (`cli.spam_samples`), and are no signed set: whoever may write them
may write the configuration as well.
"""

import hashlib
from pathlib import Path

from gatepost.feeds.pinned import PinnedFile

OWN_SET = "own"
"""What these files are called among the sets."""
OWN_SUFFIXES = (".samples", ".pictures", ".terms")
OWN_LIMIT = 256 * 1024 * 1024
"""Bytes of one of them: what half a million samples take."""


def pin_own(directory: Path) -> tuple[PinnedFile, ...]:
    """Return the compiled files as they are now. OSError."""
    if not directory.is_dir():
        return ()
    return tuple(
        PinnedFile(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(directory.iterdir())
        if path.suffix in OWN_SUFFIXES and not path.name.startswith(".")
    )
