"""An update feed: a TUF repository (theupdateframework.io, specification 1.0) of sets of databases, as its owner makes
it.

Called by `gatepost feed`. The directory is all there is: any server of static files serves it, and a copy is a mirror.
Roles: `root` and `targets` are signed by people, by a threshold of keys that can be kept offline; `snapshot` and
`timestamp` by one key on the feed's machine, and run out after days: nobody is kept on an old state unnoticed.
Promises: metadata that refers to others is written last; files once published keep their bytes.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from gatepost.feeds.keys import key_id
from gatepost.feeds.manifest import MANIFEST_FILE, SIGNATURE_FILE, DatabaseSet, check_set, read_set
from gatepost.model.zstandard import zstd
from gatepost.storage.whole_file import replace_file

METADATA: Final = "metadata"
TARGETS: Final = "targets"
ROOT_DAYS: Final = 365
TARGETS_DAYS: Final = 90
ONLINE_DAYS: Final = 3
"""Life of snapshot and timestamp: a feed is renewed every day (`gatepost feed renew`)."""
KEPT_NUMBERS: Final = 3
"""Of each set, the latest are offered: what an installation may still be fetching, or go back to."""
DELTA_LEAST: Final = 16 * 1024
"""Bytes of a file for which a difference is worth a target of its own."""
DELTA_SHARE: Final = 0.5
"""It must be smaller than this share of the file."""
WINDOW_LOG: Final = 27
"""zstd window of differences, 128 MB: a client needs no more memory for any file."""
FILE_MODE: Final = 0o644
"""What is published and what is installed of it is no secret, and is read by others than its writer."""


class FeedError(Exception):
    """The feed cannot be made or changed. The text says why."""


Keys = Sequence[Ed25519PrivateKey]
_Signed = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]


def init_feed(
    place: Path, *, root: Keys, root_threshold: int, targets: Keys, targets_threshold: int, online: Ed25519PrivateKey,
    now: dt.datetime,
) -> None:  # fmt: skip
    """Make an empty feed. FeedError, OSError."""
    if (place / METADATA).exists():
        raise FeedError(f"{place}: there is a feed already")
    made = Metadata(Root(expires=_in_days(now, ROOT_DAYS), consistent_snapshot=True))
    signed = made.signed
    if not set(map(_identify, root)).isdisjoint(map(_identify, [*targets, online])):
        raise FeedError("a key of root must have no other role: with it alone everything could be changed")
    _assign(signed, "root", root, root_threshold)
    _assign(signed, "targets", targets, targets_threshold)
    for role in (Snapshot.type, Timestamp.type):
        _assign(signed, role, [online], 1)
    _sign(made, root)
    first = Metadata(Targets(expires=_in_days(now, TARGETS_DAYS)))
    _sign(first, targets)
    _check_signed(signed, Root.type, made)
    _check_signed(signed, Targets.type, first)
    (place / METADATA).mkdir(parents=True)
    (place / TARGETS).mkdir(exist_ok=True)
    _write(place, "1.root", made)
    replace_file(place / METADATA / "root.json", made.to_bytes(), mode=FILE_MODE)
    _write(place, "1.targets", first)
    _publish_snapshot(place, 1, online, now)


def publish(place: Path, sets: Iterable[Path], targets: Keys, online: Ed25519PrivateKey, now: dt.datetime) -> list[str]:
    """Add sets to a feed, with differences to what it had; return names and numbers. FeedError, BadSet, OSError."""
    offered = _read_targets(place)
    signed = offered.signed
    names = []
    for directory in sets:
        database = read_set(directory, None)
        check_set(database)
        manifest = database.manifest
        prefix = f"{manifest.kind}/{manifest.name}-{manifest.number}/"
        if any(name.startswith(prefix) for name in signed.targets):
            told = f"{manifest.name} {manifest.number}"
            raise FeedError(f"{directory}: {told} is in the feed already; give it a new number")
        for path in (MANIFEST_FILE, SIGNATURE_FILE, *(entry.path for entry in manifest.files)):
            _add_target(place, signed, prefix + path, (directory / path).read_bytes())
        _add_differences(place, signed, database)
        _drop_old(signed, f"{manifest.kind}/{manifest.name}-")
        names.append(f"{manifest.name} {manifest.number}")
    _publish_targets(place, offered, targets, online, now)
    _sweep(place, signed)
    return names


def renew(place: Path, online: Ed25519PrivateKey, now: dt.datetime) -> dt.datetime:
    """Sign the present state anew; return when that runs out. FeedError, OSError."""
    return _publish_snapshot(place, _read_targets(place).signed.version, online, now)


def change_keys(
    place: Path, role: str, keys: Keys, threshold: int, *, before: Keys, root: Keys, now: dt.datetime
) -> int:
    """Give a role other keys; return the number of the new root. `root`: the keys that root has from now on, `before`:
    those it had. FeedError, OSError.
    """
    root_file = Metadata[Root].from_file(str(place / METADATA / "root.json"))
    signed = root_file.signed
    if role not in signed.roles:
        raise FeedError(f"{role!r} is none of {', '.join(signed.roles)}")
    for key in list(signed.roles[role].keyids):
        signed.revoke_key(key, role)
    _assign(signed, role, keys, threshold)
    signed.version += 1
    signed.expires = _in_days(now, ROOT_DAYS)
    # A new root must be signed by the threshold of the old one and by its own.
    _sign(root_file, [*before, *root])
    for each in (_read_root(place), signed):
        _check_signed(each, Root.type, root_file)
    _write(place, f"{signed.version}.root", root_file)
    replace_file(place / METADATA / "root.json", root_file.to_bytes(), mode=FILE_MODE)
    return signed.version


def sign_targets_again(place: Path, targets: Keys, online: Ed25519PrivateKey, now: dt.datetime) -> None:
    """Sign what is offered with other keys, after they were changed. FeedError, OSError."""
    _publish_targets(place, _read_targets(place), targets, online, now)


def latest_number(signed: Targets, prefix: str) -> list[int]:
    """Return the numbers of the sets whose targets begin with `prefix` ("antivirus/base-"), the newest first."""
    numbers = {
        int(number)
        for name in signed.targets
        if name.startswith(prefix) and (number := name[len(prefix) :].partition("/")[0]).isdecimal()
    }
    return sorted(numbers, reverse=True)


def delta_name(path: str, before: str) -> str:
    """Return the target that holds the difference from a file with this SHA-256."""
    return f"{path}.from-{before[:32]}"


def build_delta(before: bytes, after: bytes) -> bytes:
    """Return `after` as a difference to `before`."""
    parameters = zstd.CompressionParameter
    options = {int(parameters.window_log): WINDOW_LOG, int(parameters.compression_level): 9}
    return zstd.compress(after, options=options, zstd_dict=zstd.ZstdDict(before, is_raw=True).as_prefix)


def _add_differences(place: Path, signed: Targets, database: DatabaseSet) -> None:
    manifest = database.manifest
    family = f"{manifest.kind}/{manifest.name}-"
    previous = [number for number in latest_number(signed, family) if number != manifest.number][: KEPT_NUMBERS - 1]
    for number in previous:
        for entry in manifest.files:
            old = signed.targets.get(f"{family}{number}/{entry.path}")
            if old is None or old.hashes["sha256"] == entry.sha256 or entry.size < DELTA_LEAST or not old.length:
                continue
            before = _stored(place, old.path, old.hashes["sha256"]).read_bytes()
            delta = build_delta(before, (database.directory / entry.path).read_bytes())
            if len(delta) < DELTA_SHARE * entry.size:
                name = delta_name(f"{family}{manifest.number}/{entry.path}", old.hashes["sha256"])
                _add_target(place, signed, name, delta)


def _drop_old(signed: Targets, family: str) -> None:
    kept = {f"{family}{number}/" for number in latest_number(signed, family)[:KEPT_NUMBERS]}
    for name in [name for name in signed.targets if name.startswith(family)]:
        number = name[len(family) :].partition("/")[0]
        if number.isdecimal() and f"{family}{number}/" not in kept:
            del signed.targets[name]


def _add_target(place: Path, signed: Targets, name: str, data: bytes) -> None:
    target = TargetFile.from_data(name, data, ["sha256"])
    stored = _stored(place, name, target.hashes["sha256"])
    stored.parent.mkdir(parents=True, exist_ok=True)
    replace_file(stored, data, mode=FILE_MODE)
    signed.targets[name] = target


def _stored(place: Path, name: str, digest: str) -> Path:
    """Return where a target lies: its hash is in its file's name (consistent snapshots, specification 6.2)."""
    path = place / TARGETS / name
    return path.with_name(f"{digest}.{path.name}")


