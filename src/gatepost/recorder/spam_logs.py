"""Statistics log and user log of anti-spam (`filter_stat_log_file`, `filter_user_log_file`): a line for each verdict.

The statistics log has a line for each message and group, the user log one for each recipient, for mail of the gateway's
own and at doors alike. Fields are separated by TAB:

- `Time QueueId Size Client Sender Recipients Group Status Rate Methods Action`
- `Time QueueId Recipient Group Status Rate Action`

A view of the records (`recorder.view`): what is checked is written at the next flush, at most a second later. A file
that cannot be written is told in the log, the lines are lost, and nothing else waits.
"""

import datetime as dt
from collections.abc import Callable, Iterator

from gatepost.model.ids import format_queue_id
from gatepost.model.record import SpamChecked
from gatepost.recorder.av_record import FileTarget, join_field
from gatepost.recorder.envelopes import Envelopes, Kept
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.view import Batch

Say = Callable[[str, str], None]


def build_stat_lines(record: SpamChecked, kept: Kept) -> Iterator[str]:
    """Yield the line of a message's verdict, with its end."""
    yield _line(
        record,
        str(kept.size),
        kept.ip,
        join_field((kept.sender,)),
        str(record.recipients),
        join_field((record.group,)),
        record.status,
        str(record.rate),
        join_field(record.methods),
        record.action,
    )


def build_user_lines(record: SpamChecked, kept: Kept) -> Iterator[str]:
    """Yield a line for each recipient, with its end."""
    verdict = (join_field((record.group,)), record.status, str(record.rate), record.action)
    for recipient in kept.recipients:
        yield _line(record, join_field((recipient,)), *verdict)


def _line(record: SpamChecked, *fields: str) -> str:
    moment = dt.datetime.fromtimestamp(int(record.at), dt.UTC)
    return "\t".join((f"{moment:%Y-%m-%dT%H:%M:%SZ}", format_queue_id(record.id), *fields)) + "\n"


class _Log:
    """One of the two files."""

    def __init__(self, what: str, build: Callable[[SpamChecked, Kept], Iterator[str]], say: Say) -> None:
        self._what = what
        self._build = build
        self._say = say
        self._path = ""
        self._target: FileTarget | None = None
        self._failed = False

    @property
    def wanted(self) -> bool:
        return bool(self._path)

    def configure(self, path: str) -> None:
        """Take a path, "" for none; opened anew after a rotation."""
        self.close()
        self._path = path
        self._failed = False

    def write(self, checked: list[tuple[SpamChecked, Kept]]) -> None:
        lines = [line for record, kept in checked for line in self._build(record, kept)] if self._path else []
        if not lines:
            return
        try:
            if self._target is not None and not self._target.current:
                self.close()
            if self._target is None:
                self._target = FileTarget(self._path)
            self._target.write(lines)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._say("W", f"{self._what}: {self._path}: {error.strerror}: lines are lost, mail goes on")
            self._failed = True

    def close(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None


class SpamLogs:
    """Both logs as a view of the records."""

    def __init__(self, say: Say) -> None:
        """`say(level, text)` logs."""
        self._statistics = _Log("statistics log", build_stat_lines, say)
        self._users = _Log("user log", build_user_lines, say)
        self._envelopes = Envelopes()
        self._checked: list[SpamChecked] = []

    def configure(self, settings: RecorderSettings) -> None:
        """Take the paths, and open the files anew."""
        self.flush()
        self._statistics.configure(settings.spam_statistics)
        self._users.configure(settings.spam_users)

    def consume(self, batch: Batch) -> None:
        """Take records."""
        if not (self._statistics.wanted or self._users.wanted):
            return
        for record in batch.records:
            if isinstance(record, SpamChecked):
                self._checked.append(record)
            else:
                self._envelopes.take(record)

    def flush(self) -> None:
        """Write what was checked. What tells of it may have come after it."""
        if not self._checked:
            return
        checked = [(record, self._envelopes.find(record.id, record.source)) for record in self._checked]
        self._envelopes.forget([(record.id, record.source) for record in self._checked])
        self._checked.clear()
        self._statistics.write(checked)
        self._users.write(checked)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self.flush()
        self._statistics.close()
        self._users.close()
