"""`gatepost quarantine|backup|archive list|search|show|export|release|resend|delete|reindex|prune`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import cyclopts
import msgspec

from gatepost.cli.choice import Yes
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, Caller, ConfigFile
from gatepost.cli.store import (
    LIMIT,
    agree,
    delete_items,
    explain_none,
    export_items,
    guarded,
    learn_items,
    list_items,
    pick,
    prune,
    reindex,
    release_items,
    show_item,
)
from gatepost.cli.store_choice import ChosenItems, Stores
from gatepost.storage.item import StoreKind

DryRun = Annotated[bool, cyclopts.Parameter(name="--dry-run", negative="", help="only say what would be done")]
Everything = Annotated[bool, cyclopts.Parameter(name="--all", negative="", help="all messages")]
Item = Annotated[str, cyclopts.Parameter(help="id of a message, as list shows it")]
To = Annotated[
    list[str] | None,
    cyclopts.Parameter(name="--to", negative="", consume_multiple=False, help="recipient instead of the original ones"),
]
NoCheck = Annotated[bool, cyclopts.Parameter(name="--no-check", negative="", help="without new checks")]
Again = Annotated[bool, cyclopts.Parameter(name="--again", negative="", help="also what was released before")]
LearnHam = Annotated[
    bool, cyclopts.Parameter(name="--learn-ham", negative="", help="and teach anti-spam that they are wanted")
]
Limit = Annotated[int, cyclopts.Parameter(help="messages shown at most; 0 = all")]
Output = Annotated[Path, cyclopts.Parameter(name=["-o", "--output"], help="directory, or file for a single message")]
Raw = Annotated[bool, cyclopts.Parameter(name="--raw", negative="", help="the message itself")]
NOTHING = ChosenItems()
Command = TypeVar("Command", bound=Callable[..., int])


def _flag(name: str, text: str) -> cyclopts.Parameter:
    return cyclopts.Parameter(name=f"--{name}", negative="", help=text)


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """The stores that are meant."""

    path: Annotated[
        Path | None, cyclopts.Parameter(name="--path", help="a store's directory, instead of the configured ones")
    ] = None
    conf_file: ConfigFile = DEFAULT_FILE

    kinds: ClassVar[tuple[StoreKind, ...]] = ()

    def chosen_kinds(self) -> tuple[StoreKind, ...]:
        """Return the kinds of store that are meant."""
        return self.kinds

    def stores(self) -> Stores:
        """Return the stores. `store_choice.Failed`."""
        return Stores(self.chosen_kinds(), self.conf_file, self.path)


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class WhereQuarantine(Where):
    """Quarantines."""

    spam: Annotated[bool, _flag("spam", "the anti-spam quarantine")] = False

    def chosen_kinds(self) -> tuple[StoreKind, ...]:
        """Return the kind of quarantine that is meant."""
        return (StoreKind.SPAM_QUARANTINE if self.spam else StoreKind.QUARANTINE,)


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class WhereBackup(Where):
    """Backups."""

    kinds: ClassVar[tuple[StoreKind, ...]] = (StoreKind.BACKUP,)


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class WhereArchive(Where):
    """Archives."""

    incoming: Annotated[bool, _flag("incoming", "the archive of accepted messages only")] = False
    outgoing: Annotated[bool, _flag("outgoing", "the archive of sent, blocked and generated messages only")] = False

    def chosen_kinds(self) -> tuple[StoreKind, ...]:
        """Return the kinds of archive that are meant."""
        if self.incoming == self.outgoing:
            return (StoreKind.INCOMING, StoreKind.OUTGOING)
        return (StoreKind.INCOMING,) if self.incoming else (StoreKind.OUTGOING,)


def build_app(name: str, text: str, where_type: type[Where]) -> cyclopts.App:
    """Return the sub-commands for one kind of store."""
    app = cyclopts.App(name=name, help=text)
    here = where_type()

    def add(command: Command) -> Command:
        command.__annotations__["where"] = where_type  # this kind of store has options of its own
        app.command(command, name=command.__name__.removesuffix("_them"))
        return command

    @add
    def list_them(
        *,
        chosen: ChosenItems = NOTHING,
        limit: Limit = LIMIT,
        json: AsJson = False,
        where: Where = here,
    ) -> int:
        """List messages, the newest first: id, status, size, date, client, sender, recipients; total at the end."""
        return guarded(lambda: list_items(where.stores(), chosen.build(), limit, json=json))

    @add
    def search(
        *words: Annotated[str, cyclopts.Parameter(help="a word, or the beginning of one; several")],
        chosen: ChosenItems = NOTHING,
        limit: Limit = LIMIT,
        json: AsJson = False,
        where: Where = here,
    ) -> int:
        """Search subjects, addresses, file names and threats for words, or beginnings of words: all must occur."""

        def work() -> int:
            wanted = msgspec.structs.replace(chosen.build(), text=" ".join((*words, chosen.text)).strip())
            wanted.check()
            return list_items(where.stores(), wanted, limit, json=json)

        return guarded(work)

    @add
    def show(
        item: Item,
        /,
        *,
        raw: Raw = False,
        json: AsJson = False,
        where: Where = here,
    ) -> int:
        """Show why a message was stored, whose it is, and its releases; or the message itself."""
        return guarded(lambda: show_item(where.stores(), item, raw=raw, json=json))

    @add
    def export(
        *items: Item,
        output: Output,
        chosen: ChosenItems = NOTHING,
        everything: Everything = False,
        where: Where = here,
    ) -> int:
        """Write messages as files that only you can read. They stay in the store."""

        def work() -> int:
            stores = where.stores()
            return export_items(list(pick(stores, items, chosen.build(), everything=everything)), output)

        return guarded(work)

    @add
    def release(
        *items: Item,
        to: To = None,
        no_check: NoCheck = False,
        again: Again = False,
        chosen: ChosenItems = NOTHING,
        everything: Everything = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        learn_ham: LearnHam = False,
        json: AsJson = False,
        where: Where = here,
    ) -> int:
        """Send messages to their recipients, or to others, each once. They pass the checks again unless told not to."""

        def work() -> int:
            stores, wanted = where.stores(), chosen.build()
            picked = list(pick(stores, items, wanted, everything=everything, unreleased=not again))
            asked = yes or (bool(items) and not no_check)
            why = partial(explain_none, stores, wanted, unreleased=not again)
            code = agree("release", picked, yes=asked, dry_run=dry_run, why=why)
            if code is not None:
                return code
            caller = Caller(where.conf_file, queue_codes=True)
            code = release_items(picked, caller, to=to or (), checked=not no_check, again=again, json=json)
            return (learn_items(picked, where.conf_file) or code) if learn_ham else code

        return guarded(work)

    @add
    def resend(
        *items: Item,
        to: To = None,
        no_check: NoCheck = False,
        chosen: ChosenItems = NOTHING,
        everything: Everything = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        where: Where = here,
    ) -> int:
        """Send messages once more, whether they have been released before or not."""
        return release(
            *items,
            to=to,
            no_check=no_check,
            again=True,
            chosen=chosen,
            everything=everything,
            yes=yes,
            dry_run=dry_run,
            where=where,
        )

    @add
    def delete(
        *items: Item,
        chosen: ChosenItems = NOTHING,
        everything: Everything = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        where: Where = here,
    ) -> int:
        """Delete messages for good."""

        def work() -> int:
            stores, wanted = where.stores(), chosen.build()
            picked = list(pick(stores, items, wanted, everything=everything))
            code = agree("delete", picked, yes=yes, dry_run=dry_run, why=partial(explain_none, stores, wanted))
            return delete_items(picked) if code is None else code

        return guarded(work)

    @add
    def reindex_them(*, where: Where = here) -> int:
        """Make the index anew from the message files."""
        return guarded(lambda: reindex(where.stores()))

    @add
    def prune_them(*, dry_run: DryRun = False, where: Where = here) -> int:
        """Delete what is past the time and size of [stores] now; the gateway does so by itself."""
        return guarded(lambda: prune(where.stores(), dry_run=dry_run))

    return app


quarantine = build_app("quarantine", "Messages kept apart: show, release, delete them.", WhereQuarantine)
backup = build_app("backup", "Originals of messages that were changed or blocked: show, release, delete.", WhereBackup)
