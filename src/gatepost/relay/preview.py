"""Kept messages looked into for an administrator: how one is shown, what it teaches, what it is told to UDS as.

Called by `relay.questions`. A relay reads the message, out of a store or its own queue, and hands it to a filter, which
alone looks inside; nothing is scanned or changed. An answer that may be large is left as a file for the master.
"""

import asyncio
import base64
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.spam import SpamOptions
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.work import read_content
from gatepost.spool.interface import Corrupt, SpoolError
from gatepost.storage.container import Damaged
from gatepost.storage.store import Store
from gatepost.wire.uds import Report

SIZE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a message that are read: what is shown stands at its beginning, attachments behind it."""
DEADLINE_S: Final = 10.0
"""Time a filter has for it: somebody waits."""
NO_PREVIEW: Final = "no preview: the filters do not show messages yet, try again in a moment"

Arguments = Mapping[str, Any]


class KeptMail:
    """What a relay says of kept messages."""

    def __init__(
        self,
        *,
        pipelines: Callable[[], Sequence[Pipeline]],
        pool: FilterPool,
        network: NetworkService,
        config: Callable[[], Config],
    ) -> None:
        self._pipelines = pipelines
        self._pool = pool
        self._network = network
        self._config = config
        self._numbers = itertools.count()

    async def preview(self, arguments: Arguments) -> str | None:
        """Leave a `model.preview.Preview` as JSON in a file below `directory`, and return its path; None: this relay
        has no such message. SpoolError, OSError, ValueError.
        """
        content = await self._content(arguments)
        if content is None:
            return None
        shown = (await self._look(content, ScanOptions(scan=False, preview=True, deadline_s=DEADLINE_S))).preview
        if shown is None:
            raise ValueError(NO_PREVIEW)
        if len(content) >= SIZE_LIMIT:
            shown = msgspec.structs.replace(shown, cut=True)
        path = Path(str(arguments["directory"])) / f"preview-{os.getpid()}-{next(self._numbers)}.json"
        told = msgspec.structs.asdict(shown) | {"parts": [msgspec.structs.asdict(part) for part in shown.parts]}
        await asyncio.to_thread(_write, path, msgspec.json.encode(told))
        return str(path)

    async def lesson(self, arguments: Arguments) -> str | None:
        """Return what a message can teach, in base64, "" for nothing; None: this relay has no such message."""
        content = await self._content(arguments)
        return base64.b64encode(await self.lesson_of(content)).decode() if content is not None else None

    async def lesson_of(self, content: bytes) -> bytes:
        """Return what a message can teach, b"" for nothing. ValueError, OSError."""
        config = self._config()
        options = SpamOptions(
            learn=True, hostname=config.network.hostname, header_prefix=config.antispam.header_prefix, images=False
        )
        spam = (await self._look(content, ScanOptions(scan=False, spam=options, deadline_s=DEADLINE_S))).spam
        return spam.lesson if spam is not None else b""

    async def tell_uds(self, arguments: Arguments) -> dict[str, str] | None:
        """Tell every UDS server that a message is spam, or is not; return what is wrong by server, "" for nothing.
        None: this relay has no such message. ValueError: UDS is off, or there is nothing of it that could be told.
        """
        content = await self._content(arguments)
        if content is None:
            return None
        options = SpamOptions(headers=False, content=False, images=False, uds=True)
        spam = (await self._look(content, ScanOptions(scan=False, spam=options, deadline_s=DEADLINE_S))).spam
        if spam is None or not spam.fingerprints:
            raise ValueError("it is too short for a fingerprint, nothing is reported")
        return await self._network.tell_uds(spam.fingerprints, Report[str(arguments["report"]).upper()])

    async def _look(self, content: bytes, options: ScanOptions) -> Analysis:
        try:
            return await self._pool.inspect("kept message", content, len(content), options)
        except FilterFailed as error:
            raise ValueError(f"the message cannot be read: {error}") from error
        except FilterUnavailable as error:
            raise OSError(f"no filter is free: {error}") from error

    async def _content(self, arguments: Arguments) -> bytes | None:
        """Return the content of a stored item (`store`, `item`) or of a queued message (`id`), as far as it is read."""
        if "item" in arguments:
            return await asyncio.to_thread(_read_item, str(arguments["store"]), str(arguments["item"]))
        message_id = int(arguments["id"])
        for pipeline in self._pipelines():
            entry = await pipeline.spool.fetch(message_id)
            if isinstance(entry, Corrupt):
                raise SpoolError(f"it cannot be read: {entry.what}")
            if entry is not None and entry.content.in_file:
                return await asyncio.to_thread(_read_file, pipeline.spool.content_file(entry.content))
            if entry is not None:
                return (await read_content(pipeline.spool, entry.content))[:SIZE_LIMIT]
        return None


def _read_item(directory: str, item: str) -> bytes:
    pieces: list[bytes] = []
    left = SIZE_LIMIT
    with Store(directory) as store:
        try:
            for piece in store.content(item):
                pieces.append(piece[:left])
                left -= len(pieces[-1])
                if not left:
                    break
        except Damaged as error:
            raise ValueError(f"damaged: {error}") from error
    return b"".join(pieces)


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(SIZE_LIMIT)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
