"""The licence of a configuration: `licences_of`, `read_standing`, `read_expiry`. LicenceError says what is wrong."""

import datetime as dt
from pathlib import Path

from gatepost.config.licensing import LicenceMode
from gatepost.config.schema import Config
from gatepost.feeds.keys import BadKey
from gatepost.licence.key import LicenceError
from gatepost.licence.store import Licences, Standing, resolve_issuers
from gatepost.spool import clock


def licences_of(config: Config) -> Licences:
    """Return the keys of a configuration."""
    try:
        issuers = resolve_issuers(config.licence.issuers)
    except BadKey as error:
        raise LicenceError(f"[licence] issuers: {error}") from None
    return Licences(Path(config.path.license_path), issuers, shipped=config.licence.license_mode is LicenceMode.OPEN)


def today() -> dt.date:
    """Return the day licences go by."""
    return dt.datetime.fromtimestamp(clock.now(), dt.UTC).date()


def read_standing(config: Config) -> Standing:
    """Return how things stand today."""
    try:
        return licences_of(config).standing(today())
    except OSError as error:
        raise LicenceError(f"{error.filename or config.path.license_path}: {error.strerror}") from error


def read_expiry(config: Config) -> dt.date | None:
    """Return the last day whose databases may be used (row F-AV-24), None when there is none."""
    return read_standing(config).expires
