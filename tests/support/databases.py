"""Signed databases for a gateway under test: a directory of sets, and the key they are signed with."""

import datetime as dt
import hashlib
from pathlib import Path

from gatepost.feeds.building import build_set
from gatepost.feeds.keys import build_public_text, generate_key, load_private

DAY = dt.date(2026, 1, 31)


class Databases:
    """A directory of sets and the key that signs them."""

    def __init__(self, place: Path) -> None:
        self.bases = place / "bases"
        self.key = place / "key.pem"
        public = build_public_text(generate_key(self.key))
        self.configured = {
            "[path]": f'[path]\nbases_path = "{self.bases}"',
            "[ave]": f'[ave]\ntrusted_keys = ["{public}"]',
        }

    def put(self, number: int, *known: bytes, issued: dt.date = DAY) -> Path:
        """Put a set of that number there that knows these objects."""
        building = self.bases.parent / f"building-{number}"
        building.mkdir()
        lines = [f"{hashlib.sha256(each).hexdigest()}:{len(each)}:Test.Known.{i}\n" for i, each in enumerate(known)]
        (building / "known.hash").write_text("".join(lines))
        build_set(building, "own", number, issued, [load_private(self.key)])
        self.bases.mkdir(exist_ok=True)
        return building.rename(self.bases / f"own-{number}")
