"""Writes a queued message out as a file: as it was received, or as it would be sent.

Called by `relay.questions` for `gatepost queue export`. The relay alone can read its spool, so it writes the file, for
its own user only, and the command moves it to where it is wanted.
"""

import asyncio
import os
from pathlib import Path

from gatepost.model.ids import format_queue_id
from gatepost.relay.work import content_chunks, read_content
from gatepost.spool.interface import Corrupt, Spool, SpoolError, Stored


async def export(spool: Spool, message_id: int, directory: str, *, edited: bool) -> str | None:
    """Write one message below `directory`; return the path, None when the message is not in this spool.

    `edited`: with the gateway's own fields and edits, exactly as delivery sends it. SpoolError, OSError.
    """
    entry = await spool.fetch(message_id)
    if entry is None:
        return None
    if isinstance(entry, Corrupt):
        raise SpoolError(f"it cannot be read: {entry.what}")
    path = f"{directory}/{format_queue_id(message_id)}.eml"
    if entry.content.in_file:
        await asyncio.to_thread(_write, entry, None, spool.content_file(entry.content), path, edited=edited)
    else:
        content = await read_content(spool, entry.content)
        await asyncio.to_thread(_write, entry, content, None, path, edited=edited)
    return path


def _write(entry: Stored, content: bytes | None, source: str | None, path: str, *, edited: bool) -> None:
    Path(path).unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    prefix, splices = (entry.prefix, entry.splices) if edited else (b"", ())
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(content_chunks(content, source, entry.content.size, prefix, splices))
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
