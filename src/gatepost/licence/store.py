"""Licence keys of an installation: the active one, an additional one that follows it, and since when.

Used by the master, by `gatepost licence` and by whoever must know until when databases may be used. Files of the
licence directory: `active.key`, `additional.key`, `state.json`. Promises: a clock that was set back revives nothing
(the latest day seen is kept); what cannot be written leaves everything as it was.
"""

import datetime as dt
import os
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gatepost.feeds.keys import Keys, key_id, parse_public
from gatepost.licence.key import Kind, LicenceCorrupt, LicenceError, LicenceKey, Right, parse_key
from gatepost.storage.whole_file import replace_file

ISSUER: Final = "76Z44mUwItvBJF/US11DPvR6Y1htH1OpV6Jd9rzohHw="
"""Public key of the issuer this program believes; whoever builds it for others puts his own here."""
OPEN_KEY: Final = "open.key"
"""The key the program comes with: unlimited, so that nobody needs another. Without the file there is none."""
ACTIVE: Final = "active.key"
ADDITIONAL: Final = "additional.key"
STATE: Final = "state.json"
STATE_LIMIT: Final = 64 * 1024
MODE: Final = 0o640


class State(msgspec.Struct, frozen=True):
    """What is known besides the keys."""

    seen: dt.date | None = None
    """Latest day on which anybody looked."""
    activated: dict[str, dt.date] = {}
    """Day on which a key followed another, by its serial number; a first key is not here."""
    told: tuple[str, ...] = ()
    """Notices about the active key that were sent."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation may do today."""

    key: LicenceKey | None = None
    """The active one."""
    additional: LicenceKey | None = None
    expires: dt.date | None = None
    """Last day of the active key's term; None: without end."""
    today: dt.date
    open: bool = False
    """It is the key the program comes with."""

    @property
    def expired(self) -> bool:
        """Whether the term is over: filtering goes on, databases issued later are not used."""
        return self.expires is not None and self.today > self.expires

    @property
    def may_start(self) -> bool:
        """Whether a gateway starts: with a key, and not on a trial that is over."""
        return self.key is not None and not (self.expired and self.key.kind is Kind.TRIAL)

    @property
    def days_left(self) -> int | None:
        """Days to the last one, 0 on it, negative afterwards."""
        return None if self.expires is None else (self.expires - self.today).days

    @property
    def antispam(self) -> bool:
        """Whether anti-spam may be used."""
        return self.key is not None and Right.ANTISPAM in self.key.rights


