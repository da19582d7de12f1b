"""Whether a file that is open for adding to is still the one of its name.

Asked by everybody who writes a log that others may rotate: the gateway's log and the recorder's files. A rotation is a
rename, or the removal of what was copied; nobody tells us of it.
"""

import os
from pathlib import Path


def is_current(fd: int, path: str) -> bool:
    """Tell whether who opens `path` finds the file of this descriptor. OSError: the descriptor is none."""
    ours = os.fstat(fd)
    try:
        named = Path(path).stat()
    except OSError:
        return False
    return os.path.samestat(ours, named)
