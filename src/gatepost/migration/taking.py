"""Carries out a takeover: mail into queue and stores, files beside it, last the configuration.

Called with the lock of the new state directory held: no gateway runs in it. The other one should not run either, for
what it delivers meanwhile would be delivered twice. Taking again takes what is new: a message of a queue is known by
its content and envelope for thirty days, one of a store by its id.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.migration.carrying import sync_path
from gatepost.migration.envelopes import Told
from gatepost.migration.mail_files import Left, Mail, read_mail
from gatepost.migration.takeover import Source, Takeover
from gatepost.model.envelope import Body, Client, Direction, Envelope, Recipient
from gatepost.model.ids import EPOCH_MS, QueueIds, format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Received
from gatepost.spool.interface import NewMessage, ReleasedAlready, SpoolError, State, Stored
from gatepost.spool.shard import list_shards, shard_directory
from gatepost.spool.writer import SqliteSpool
from gatepost.storage.item import CODES, Item, StoreKind, item_id
from gatepost.storage.layout import Layout, make_durably
from gatepost.storage.store import New, Store

NOBODY: Final = "whom it is for is not known: give the old tool's list (--listing), or put an envelope file beside it"
LOOPBACK: Final = "127.0.0.1"
"""Client of mail of which nobody says where it came from."""
_CODE_OF: Final = {
    StoreKind.INCOMING: "RCV",
    StoreKind.OUTGOING: "SNT",
    StoreKind.QUARANTINE: "ERR",
    StoreKind.BACKUP: "ERR",
    StoreKind.SPAM_QUARANTINE: "SPM",
}
"""Of mail whose status nobody tells; what is kept apart for malware may be anything."""
_FIELD: Final = re.compile(rb"(?im)^(message-id|subject|from):[ \t]*([^\r\n]*)")
_TEXT_LIMIT: Final = 240


class Taken(msgspec.Struct):
    """What came of a takeover."""

    taken: Counter[str] = msgspec.field(default_factory=Counter)
    """Messages and files by the directory they were in."""
    before: Counter[str] = msgspec.field(default_factory=Counter)
    """Those that had been taken before."""
    left: list[Left] = []


def take_over(plan: Takeover, listing: dict[str, Told], now: float, *, dry_run: bool) -> Taken:
    """Take everything, or only count what would be. OSError, SpoolError: what was taken so far stays."""
    taken = Taken(left=[Left(name, why) for name, why in plan.left])
    for source, target in plan.files:
        if not dry_run:
            _copy_file(source, target)
        taken.taken[str(source.parent)] += 1
    for each in plan.sources:
        if each.kind is None and list_shards(str(each.directory)):
            _take_shards(each, taken, dry_run=dry_run)
        elif each.kind is not None and (each.directory / "messages").is_dir():
            _take_items(each, taken, dry_run=dry_run)
        elif dry_run:
            _count(each, listing, taken)
        elif each.kind is None:
            asyncio.run(_fill_queue(each, plan.config, listing, taken, now))
        else:
            _fill_store(each, listing, taken, now)
    if not dry_run:
        _give(Path(plan.config.relay.state_path))
    return taken


def _give(state: Path) -> None:
    """Give what root has made to whose the state directory is."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid:
        for path in state.rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with source.open("rb") as read, os.fdopen(descriptor, "wb") as written:
        shutil.copyfileobj(read, written)


def _sendable(source: Source, mail: Mail) -> bool:
    return mail.told is not None and not (source.kind is None and mail.told.guessed)


def _mails(source: Source, listing: dict[str, Told], taken: Taken) -> Iterator[tuple[Mail, Told]]:
    for found in read_mail(source.directory, listing):
        if isinstance(found, Left):
            taken.left.append(found)
        elif found.told is None or not _sendable(source, found):
            taken.left.append(Left(found.name, NOBODY))
        else:
            yield found, found.told


def _count(source: Source, listing: dict[str, Told], taken: Taken) -> None:
    for _ in _mails(source, listing, taken):
        taken.taken[str(source.directory)] += 1


# --- the queue


async def _fill_queue(source: Source, config: Config, listing: dict[str, Told], taken: Taken, now: float) -> None:
    spool = SqliteSpool.open(shard_directory(source.target, 0), asyncio.get_running_loop())
    await spool.start()
    try:
        ids = QueueIds(0, 0, spool.last_id)
        protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
        for mail, told in _mails(source, listing, taken):
            number = ids.next(int(now * 1000))
            staged = spool.stage(number)
            staged.write(mail.content)
            envelope = build_envelope(told, mail.content, protected)
            stored = Stored(number, number, State.WAITING, now, envelope, staged.ref, b"")
            record = _record(stored, mail.content, now)
            try:
                await spool.accept(NewMessage(stored, staged), [record], release=_release_id(mail, told))
                taken.taken[str(source.directory)] += 1
            except ReleasedAlready:
                staged.discard()
                taken.before[str(source.directory)] += 1
    finally:
        await spool.close()


def _release_id(mail: Mail, told: Told) -> str:
    digest = hashlib.sha256(mail.content)
    digest.update("\0".join((told.sender, *told.recipients)).encode("utf-8", "surrogateescape"))
    return f"takeover-{digest.hexdigest()}"


