"""The call `databases.show`: which sets of databases there are, which are in force, what the last
update did, and how long the licence runs.

Registered by `master.process`. Read from the disk when asked, verified as for a reload; nothing is changed.
"""

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.feeds.bases import BasesError, check_kind, list_sets
from gatepost.feeds.keys import BadKey, Keys, resolve_keys
from gatepost.feeds.manifest import BadSet, Kind, check_set, read_set
from gatepost.feeds.update_state import read_run
from gatepost.licence.current import read_standing
from gatepost.licence.key import LicenceError
from gatepost.master.bases import Databases
from gatepost.master.paths import Paths


def register(desk: Desk, config: Callable[[], Config], bases: Callable[[], Databases]) -> None:
    """Register the call; `config` and `bases` are those in force now."""

    async def show(_: Arguments, __: Caller) -> Any:
        return await asyncio.to_thread(report_databases, config(), bases(), dt.datetime.now(tz=dt.UTC).date())

    desk.add("databases.show", Right.VIEW, show)


def report_databases(config: Config, in_force: Databases, today: dt.date) -> dict[str, Any]:
    """Return the sets by kind and name, the newest of each first, what is not sound last; and the licence's state."""
    places = {Kind.ANTIVIRUS: Path(config.path.bases_path), Kind.ANTISPAM: Path(config.path.as_bases_path)}
    used = {each.directory for each in (*in_force.antivirus, *in_force.spam.sets)}
    rows: list[dict[str, Any]] = []
    troubles: list[str] = []
    try:
        trusted: Keys = resolve_keys(config.ave.trusted_keys)
    except BadKey as error:
        trusted, troubles = {}, [str(error)]
    for kind, place in places.items():
        try:
            directories = list_sets(place)
        except BasesError as error:
            troubles.append(str(error))
        else:
            rows += [_row(directory, kind, trusted, used) for directory in directories]
    sound = sorted(
        (row for row in rows if not row["trouble"]), key=lambda row: (row["kind"], row["name"], -row["number"])
    )
    newest: dict[tuple[str, str], int] = {}
    for row in sound:
        number = newest.setdefault((row["kind"], row["name"]), row["number"])
        row["newer"] = number if number > row["number"] else 0
    return {
        "sets": [*sound, *(row for row in rows if row["trouble"])],
        "troubles": troubles,
        "directories": [str(place) for place in places.values()],
        "licence": _licence(config, today),
        "update": _update(config),
    }


def _row(directory: Path, kind: Kind, trusted: Keys, used: set[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": directory.name,
        "kind": str(kind),
        "number": 0,
        "issued": "",
        "records": 0,
        "signer": "",
        "in_force": str(directory) in used,
        "newer": 0,
        "trouble": "",
    }
    try:
        database = read_set(directory, trusted)
        check_set(database)
        check_kind(database, kind)
    except BadSet as error:
        return row | {"trouble": str(error)}
    manifest = database.manifest
    return row | {
        "name": manifest.name,
        "number": manifest.number,
        "issued": str(manifest.issued),
        "records": manifest.records,
        "signer": database.signer,
    }


def _update(config: Config) -> dict[str, Any]:
    """Return what came of the last update; moments are Unix seconds, 0 = never."""
    run = read_run(Paths(config.relay.state_path).updater)
    return {
        "checked": run.checked,
        "updated": run.updated,
        "result": run.result,
        "source": run.source,
        "error": run.error,
        "installed": list(run.installed),
    }


def _licence(config: Config, today: dt.date) -> dict[str, Any]:
    try:
        standing = read_standing(config)
    except LicenceError as error:
        return {"expires": "", "days_left": 0, "trouble": str(error)}
    if standing.key is None:
        return {"expires": "", "days_left": 0, "trouble": "there is no licence key"}
    expires = standing.expires
    left = (expires - today).days if expires is not None else 0
    return {"expires": str(expires or ""), "days_left": left, "trouble": ""}