class Licences:
    """The keys in one directory."""

    def __init__(self, directory: Path, issuers: Keys, *, shipped: bool = True) -> None:
        """`issuers`: believed public keys (`resolve_issuers`). `shipped`: without a key in the directory the one counts
        that the program comes with.
        """
        self._directory = directory
        self._issuers = issuers
        self._may_be_shipped = shipped

    def standing(self, today: dt.date, *, without: str = "") -> Standing:
        """Return how things stand, or would without the "active" or the "additional" key; nothing is changed.
        LicenceError and OSError say which file is wrong.
        """
        state = self.state()
        today = max(today, state.seen or today)
        active = None if without == "active" else self._key(ACTIVE)
        additional = None if without == "additional" else self._key(ADDITIONAL)
        if active is None and additional is not None:
            return self._following(additional, state, today)
        if active is None:
            shipped = self._shipped()
            return Standing(key=shipped, expires=_last_day(shipped, None), today=today, open=shipped is not None)
        expires = _last_day(active, state.activated.get(active.serial))
        if additional is not None and expires is not None and today > expires:
            return self._following(additional, state, today)
        return Standing(key=active, additional=additional, expires=expires, today=today)

    @staticmethod
    def _following(key: LicenceKey, state: State, today: dt.date) -> Standing:
        return Standing(key=key, expires=_last_day(key, state.activated.get(key.serial, today)), today=today)

    def settle(self, today: dt.date) -> tuple[Standing, bool]:
        """Take note of the day, and make the additional key the active one when its time has come (row F-LIC-02);
        return how things stand, and whether that happened. As `standing`, and OSError when it cannot be written.
        """
        standing = self.standing(today)
        state = self.state()
        follows = standing.additional is None and (self._directory / ADDITIONAL).exists()
        if follows:
            assert standing.key is not None
            # Broken off between the two, this is done again, and the term counts from the same day.
            since = {standing.key.serial: standing.today} | state.activated
            self._write(State(standing.today, since))
            (self._directory / ADDITIONAL).replace(self._directory / ACTIVE)
        elif self._directory.is_dir() and state.seen != standing.today and not standing.open:
            self._write(msgspec.structs.replace(state, seen=standing.today))
        return standing, follows

    def check(self, raw: bytes, today: dt.date) -> tuple[LicenceKey, str]:
        """Return a key, and whether it would be "active" or "additional"; nothing is changed. LicenceError says why it
        cannot be installed, OSError.
        """
        key = parse_key(raw, self._issuers)
        standing = self.standing(today)
        active, additional = None if standing.open else standing.key, standing.additional
        if key.serial in {each.serial for each in (active, additional) if each is not None}:
            raise LicenceError(f"key {key.serial} is installed already")
        if active is None and key.expires is not None and standing.today > key.expires:
            raise LicenceError(f"key {key.serial} expired on {key.expires}")
        if active is not None and additional is not None:
            raise LicenceError(
                "there is an additional key already: remove it first (`gatepost licence remove additional`)"
            )
        return key, "active" if active is None else "additional"

    def add(self, raw: bytes, today: dt.date) -> tuple[LicenceKey, str]:
        """Install a key; return it, and whether it is "active" or "additional". LicenceError says why not, OSError."""
        key, place = self.check(raw, today)
        self.settle(today)  # an additional key whose time has come makes room
        state = self.state()
        if place == "active":
            self._put(ACTIVE, raw)
            self._write(msgspec.structs.replace(state, seen=max(today, state.seen or today), told=()))
        else:
            self._put(ADDITIONAL, raw)
        return key, place

    def remove(self, *, additional: bool) -> LicenceKey:
        """Remove a key, whatever state it is in, and return it. LicenceError: there is none."""
        name = ADDITIONAL if additional else ACTIVE
        try:
            key = self._key(name)
        except LicenceCorrupt:
            key = None
        self.find(additional=additional).unlink()
        return key or LicenceKey(serial="?", kind=Kind.COMMERCIAL, issuer="?", created=dt.date.min)

    def find(self, *, additional: bool) -> Path:
        """Return the file of an installed key. LicenceError: there is none."""
        path = self._directory / (ADDITIONAL if additional else ACTIVE)
        if not path.exists():
            raise LicenceError(f"there is no {'additional' if additional else 'active'} key")
        return path

    def note_told(self, notices: tuple[str, ...]) -> None:
        """Keep which notices about the active key were sent. OSError."""
        self._write(msgspec.structs.replace(self.state(), told=notices))

    def state(self) -> State:
        """Return what is kept besides the keys. LicenceCorrupt."""
        path = self._directory / STATE
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(STATE_LIMIT), type=State)
        except (FileNotFoundError, NotADirectoryError):
            return State()
        except ValueError as error:  # DecodeError is one, text that is no UTF-8 another
            raise LicenceCorrupt(f"{path}: {error}") from None

    def _key(self, name: str) -> LicenceKey | None:
        path = self._directory / name
        try:
            raw = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return parse_key(raw, self._issuers)
        except LicenceError as error:
            raise type(error)(f"{path}: {error}") from None

    def _shipped(self) -> LicenceKey | None:
        place = files("gatepost.licence") / OPEN_KEY
        usable = self._may_be_shipped and place.is_file()
        return parse_key(place.read_bytes(), _own_issuer()) if usable else None

    def _write(self, state: State) -> None:
        self._put(STATE, msgspec.json.encode(state))

    def _put(self, name: str, raw: bytes) -> None:
        """Write a file. What root writes is for the gateway's user all the same: whose directory it is."""
        if not self._directory.is_dir():
            self._directory.mkdir(0o750, parents=True, exist_ok=True)
            above = self._directory.parent.stat()
            if os.geteuid() == 0:
                os.chown(self._directory, above.st_uid, above.st_gid)
        replace_file(self._directory / name, raw, mode=MODE, owner=self._directory.stat())


def resolve_issuers(texts: tuple[str, ...] = ()) -> Keys:
    """Return the believed issuers: the program's own and these public keys. BadKey."""
    return _own_issuer() | {key_id(key): key for key in map(parse_public, texts)}


def _own_issuer() -> dict[str, Ed25519PublicKey]:
    key = parse_public(ISSUER)
    return {key_id(key): key}


def _last_day(key: LicenceKey | None, activated: dt.date | None) -> dt.date | None:
    """Return the last day of a term: of a key that followed another its life span, counted from that day."""
    if key is None:
        return None
    if activated is not None:
        return activated + dt.timedelta(key.days - 1) if key.days else None
    return key.expires
