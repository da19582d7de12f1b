"""Adding and removing licence keys: what it would change, told beforehand, and doing it.

Used by `gatepost licence` and by a running gateway (`master.licence_keys`), so that both tell and do the same. What is
told is in sentences for people. A gateway that runs takes a change into use by a reload, which is the caller's.
"""

import contextlib
import datetime as dt
import enum

import msgspec

from gatepost.licence.key import LicenceError, LicenceKey
from gatepost.licence.store import Licences, Standing


class Place(enum.StrEnum):
    """Of two keys."""

    ACTIVE = "active"
    ADDITIONAL = "additional"


class Adding(msgspec.Struct, frozen=True, kw_only=True):
    """What adding a key would do."""

    key: LicenceKey
    place: Place
    expires: dt.date | None
    """Last day of its term, of an additional key as things are now; None: without end."""
    effects: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of keys came to."""

    told: tuple[str, ...]
    in_use: bool
    """Another key is the active one: a running gateway is to take that into use."""
    may_start: bool = True
    """With the keys there are a gateway starts, and reloads."""


def settle(licences: Licences, today: dt.date) -> tuple[str, ...]:
    """Make the additional key the active one when its time has come, as a running gateway does; return the sentence
    that tells it, if it has. LicenceError, OSError.
    """
    standing, follows = licences.settle(today)
    if not follows or standing.key is None:
        return ()
    end = tell_end(standing.expires)
    return (f"key {standing.key.serial}, the additional one, is the active key from now on, until {end}",)


def plan_adding(licences: Licences, raw: bytes, today: dt.date) -> Adding:
    """Return what adding a key would do; nothing is changed. LicenceError says why it cannot be added, OSError."""
    key, name = licences.check(raw, today)
    place, standing = Place(name), licences.standing(today)
    if place is Place.ACTIVE:
        after = Standing(key=key, expires=key.expires, today=standing.today)
        return Adding(key=key, place=place, expires=key.expires, effects=_tell_change(standing, after))
    assert standing.key is not None
    when = (
        "at once"
        if standing.expired
        else "when that is removed"
        if standing.expires is None
        else f"after {standing.expires}, or when that is removed"
    )
    effects = (f"it follows key {standing.key.serial}, the active one, {when}; its term counts from then",)
    return Adding(key=key, place=place, expires=following_end(standing, key), effects=effects)


def add_key(licences: Licences, raw: bytes, today: dt.date) -> Done:
    """Install a key. LicenceError says why not, OSError."""
    followed = settle(licences, today)
    key, place = licences.add(raw, today)
    follows = settle(licences, today)
    return Done(
        told=(*followed, f"key {key.serial} is installed as the {place} key", *follows),
        in_use=place == Place.ACTIVE or bool(followed or follows),
        may_start=licences.standing(today).may_start,
    )


def plan_removal(licences: Licences, place: Place, today: dt.date) -> tuple[str, ...]:
    """Return what removing a key would change; nothing is changed. LicenceError: there is none, OSError."""
    licences.find(additional=place is Place.ADDITIONAL)
    before = None
    with contextlib.suppress(LicenceError):  # what is broken can be removed, too
        before = licences.standing(today)
    try:
        after = licences.standing(today, without=place)
    except LicenceError as error:
        return (f"what is left cannot be used: {error}",)
    if place is Place.ACTIVE or after.key is None:
        return _tell_change(before, after)
    end = "it has no end" if after.expires is None else f"no key follows it after {after.expires}"
    return (f"key {after.key.serial}, the active one, stays; {end}",)


def remove_key(licences: Licences, place: Place, today: dt.date) -> Done:
    """Remove a key, whatever state it is in. LicenceError: there is none, or what is left cannot be used; OSError."""
    followed: tuple[str, ...] = ()
    with contextlib.suppress(LicenceError):  # what is broken can be removed, too
        followed = settle(licences, today)
    key = licences.remove(additional=place is Place.ADDITIONAL)
    told = (*followed, f"key {key.serial} is removed")
    try:
        if place is Place.ACTIVE:
            told += settle(licences, today)
        may_start = licences.standing(today).may_start
    except LicenceError as error:
        raise type(error)(f"{'; '.join(told)}, but {error}") from error
    if not may_start:
        told += ("no gateway starts or reloads until a key is added",)
    return Done(told=told, in_use=place is Place.ACTIVE or bool(followed), may_start=may_start)


def tell_end(day: dt.date | None) -> str:
    """Return the last day of a term for people."""
    return "never" if day is None else str(day)


def tell_limits(key: LicenceKey) -> str:
    """Return the limits of a key for people."""
    limits = [f"{key.users} addresses" * bool(key.users), f"{key.megabytes} MB a day" * bool(key.megabytes)]
    return ", ".join(filter(None, limits)) or "none"


def following_end(standing: Standing, additional: LicenceKey) -> dt.date | None:
    """Return the last day of an additional key, whose term counts from the day after the active one's last. None: it
    has no end, or nobody knows when it begins.
    """
    if not additional.days or standing.expires is None:
        return None
    return max(standing.expires, standing.today - dt.timedelta(1)) + dt.timedelta(additional.days)


def _tell_change(before: Standing | None, after: Standing) -> tuple[str, ...]:
    """Return what is different with another active key."""
    if after.key is None:
        return ("no key is left: what runs goes on, but the gateway neither starts nor reloads without one",)
    told = [f"key {after.key.serial} counts, until {tell_end(after.expires)}; limits: {tell_limits(after.key)}"]
    if after.open:
        told = ["the key that the program comes with counts: no limits, no end"]
    if not after.may_start:
        told.append("its trial is over: what runs goes on, but the gateway neither starts nor reloads with it")
    elif after.expired:
        told.append("its term is over: databases issued later are not used")
    if not after.antispam and (before is None or before.antispam):
        told.append("anti-spam stops: mail is not checked for spam")
    elif after.antispam and before is not None and not before.antispam:
        told.append("anti-spam begins, as configured")
    return tuple(told)
