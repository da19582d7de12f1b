"""The licence: does its term end soon, is it over, would the gateway still start? Nothing is said of the open key.

And the licensing daemon, where doors ask one: while it says no, or nothing, their mail is not checked for spam.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State
from gatepost.licence.current import read_standing
from gatepost.licence.key import LicenceError
from gatepost.licence.store import Standing
from gatepost.service.licensing import ask_once

AREA: Final = "licence"
SOON_DAYS: Final = 7
"""Days before the end from which it is told of, as by mail."""
_MEND: Final = "install another key: gatepost licence add FILE"


def check_licence(config: Config, now: float) -> Iterator[Finding]:  # noqa: ARG001 - a licence goes by days of its own
    """Look at the keys of a configuration."""
    try:
        standing = read_standing(config)
    except LicenceError as error:
        mend = "see what `gatepost licence show` says; mail goes on as before"
        yield Finding("licence", AREA, State.ERROR, f"the licence cannot be told: {error}", mend)
        return
    if not standing.open:
        yield judge_standing(standing)


def check_licence_daemon(config: Config, _now: float) -> Iterator[Finding]:
    """Ask the daemon as doors do. The gateway must be running: it may be the daemon itself."""
    daemon = config.licence_daemon
    if not daemon.filter_license_connect_to or not config.doors:
        return
    trouble = ask_once(daemon)
    text = f"the licensing daemon answers at {daemon.filter_license_connect_to}"
    if not trouble:
        yield Finding("licence-daemon", AREA, State.OK, text)
        return
    mend = (
        f"look at the server that listens at {daemon.filter_license_connect_to}, at its licence and the socket's rights"
    )
    text = f"mail that doors are asked about is not checked for spam: {trouble}"
    yield Finding("licence-daemon", AREA, State.ERROR, text, mend)


def judge_standing(standing: Standing) -> Finding:
    """Judge how things stand today."""
    key, left = standing.key, standing.days_left
    if key is None:
        text = "there is no licence key: what runs goes on, but the gateway does not start again"
        return Finding("licence", AREA, State.ERROR, text, _MEND)
    if left is None:
        return Finding("licence", AREA, State.OK, f"licence key {key.serial} is without end")
    if standing.expired:
        text = f"licence key {key.serial} ended on {standing.expires}: "
        text += "databases issued later are not used" if standing.may_start else "the gateway does not start again"
        return Finding("licence", AREA, State.ERROR, text, _MEND)
    if left <= SOON_DAYS and standing.additional is None:
        when = "today" if left == 0 else f"in {left} day(s)"
        text = f"licence key {key.serial} ends {when}, on {standing.expires}, and no key follows it"
        return Finding("licence", AREA, State.WARNING, text, _MEND)
    return Finding("licence", AREA, State.OK, f"licence key {key.serial} is good until {standing.expires}")
