"""The log of a feed's server, a line of JSON a request, and what it tells. Of `gatepost feed serve` and `stats`."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

LINE_LIMIT: Final = 4096


class Request(msgspec.Struct, frozen=True):
    """One request that was answered."""

    at: str
    """ISO 8601."""
    client: str
    path: str
    status: int
    bytes: int
    agent: str = ""


def read_log(path: Path) -> dict[str, Any]:
    """Return counts: requests, clients, bytes, by day, by set, by version of the program. OSError."""
    clients: set[str] = set()
    days: Counter[str] = Counter()
    sets: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    requests = size = 0
    with path.open("rb") as file:
        for line in file:
            try:
                request = msgspec.json.decode(line[:LINE_LIMIT], type=Request)
            except ValueError:
                continue  # the last line of a server that was killed
            requests += 1
            size += request.bytes
            clients.add(request.client)
            days[request.at[:10]] += 1
            parts = request.path.strip("/").split("/")
            is_set = parts[0] == "targets" and len(parts) > 3 and parts[-1].endswith(".manifest.json")
            if is_set and request.status in (200, 206):
                sets[parts[2]] += 1
            if parts[-1] == "timestamp.json":
                versions[request.agent[:60]] += 1
    return {
        "requests": requests,
        "clients": len(clients),
        "bytes": size,
        "days": dict(sorted(days.items())),
        "sets": dict(sorted(sets.items())),
        "versions": dict(versions.most_common(50)),
    }