def build_envelope(told: Told, content: bytes, protected: MaskSet) -> Envelope:
    """Return the envelope of a message. It was let in where it came from: to others than us it is outbound."""
    recipients = tuple(Recipient(address) for address in told.recipients)
    ours = all(protected.matches(address) for address in told.recipients)
    addresses = (told.sender, *told.recipients)
    return Envelope(
        told.sender,
        recipients,
        Client(told.client or LOOPBACK, helo=told.helo),
        Body.SEVEN_BIT if content.isascii() else Body.EIGHT_BIT,
        smtputf8=not all(address.isascii() for address in addresses),
        direction=Direction.INBOUND if ours else Direction.OUTBOUND,
    )


def _fields(content: bytes) -> dict[str, str]:
    header = content[: content.find(b"\r\n\r\n") + 2] or content
    found = {name.decode().lower(): value for name, value in reversed(_FIELD.findall(header))}
    return {name: value.decode("utf-8", "replace").strip()[:_TEXT_LIMIT] for name, value in found.items()}


def _record(stored: Stored, content: bytes, now: float) -> Received:
    envelope = stored.envelope
    addresses = tuple(recipient.address for recipient in envelope.recipients)
    return Received(
        stored.id,
        now,
        envelope.sender,
        len(addresses),
        len(content),
        envelope.client.ip,
        envelope.client.helo,
        _fields(content).get("message-id", ""),
        "",
        addresses=addresses[:ADDRESSES_TOLD],
        direction=envelope.direction.value,
        body=envelope.body.value,
    )


def _take_shards(source: Source, taken: Taken, *, dry_run: bool) -> None:
    """Take a queue of ours as it is: an earlier format is brought up at the start. SpoolError: it is in use."""
    for number in list_shards(str(source.directory)):
        old, new = (Path(shard_directory(queue, number)) for queue in (str(source.directory), source.target))
        if new.exists():
            taken.left.append(Left(str(old), f"there is {new} already: it was taken before, or is another's"))
            continue
        if not dry_run:
            _copy_shard(old, new)
        taken.taken[str(old)] += 1


def _copy_shard(old: Path, new: Path) -> None:
    fresh = new.with_name(f".{new.name}.coming")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(0o700, parents=True)
    if (old / "content").is_dir():
        shutil.copytree(old / "content", fresh / "content")
    names = [name for name in ("spool.db", "spool.db-wal") if (old / name).exists()]
    with _unused(old):
        for name in names:
            shutil.copyfile(old / name, fresh / name)
    connection = apsw.Connection(str(fresh / "spool.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise SpoolError(f"{old}/spool.db is damaged")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
    for place in (*fresh.rglob("*"), fresh):
        sync_path(place)
    fresh.rename(new)
    sync_path(new.parent)


@contextlib.contextmanager
def _unused(shard: Path) -> Iterator[None]:
    """Hold the lock of another installation's shard, when there is one. SpoolError: a gateway works in it."""
    try:
        descriptor = os.open(shard / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpoolError(f"{shard} is in use: stop the gateway that works in it first") from error
        yield
    finally:
        os.close(descriptor)


# --- stores


def _fill_store(source: Source, listing: dict[str, Told], taken: Taken, now: float) -> None:
    assert source.kind is not None
    with Store(source.target, create=True) as store:
        for mail, told in _mails(source, listing, taken):
            item = _build_item(source.kind, mail, told, now)
            if store.row(item.id) is not None:
                taken.before[str(source.directory)] += 1
                continue
            [outcome] = store.put([New(item, _pieces(mail.content))])
            if outcome is not None:
                raise OSError(f"{mail.name}: {outcome}")
            taken.taken[str(source.directory)] += 1


def _pieces(content: bytes) -> Callable[[], list[bytes]]:
    return lambda: [content]


def _build_item(kind: StoreKind, mail: Mail, told: Told, now: float) -> Item:
    """Return a message as our stores keep it. Its id follows from where it lay and what it says."""
    moment = max(int(mail.at * 1000) - EPOCH_MS, 1)
    digest = hashlib.sha256(os.fsencode(mail.name) + b"\0" + mail.content).digest()
    number = moment << 22 | int.from_bytes(digest[:3]) & (1 << 22) - 1
    queue_id = format_queue_id(number)
    fields = _fields(mail.content)
    return Item(
        item_id(number, kind),
        kind,
        queue_id,
        queue_id,
        now,
        max(mail.at, EPOCH_MS / 1000),
        build_envelope(told, mail.content, MaskSet(())),
        len(mail.content),
        told.code if told.code in CODES else _CODE_OF[kind],
        reason=f"taken over from {mail.name[-_TEXT_LIMIT:]}"
        + ("; its recipients are those of To and Cc" if told.guessed else ""),
        blocked=kind in {StoreKind.QUARANTINE, StoreKind.SPAM_QUARANTINE},
        subject=fields.get("subject", ""),
        author=fields.get("from", ""),
        message_id=fields.get("message-id", ""),
    )


def _take_items(source: Source, taken: Taken, *, dry_run: bool) -> None:
    """Take a store of ours, file by file as it is; the index is made anew."""
    old, new = Layout(str(source.directory)), Layout(source.target)
    for each in old.item_ids():
        target = Path(new.path_of(each))
        if target.exists():
            taken.before[str(source.directory)] += 1
            continue
        if not dry_run:
            new.make()
            make_durably(str(target.parent))
            coming = Path(new.coming, f"{each}.takeover")
            shutil.copyfile(old.path_of(each), coming)
            coming.chmod(0o600)
            sync_path(coming)
            coming.rename(target)
            sync_path(target.parent)
        taken.taken[str(source.directory)] += 1
    if not dry_run and new.exists:
        with Store(source.target) as store:
            store.reindex()
