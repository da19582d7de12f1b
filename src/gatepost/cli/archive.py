"""`gatepost archive`: the archives, by sub-commands or by the documented options (specification management.md §5.5)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.choice import Yes
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, Caller, ConfigFile, complain
from gatepost.cli.store import agree, delete_items, find, guarded, list_items, pick, release_items
from gatepost.cli.store_apps import WhereArchive, build_app
from gatepost.cli.store_choice import EVERYTHING, Stores
from gatepost.cli.store_view import list_line
from gatepost.storage.item import StoreKind
from gatepost.storage.store import Store

app = build_app("archive", "Archives of accepted and of sent messages, or any store: --archive-path=DIR.", WhereArchive)

_ARCHIVES = (StoreKind.INCOMING, StoreKind.OUTGOING)


def _documented(like: str, *names: str) -> cyclopts.Parameter:
    return cyclopts.Parameter(name=names, negative="", help=f"as {like}")


@app.default
def documented(
    *,
    archive_path: Annotated[Path | None, cyclopts.Parameter(help="directory to work on")] = None,
    show_all: Annotated[bool, _documented("archive list", "--show-all")] = False,
    show_id: Annotated[str, _documented("archive list, of the message with this id", "--show-id")] = "",
    remove_all: Annotated[bool, _documented("archive delete --all", "-r", "--remove-all")] = False,
    remove_id: Annotated[str, _documented("archive delete ID --yes", "-d", "--remove-id")] = "",
    send_all: Annotated[bool, _documented("archive resend --all", "-a", "--send-all")] = False,
    send_id: Annotated[str, _documented("archive resend ID", "-o", "--send-id")] = "",
    send_all_without_check: Annotated[
        bool, _documented("archive resend --all --no-check", "--send-all-without-check")
    ] = False,
    send_id_without_check: Annotated[
        str, _documented("archive resend ID --no-check --yes", "--send-id-without-check")
    ] = "",
    yes: Yes = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """List, delete or send messages of a store by the documented options. Exactly one of them is given."""
    acts = (
        show_all,
        show_id,
        remove_all,
        remove_id,
        send_all,
        send_id,
        send_all_without_check,
        send_id_without_check,
    )
    if sum(map(bool, acts)) != 1:
        app.help_print()
        return complain("say one thing to do: --show-all, --show-id=ID, --remove-all …", EXIT_BAD_OPTIONS)

    def work() -> int:
        stores = Stores(_ARCHIVES, conf_file, archive_path)
        if show_all:
            return list_items(stores, EVERYTHING, 0, json=False)
        if show_id:
            return _show_one(*find(stores, show_id))
        item = remove_id or send_id or send_id_without_check
        picked = list(pick(stores, (item,) if item else (), EVERYTHING, everything=not item))
        if remove_all or remove_id:
            return _agreed("delete", picked, yes=yes or bool(item)) or delete_items(picked)
        code = _agreed("send", picked, yes=yes or bool(item))
        if code:
            return code
        checked = not (send_all_without_check or send_id_without_check)
        return release_items(picked, Caller(conf_file, queue_codes=True), to=(), checked=checked, again=True)

    return guarded(work)


def _agreed(verb: str, picked: Sequence[tuple[Store, str]], *, yes: bool) -> int:
    """Return 0 to go on. Scripts, which have no terminal, have always gone on."""
    return agree(verb, list(picked), yes=yes or not sys.stdin.isatty(), dry_run=False) or 0


def _show_one(store: Store, item_id: str) -> int:
    row = store.row(item_id)
    if row is not None:
        print(list_line(row))
        print(f"1 stored messages, {row.size} bytes")
    return 0
