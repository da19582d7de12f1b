"""Which stores and which stored messages a command means.

Used by `gatepost quarantine`, `backup` and `archive`. Stores are read and cleared in place, beside a running gateway or
without one; whoever may not use the directory is told so.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.choice import option, parse_age
from gatepost.cli.gateway import EXIT_BAD_OPTIONS, EXIT_SYSTEM, EXIT_UNREADABLE, complain
from gatepost.config.load import load
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.spool import clock
from gatepost.storage.collection import Collection
from gatepost.storage.item import StoreKind, parse_item_id
from gatepost.storage.layout import Layout
from gatepost.storage.places import StorePlace, store_places
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store, StoreError, UnknownStore

Words = list[str] | None


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class ChosenItems:
    """A filter as options; each may be given several times, one of its values must match."""

    status: Annotated[Words, option("status", "RCV, SNT, CLN, CRD, SSP, PRT, ERR, FLT, INF, SPM, PSP, FRM or BLK")] = (
        None
    )
    sender: Annotated[Words, option("sender", "mask of the sender, without @ of its domain; <> for reports")] = None
    recipient: Annotated[Words, option("recipient", "mask of a recipient")] = None
    subject: Annotated[Words, option("subject", "part of the subject")] = None
    threat: Annotated[Words, option("threat", "part of a threat's name")] = None
    group: Annotated[Words, option("group", "group whose copy it is")] = None
    state: Annotated[Words, option("state", "stored, releasing or released")] = None
    text: Annotated[str, option("text", "words of subject, addresses, file and threat names")] = ""
    older: Annotated[str, option("older", "stored for longer than 90s, 15m, 4h, 2d …")] = ""
    younger: Annotated[str, option("younger", "stored for less than that")] = ""

    def build(self) -> ItemFilter:
        """Return the filter; ValueError with a sentence."""
        chosen = ItemFilter(
            codes=tuple(status.upper() for status in self.status or ()),
            senders=tuple(self.sender or ()),
            recipients=tuple(self.recipient or ()),
            groups=tuple(self.group or ()),
            subjects=tuple(self.subject or ()),
            threats=tuple(self.threat or ()),
            states=tuple(state.lower() for state in self.state or ()),
            text=self.text,
            older_than_s=parse_age(self.older),
            younger_than_s=parse_age(self.younger),
        )
        chosen.check()
        return chosen


EVERYTHING = ItemFilter()


class Failed(Exception):  # noqa: N818 - ends a command
    """A command cannot go on: what to say, and the code to end with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code

    def say(self) -> int:
        """Say it; return the code."""
        return complain(str(self), self.code)


class SeveralItems(ValueError):  # noqa: N818 - named for what is wrong
    """A queue id means more than one item: the text names them."""


