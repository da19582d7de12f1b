"""The licence of a running gateway: whether it may start, what it allows, when its additional key takes over, and what
the administrator is told (rows F-LIC-02 to -08). Used by `master.process`.

It never stands in the way of mail: what runs goes on, whatever the licence says; anti-spam without the right to it is
switched off, and newer databases are not used after the term.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.licence.current import licences_of, read_standing, today
from gatepost.licence.key import LicenceError
from gatepost.licence.notices import plan_notices
from gatepost.licence.store import Standing
from gatepost.licence.usage import FILE, Usage, read_usage
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.licence_keys import LicenceKeys, describe_key
from gatepost.relay.switching import without_spam_checks
from gatepost.spool import clock

LOOK_S: Final = 60.0
TOLD_LIMIT: Final = 200
"""Names of sent notices that are kept: half a year of daily ones."""
NO_KEY: Final = (
    "licence: there is no key, and the gateway does not start without one. Install one with "
    "`gatepost licence add FILE`; the configuration, mail that waits and everything else stay as they are"
)


def allow_start(config: Config) -> Config:
    """Return a configuration as far as the licence allows it. StartError: nothing starts."""
    try:
        standing = read_standing(config)
    except LicenceError as error:
        raise StartError(ExitCode.LICENCE, f"licence: {error}") from error
    if standing.key is None:
        raise StartError(ExitCode.LICENCE, NO_KEY)
    if not standing.may_start:
        text = f"licence: the trial of key {standing.key.serial} ended on {standing.expires}; install another key"
        raise StartError(ExitCode.LICENCE, text)
    return config if standing.antispam else without_spam_checks(config)


def counts_usage(config: Config) -> bool:
    """Tell whether anything of the licence in force is counted."""
    try:
        key = read_standing(config).key
    except LicenceError:
        return False
    return key is not None and bool(key.users or key.megabytes)


class LicenceWatch:
    """Looks at the licence now and then."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        usage_directory: Path,
        announce: Callable[..., Awaitable[str]],
        reload: Callable[[], Awaitable[Any]],
        say: Callable[[str, str], None],
    ) -> None:
        """`announce` mails (`master.calls`); `reload` takes what another key allows into use."""
        self._config = config
        self._usage_file = usage_directory / FILE
        self._announce = announce
        self._reload = reload
        self._say = say
        self._trouble = ""
        self._kept_watch = ("", dt.date.min)
        """The key whose traffic was watched to the end of a day, and the day after."""

    def register(self, desk: Desk) -> None:
        """Register the calls."""

        async def show(_: Arguments, __: Caller) -> Any:
            try:
                standing = read_standing(self._config())
            except LicenceError as error:
                raise ControlError(f"licence: {error}") from error
            return describe_standing(standing, self._usage(standing))

        desk.add("licence.show", Right.VIEW, show)
        LicenceKeys(self._config, self._reload, self._say).register(desk)

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except (LicenceError, OSError) as error:
                self._tell_trouble(str(error))
            await asyncio.sleep(min(LOOK_S, clock.longest_pause_s))

    async def look(self) -> None:
        """Look once. LicenceError, OSError."""
        if not clock.is_believed():
            return  # a day that is noted ends terms for good
        config = self._config()
        licences = licences_of(config)
        seen = licences.state().seen
        standing, follows = licences.settle(today())
        if standing.key is not None and not follows and seen == standing.today - dt.timedelta(1):
            self._kept_watch = (standing.key.serial, standing.today)
        if follows and standing.key is not None:
            self._say("I", f"licence: the additional key {standing.key.serial} is active now, until {standing.expires}")
            await self._reload()
        told = licences.state().told
        fresh = [each for each in plan_notices(standing, self._usage(standing)) if each.name not in told]
        if not fresh or standing.open:
            return
        to = config.watch.addresses or config.groups[-1].admin_notify_address
        for notice in fresh:
            self._say("W", f"licence: {notice.text}")
            if to:
                try:
                    await self._send(to, config, notice.subject, notice.text)
                except ControlError:
                    continue  # the next look tries again
            told = (*told, notice.name)[-TOLD_LIMIT:]
        licences.note_told(told)
        self._trouble = ""

    async def _send(self, to: Sequence[str], config: Config, subject: str, text: str) -> None:
        hostname = config.network.hostname
        sender = config.groups[-1].notify_from_address or f"postmaster@{hostname}"
        await self._announce(to=to, sender=sender, subject=f"{hostname}: {subject}", text=f"{text}\n")

    def _usage(self, standing: Standing) -> Usage:
        """Return what counts against a key: of yesterday only what it was there for."""
        usage = Usage()
        with contextlib.suppress(apsw.Error):
            usage = read_usage(self._usage_file, clock.now())
        if standing.key is None or self._kept_watch != (standing.key.serial, standing.today):
            usage = msgspec.structs.replace(usage, bytes_yesterday=0)
        return usage

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._say("E", f"licence: {text}")


def describe_standing(standing: Standing, usage: Usage) -> dict[str, Any]:
    """Return how things stand, for people and programs."""
    return {
        "active": standing.key and describe_key(standing.key),
        "additional": standing.additional and describe_key(standing.additional),
        "expires": str(standing.expires or ""),
        "days_left": standing.days_left,
        "expired": standing.expired,
        "open": standing.open,
        "used": {"users": usage.users, "bytes_today": usage.bytes_today},
    }
