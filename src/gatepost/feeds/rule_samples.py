"""The samples of the rule set in a file of their own, for whoever gets databases named in one line: `lay_aside`.

Called by who starts a template of filters (`master.templates`, `cli.trial`): samples may be megabytes, and a line of
settings is bounded and read before anything else is done. Files are named after what is in them, so that a template
which starts again finds the same; `feeds.spam` reads them.
"""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.profiles_samples import ReadySample
from gatepost.feeds.pinned import PinnedFile, SpamBases
from gatepost.storage.whole_file import replace_file

SUFFIX: Final = ".rule-samples"
KEPT: Final = 8
"""Files kept: of the template in use, the one before it, and of some that were tried and did not come up."""

_DECODER: Final = msgspec.msgpack.Decoder(tuple[ReadySample, ...])


def lay_aside(bases: SpamBases | None, place: Path) -> SpamBases | None:
    """Return the databases with the samples in a file in the directory `place`. OSError: it cannot be written."""
    if bases is None or not bases.samples:
        return bases
    raw = msgspec.msgpack.encode(bases.samples)
    digest = hashlib.sha256(raw).hexdigest()
    place.mkdir(0o700, parents=True, exist_ok=True)
    path = place / f"{digest}{SUFFIX}"
    replace_file(path, raw)  # also when there is one: it is the newest then, and whole
    _thin_out(place)
    return msgspec.structs.replace(bases, samples=(), sample_file=PinnedFile(str(path), digest))


def parse_samples(raw: bytes) -> tuple[ReadySample, ...]:
    """Return the samples of a file. ValueError."""
    return _DECODER.decode(raw)


def _thin_out(place: Path) -> None:
    files = sorted(place.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
    for path in files[:-KEPT]:
        path.unlink(missing_ok=True)