class Stores(Collection):
    """The stores one command works on."""

    def __init__(self, kinds: Sequence[StoreKind], conf_file: Path, path: Path | None) -> None:
        """Those of these kinds that the configuration names, or the one in the directory `path`. `Failed`."""
        if path is not None:
            places = [StorePlace(kind, str(path.absolute())) for kind in kinds[:1]]
            self._elsewhere: list[StorePlace] = []
        else:
            loaded = load(conf_file)
            if loaded.config is None:
                raise Failed("\n".join(str(problem) for problem in loaded.errors), EXIT_BAD_OPTIONS)
            clock.follow_record(loaded.config.relay.state_path)
            configured = store_places(loaded.config)
            places = [place for place in configured if place.kind in kinds]
            self._elsewhere = [place for place in configured if place.kind not in kinds]
        super().__init__(places, self._report)
        # In a directory that was named everything is meant, whatever it is called.
        self.kinds = () if path is not None else tuple(kind.value for kind in kinds)
        if path is not None and not self._stores[0].layout.exists:
            readable = os.access(path, os.R_OK | os.X_OK)
            why = "there is no store" if readable else "it cannot be read"
            raise Failed(f"{path}: {why}", EXIT_UNREADABLE)

    @staticmethod
    def _report(_level: str, text: str) -> None:
        complain(text, 0)

    def each(self) -> Iterator[Store]:
        """Yield the stores there are; one that has never been used is passed over. `Failed` when one is unreadable."""
        for store in self._stores:
            try:
                try:
                    os.lstat(store.layout.directory)
                except FileNotFoundError:
                    continue
                store.totals(EVERYTHING, 0.0)
                yield store
            except UnknownStore as error:
                if not os.access(store.layout.directory, os.R_OK | os.X_OK):
                    raise Failed(f"{store.layout.directory}: it cannot be read", EXIT_UNREADABLE) from error
            except PermissionError as error:
                text = f"{store.layout.directory}: {error.strerror}: run this as the gateway's user or root"
                raise Failed(text, EXIT_UNREADABLE) from error
            except OSError as error:
                raise Failed(str(error), EXIT_SYSTEM) from error

    def find(self, text: str) -> tuple[Store, str]:
        """Return the store that holds an item, and its id in the usual spelling; a queue id means the one item of that
        message, or of that copy. ValueError, `Failed`, StoreError.
        """
        queue_id = _queue_id(text)
        if queue_id:
            return self._find_message(queue_id)
        held = self.holding(text)
        if held is not None:
            return held
        item_id = parse_item_id(text)
        for store in self.each():
            row = store.row(item_id)
            if row is not None:
                file, mend = store.layout.path_of(item_id), _command(StoreKind(row.store), "reindex")
                raise StoreError(f"{item_id} is listed, but its file is gone: {file}; {mend} takes it off the list")
        kinds = [place.kind for place in self._elsewhere if Path(Layout(place.directory).path_of(item_id)).exists()]
        raise StoreError(f"{item_id}: no such message here" + _elsewhere(kinds, item_id))

    def _find_message(self, queue_id: str) -> tuple[Store, str]:
        found = self.items_of(queue_id)
        if len(found) == 1:
            return self.find(found[0][1].id)
        if found:
            told = "; ".join(
                f"{row.id} ({row.store}, for {', '.join(row.recipients)})" for _, row in found[:_TOLD_ITEMS]
            )
            raise SeveralItems(f"{queue_id}: {len(found)} stored messages, name one: {told}")
        kinds = [
            place.kind
            for place in self._elsewhere
            if Layout(place.directory).exists and Collection([place]).items_of(queue_id)
        ]
        raise StoreError(f"{queue_id}: no such message here" + _elsewhere(kinds, queue_id))

    def explain_empty(self, chosen: ItemFilter = EVERYTHING) -> str:
        """Return why nothing is found here, as far as that can be told; "" = no idea."""
        if not self.places:
            return f"nothing is kept here: {' and '.join(_PARAMETERS[StoreKind(kind)] for kind in self.kinds)} not set"
        others = {
            place.kind: Collection([place]).totals(chosen).items
            for place in self._elsewhere
            if Layout(place.directory).exists
        }
        return ", ".join(f"{count} in {_command(kind, 'list')}" for kind, count in others.items() if count)


_TOLD_ITEMS = 20
"""Items named where one was asked for."""
_COMMANDS = {
    StoreKind.INCOMING: ("archive", " --incoming"),
    StoreKind.OUTGOING: ("archive", " --outgoing"),
    StoreKind.QUARANTINE: ("quarantine", ""),
    StoreKind.BACKUP: ("backup", ""),
    StoreKind.SPAM_QUARANTINE: ("quarantine", " --spam"),
}
_PARAMETERS = {
    StoreKind.INCOMING: "path.incoming_archive_path",
    StoreKind.OUTGOING: "path.outgoing_archive_path",
    StoreKind.QUARANTINE: "policy.quarantine_path",
    StoreKind.BACKUP: "policy.backup_path",
    StoreKind.SPAM_QUARANTINE: "policy.spam_quarantine_path",
}


def _command(kind: StoreKind, words: str) -> str:
    name, options = _COMMANDS[kind]
    return f"`gatepost {name} {words}{options}`"


def _elsewhere(kinds: Sequence[StoreKind], item: str) -> str:
    return f"; try {' or '.join(_command(kind, f'show {item}') for kind in dict.fromkeys(kinds))}" if kinds else ""


def _queue_id(text: str) -> str:
    """Return a queue id in its usual spelling, "" for a text that is none."""
    try:
        return format_queue_id(parse_queue_id(text.strip()))
    except ValueError:
        return ""
