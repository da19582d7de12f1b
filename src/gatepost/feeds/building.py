"""Making a set of databases: every file compiled, named in a manifest, the manifest signed.

Called by `gatepost bases build`; nothing in a running gateway builds sets. A set for anti-spam is compiled together
with the one that comes with the product, since it adds to it.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.antispam import knowledge as antispam
from gatepost.antispam.checks import build_checks
from gatepost.antivirus.compiling import count_records
from gatepost.antivirus.sources import BadSource, Source
from gatepost.feeds.keys import sign
from gatepost.feeds.manifest import (
    MANIFEST_FILE,
    MANIFEST_FORMAT,
    NAME_FORM,
    PATH_FORM,
    SIGNATURE_FILE,
    TRIAL,
    BadSet,
    DatabaseSet,
    FileEntry,
    Kind,
    Manifest,
)
from gatepost.feeds.trial_samples import unwrap_samples
from gatepost.storage.whole_file import replace_file


def build_set(
    directory: Path,
    name: str,
    number: int,
    issued: dt.date,
    keys: Sequence[Ed25519PrivateKey],
    kind: Kind = Kind.ANTIVIRUS,
) -> DatabaseSet:
    """Compile every file below `directory`, write manifest and signature. BadSource, BadSet, OSError."""
    if NAME_FORM.match(name) is None:
        raise BadSet(f"{name!r} is no name of a set: small letters, digits, - and _")
    files = [Source(path, (directory / path).read_bytes(), name) for path in sorted(_list_files(directory))]
    sources = [each for each in files if not each.path.startswith(TRIAL)]
    if not sources:
        raise BadSet(f"{directory}: no files to make a set of")
    unwrap_samples(each for each in files if each.path.startswith(TRIAL))
    if kind is Kind.ANTISPAM:
        _compile_spam(name, sources)
        counts = {source.path: antispam.count_records(source.data) for source in sources}
    else:
        counts = {source.path: count_records(source) for source in sources}
    entries = tuple(
        FileEntry(each.path, len(each.data), hashlib.sha256(each.data).hexdigest(), counts.get(each.path, 0))
        for each in files
    )
    manifest = Manifest(MANIFEST_FORMAT, name, number, issued, sum(counts.values()), entries, kind)
    raw = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    # The signature first: a reader in between sees a manifest that its signature does not fit, and refuses.
    replace_file(directory / SIGNATURE_FILE, sign(raw, keys), mode=0o644)
    replace_file(directory / MANIFEST_FILE, raw, mode=0o644)
    return DatabaseSet(directory, manifest, hashlib.sha256(raw).hexdigest())


def _compile_spam(name: str, sources: Sequence[Source]) -> None:
    """Let every check read the files. BadSource."""
    own = {source.path: source.data for source in sources}
    base = {} if name == antispam.BASE_SET else antispam.load_packaged().files
    try:
        build_checks(antispam.merge_sets([(antispam.BASE_SET, base), (name, own)]))
    except ValueError as error:
        raise BadSource(str(error)) from None


def _list_files(directory: Path) -> Iterable[str]:
    for place in directory.rglob("*"):
        path = place.relative_to(directory).as_posix()
        if not place.is_file() or path in {MANIFEST_FILE, SIGNATURE_FILE}:
            continue
        if PATH_FORM.match(path) is None or place.is_symlink():
            raise BadSource(f"{path}: not a name a file of a set may have")
        yield path