def _sweep(place: Path, signed: Targets) -> None:
    """Remove the files of sets that are no longer offered, but for those of the last state: it is still being read."""
    previous = place / METADATA / f"{signed.version - 1}.targets.json"
    named = list(signed.targets.values())
    if previous.exists():
        named += Metadata[Targets].from_file(str(previous)).signed.targets.values()
    kept = {_stored(place, each.path, each.hashes["sha256"]) for each in named}
    for path in sorted((place / TARGETS).rglob("*"), reverse=True):
        if path.is_file() and path not in kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _publish_targets(
    place: Path, offered: "Metadata[Targets]", targets: Keys, online: Ed25519PrivateKey, now: dt.datetime
) -> None:
    signed = offered.signed
    signed.version += 1
    signed.expires = _in_days(now, TARGETS_DAYS)
    _sign(offered, targets)
    _check_signed(_read_root(place), Targets.type, offered)
    _write(place, f"{signed.version}.targets", offered)
    _publish_snapshot(place, signed.version, online, now)


def _publish_snapshot(place: Path, targets_version: int, online: Ed25519PrivateKey, now: dt.datetime) -> dt.datetime:
    timestamp_file = place / METADATA / "timestamp.json"
    version = 1
    if timestamp_file.exists():
        version = Metadata[Timestamp].from_file(str(timestamp_file)).signed.version + 1
    expires = _in_days(now, ONLINE_DAYS)
    snapshot = Metadata(Snapshot(version=version, expires=expires, meta={"targets.json": MetaFile(targets_version)}))
    _sign(snapshot, [online])
    _check_signed(_read_root(place), Snapshot.type, snapshot)
    _write(place, f"{version}.snapshot", snapshot)
    raw = snapshot.to_bytes()
    described = MetaFile(version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})
    timestamp = Metadata(Timestamp(version=version, expires=expires, snapshot_meta=described))
    _sign(timestamp, [online])
    _check_signed(_read_root(place), Timestamp.type, timestamp)
    replace_file(timestamp_file, timestamp.to_bytes(), mode=FILE_MODE)
    for old in (place / METADATA).glob("*.snapshot.json"):
        if int(old.name.partition(".")[0]) < version - 1:
            old.unlink()
    return expires


