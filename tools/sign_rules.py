"""`tools/sign_rules.py antispam|antivirus [--key KEY.pem]`: sign the rules that come with the product anew.

Whoever changes a file of `src/gatepost/antispam/rules` or `src/gatepost/antivirus/rules` runs it and commits manifest
and signature together with the change. Only files that git knows are signed (`git add` a new one first), so that what
somebody else is still writing is not; the number rises when anything has changed. The key: `--key`, or
GATEPOST_SIGNING_KEY, or `keys/base-signing.pem` beside the checkout. On a conflict, run it again.
"""

import argparse
import datetime as dt
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from gatepost.antispam.knowledge import BASE_SET  # noqa: E402
from gatepost.antivirus.sources import BadSource  # noqa: E402
from gatepost.feeds.building import build_set  # noqa: E402
from gatepost.feeds.keys import load_private, resolve_keys  # noqa: E402
from gatepost.feeds.manifest import (  # noqa: E402
    MANIFEST_FILE,
    SIGNATURE_FILE,
    BadSet,
    DatabaseSet,
    Kind,
    check_set,
    read_set,
)

NAMES = {Kind.ANTIVIRUS: "base", Kind.ANTISPAM: BASE_SET}


def main() -> None:
    parser = argparse.ArgumentParser(description="Sign the rules that come with the product anew.")
    parser.add_argument("kind", type=Kind, choices=list(Kind), help="antispam or antivirus")
    parser.add_argument("--key", type=Path, default=find_key(), help="private key")
    options = parser.parse_args()
    rules = ROOT / "src" / "gatepost" / options.kind / "rules"
    with (rules / MANIFEST_FILE).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            print(sign(rules, options.kind, options.key))
        except (BadSource, BadSet) as error:
            raise SystemExit(str(error)) from None


def sign(rules: Path, kind: Kind, key: Path) -> str:
    """Return what was done."""
    files = known_files(rules)
    before, trusted = read_before(rules)
    if before is not None and trusted and {each.path for each in before.manifest.files} == set(files):
        try:
            check_set(before)
        except BadSet:
            pass
        else:
            return f"{kind}: nothing has changed, {before.manifest.name} {before.manifest.number} stays"
    number = 1 + (before.manifest.number if before is not None else 0)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for path in files:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(rules / path, place / path)
        made = build_set(place, NAMES[kind], number, dt.datetime.now(tz=dt.UTC).date(), [load_private(key)], kind)
        for name in (SIGNATURE_FILE, MANIFEST_FILE):
            (rules / name).write_bytes((place / name).read_bytes())
    check_set(read_set(rules, resolve_keys([])))
    manifest = made.manifest
    return f"{kind}: {manifest.name} {manifest.number}, {manifest.records} records in {len(manifest.files)} files"


def read_before(rules: Path) -> tuple[DatabaseSet | None, bool]:
    """Return the set as it lies there, and whether the product's key of today has signed it."""
    try:
        return read_set(rules, resolve_keys([])), True
    except BadSet:
        pass
    try:
        return read_set(rules, None), False
    except BadSet:
        return None, False


def known_files(rules: Path) -> list[str]:
    listed = subprocess.run(["git", "-C", str(rules), "ls-files"], capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.splitlines() if (rules / name).exists()]
    return sorted(name for name in names if name not in {MANIFEST_FILE, SIGNATURE_FILE})


def find_key() -> Path:
    return Path(os.environ.get("GATEPOST_SIGNING_KEY") or ROOT.parent / "keys" / "base-signing.pem")


if __name__ == "__main__":
    main()
