"""The shipped anti-spam databases for tests of checks: compiled forms are kept below build/, for all processes and runs.

Making the checks costs a second without them. What is kept goes by the digests of what it was made of.
"""

import functools
from pathlib import Path

import msgspec

from gatepost.antispam.knowledge import Knowledge, load_packaged
from gatepost.feeds.artefacts import Artefacts

_CACHE = Path(__file__).resolve().parents[2] / "build" / "test-spam-cache"
_FORMS_KEPT = 40
"""Of some branches of work."""


@functools.cache
def shipped_knowledge() -> Knowledge:
    """Return the shipped databases with what keeps their compiled forms."""
    return msgspec.structs.replace(load_packaged(), keeper=Artefacts(_CACHE, _FORMS_KEPT))
