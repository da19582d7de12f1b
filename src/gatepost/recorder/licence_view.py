"""What the licence counts, out of the relays' records: protected addresses that got mail, and bytes received.

A view of the recorder; it does nothing while the licence limits nothing.
"""

from pathlib import Path

from gatepost.config.masks import MaskSet
from gatepost.licence.usage import FILE, UsageBook
from gatepost.model.record import Delivered, Received
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.view import Batch


class LicenceView:
    """Counts in a file of its own."""

    def __init__(self) -> None:
        self._book: UsageBook | None = None
        self._protected = MaskSet(())

    def configure(self, settings: RecorderSettings) -> None:
        """Open the file when something is to be counted."""
        self._protected = MaskSet(f"*@{domain}" for domain in settings.licensed_domains)
        if settings.counts_usage and self._book is None:
            self._book = UsageBook(Path(settings.directory) / FILE)
        elif not settings.counts_usage:
            self.close()

    def consume(self, batch: Batch) -> None:
        """Count what was not counted before."""
        book = self._book
        if book is None:
            return
        known = book.fresh(batch.source, batch.first, len(batch.records))
        for record in batch.records[known:]:
            if isinstance(record, Received):
                book.add_bytes(record.size, record.at)
            elif isinstance(record, Delivered) and record.sent and self._protected.matches(record.recipient):
                book.add_address(record.recipient, record.at)

    def flush(self) -> None:
        """Make it durable."""
        if self._book is not None:
            self._book.flush()

    def close(self) -> None:
        """Make it durable and close."""
        if self._book is not None:
            self._book.close()
            self._book = None
