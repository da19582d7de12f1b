"""The calls that change licence keys: `licence.check`, `licence.add`, `licence.check_removal`, `licence.remove`.

Registered by `master.licensing` for console and API. They do what `gatepost licence` does (`licence.changes`), and take
it into use. Mail goes on whatever comes of them.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Unfit
from gatepost.licence.changes import Done, Place, add_key, plan_adding, plan_removal, remove_key
from gatepost.licence.current import licences_of, today
from gatepost.licence.key import LicenceError, LicenceKey

_SERIAL = "serial:"


class LicenceKeys:
    """Keys of a running gateway."""

    def __init__(
        self,
        config: Callable[[], Config],
        reload: Callable[[], Awaitable[Any]],
        say: Callable[[str, str], None],
    ) -> None:
        """`reload` takes what another key allows into use."""
        self._config = config
        self._reload = reload
        self._say = say

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("licence.check", Right.CONFIGURE, self._check)
        desk.add("licence.add", Right.CONFIGURE, self._add, audited=True, noted=_name_key)
        desk.add("licence.check_removal", Right.CONFIGURE, self._check_removal)
        desk.add("licence.remove", Right.CONFIGURE, self._remove, audited=True)

    async def _check(self, arguments: Arguments, _: Caller) -> Any:
        """Tell what adding a key (`key`: its text) would do."""
        with _refusing("key"):
            plan = plan_adding(licences_of(self._config()), _read_key(arguments), today())
        return {
            "key": describe_key(plan.key),
            "place": plan.place.value,
            "expires": str(plan.expires or ""),
            "effects": list(plan.effects),
        }

    async def _add(self, arguments: Arguments, _: Caller) -> Any:
        """Install a key (`key`: its text)."""
        with _refusing("key"):
            done = add_key(licences_of(self._config()), _read_key(arguments), today())
        return await self._take(done)

    async def _check_removal(self, arguments: Arguments, _: Caller) -> Any:
        """Tell what removing a key (`place`: `active`, `additional`) would change."""
        place = _read_place(arguments)
        with _refusing("licence"):
            _find(self._config(), place)
            return {"effects": list(plan_removal(licences_of(self._config()), place, today()))}

    async def _remove(self, arguments: Arguments, _: Caller) -> Any:
        """Remove a key (`place`: `active`, `additional`)."""
        place = _read_place(arguments)
        with _refusing("licence"):
            _find(self._config(), place)
            done = remove_key(licences_of(self._config()), place, today())
        return await self._take(done)

    async def _take(self, done: Done) -> str:
        """Take a change into use; return what was done. ControlError: it is done, but not in use."""
        text = "; ".join(done.told)
        self._say("I", f"licence: {text}")
        if done.in_use and done.may_start:
            try:
                await self._reload()
            except ControlError as error:
                raise ControlError(f"{text}; but: {error}") from error
        return text


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Answer with why a key cannot be used, or a file of keys."""
    try:
        yield
    except LicenceError as error:
        raise ControlError(f"{what}: {error}") from error
    except OSError as error:
        raise ControlError(f"{what}: {error.filename or ''}: {error.strerror}") from error


def _read_key(arguments: Arguments) -> bytes:
    """Return the key as its issuer signed it: what was copied may have lost or won blank lines at its ends."""
    return str(arguments["key"]).strip().encode("utf-8", "replace") + b"\n"


def _read_place(arguments: Arguments) -> Place:
    try:
        return Place(str(arguments["place"]))
    except ValueError:
        raise Unfit("a place is one of: active, additional") from None


def _find(config: Config, place: Place) -> None:
    """NotThere: there is no such key."""
    try:
        licences_of(config).find(additional=place is Place.ADDITIONAL)
    except LicenceError as error:
        raise NotThere(str(error)) from error


def _name_key(arguments: Arguments) -> dict[str, str]:
    """Return what of a key is written down: its number; whoever has the text could install it elsewhere."""
    lines = str(arguments.get("key", "")).splitlines()
    return {"serial": next((line[len(_SERIAL) :].strip() for line in lines if line.startswith(_SERIAL)), "?")}


def describe_key(key: LicenceKey) -> dict[str, Any]:
    """Return what a key says, for people and programs."""
    return {
        "serial": key.serial,
        "product": key.product,
        "type": key.kind.value,
        "issuer": key.issuer,
        "holder": key.holder,
        "created": str(key.created),
        "days": key.days,
        "users": key.users,
        "megabytes": key.megabytes,
        "rights": [right.value for right in key.rights],
    }