def _read_targets(place: Path) -> "Metadata[Targets]":
    versions = [int(path.name.partition(".")[0]) for path in (place / METADATA).glob("*.targets.json")]
    if not versions:
        raise FeedError(f"{place}: no feed; `gatepost feed init` makes one")
    return Metadata[Targets].from_file(str(place / METADATA / f"{max(versions)}.targets.json"))


def _read_root(place: Path) -> Root:
    return Metadata[Root].from_file(str(place / METADATA / "root.json")).signed


def _check_signed(root: Root, role: str, metadata: _Signed) -> None:
    """Refuse to publish what no installation would believe. FeedError."""
    found = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    if not found:
        text = f"{role} needs {found.threshold} of its {len(root.roles[role].keyids)} key(s), {len(found.signed)} given"
        raise FeedError(f"{text}; nothing was published")


def _identify(key: Ed25519PrivateKey) -> str:
    return key_id(key.public_key())


def _assign(signed: Root, role: str, keys: Keys, threshold: int) -> None:
    if not 1 <= threshold <= len(keys):
        raise FeedError(f"{role}: a threshold of {threshold} with {len(keys)} key(s)")
    for key in keys:
        signed.add_key(CryptoSigner(key).public_key, role)
    signed.roles[role].threshold = threshold


def _sign(metadata: _Signed, keys: Keys) -> None:
    metadata.signatures.clear()
    for key in keys:
        metadata.sign(CryptoSigner(key), append=True)


def _write(place: Path, name: str, metadata: "Metadata[Root] | Metadata[Targets] | Metadata[Snapshot]") -> None:
    replace_file(place / METADATA / f"{name}.json", metadata.to_bytes(), mode=FILE_MODE)


def _in_days(now: dt.datetime, days: int) -> dt.datetime:
    return (now + dt.timedelta(days)).replace(microsecond=0)
