"""MTA-STS policies on disk: what a relay knows of other domains outlives it (RFC 8461 §10.2).

Used by `relay.sts_store` only. Each relay writes a file of its own, `mta-sts-N.json` in the state directory, whole or
not at all, and reads those of all relays when it starts. Who can suppress a domain's record and its policy server must
not be rid of the policy because a relay was started anew. A file that cannot be read costs what it knew, and is told.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.relay.mta_sts import HOSTS_LIMIT, MAX_AGE_LIMIT_S, StsPolicy
from gatepost.storage.whole_file import replace_file

PREFIX: Final = "mta-sts-"
"""Begin of the files' names below `relay.state_path`."""
FILE_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a file that are written and read: policies of 10,000 domains are some 3 MB."""


class Kept(msgspec.Struct, frozen=True):
    """One domain's policy in a file."""

    id: str
    """That of the record under which it was fetched."""
    policy: StsPolicy
    fetched: float
    """Unix time."""


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(dict[str, Kept])


def read_files(directory: Path, now: float, report: Callable[[str, str], None]) -> dict[str, Kept]:
    """Return what the files of all relays know and what is still valid: of one domain what was fetched last, and
    nothing when that has ended: an earlier policy that another relay keeps was superseded.

    `report(level, text)` is told of what cannot be read.
    """
    known: dict[str, Kept] = {}
    for path in sorted(directory.glob(f"{PREFIX}*.json")):
        try:
            with path.open("rb") as file:
                found = _DECODER.decode(file.read(FILE_LIMIT))
        except (OSError, msgspec.MsgspecError) as error:
            report("W", f"MTA-STS policies in {path} cannot be used, they are fetched again: {error}")
            continue
        for domain, kept in found.items():
            policy = kept.policy
            if not 0 <= policy.max_age_s <= MAX_AGE_LIMIT_S or len(policy.hosts) > HOSTS_LIMIT:
                continue
            if domain not in known or known[domain].fetched < kept.fetched:
                known[domain] = kept
    return {domain: kept for domain, kept in known.items() if kept.fetched + kept.policy.max_age_s > now}


def write_file(path: Path, known: Iterable[tuple[str, Kept]]) -> None:
    """Write them. OSError when that fails; the former file stays then."""
    raw = _ENCODER.encode(dict(known))
    if len(raw) > FILE_LIMIT:
        raise OSError(f"{len(raw)} bytes are more than the {FILE_LIMIT} that are read again")
    replace_file(path, raw)
