"""The licensing daemon in the master: what its socket answers (row F-ASD-06).

Used by `master.process`; the socket is `service.licensing`, imported when the configuration names one.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gatepost.config.schema import Config
from gatepost.licence.current import read_standing
from gatepost.licence.key import LicenceError

if TYPE_CHECKING:
    from gatepost.service.licensing import LicenceServer

KEPT_S: Final = 5.0
"""An answer is asked for with every message, and changes once a year."""


class LicenceDaemonHost:
    """The daemon of a running gateway."""

    def __init__(self, config: Callable[[], Config], say: Callable[[str, str], None]) -> None:
        """`config` returns the configuration in force; `say(level, text)` logs."""
        self._config = config
        self._say = say
        self._server: LicenceServer | None = None
        self._known = (0.0, "")

    def configure(self, config: Config) -> None:
        """Open, move or close the socket as a (new) configuration says."""
        if self._server is None and config.licence_daemon.license_listen:
            from gatepost.service.licensing import LicenceServer  # noqa: PLC0415 - few gateways have one

            self._server = LicenceServer(self.may_filter, self._say)
        if self._server is not None:
            self._known = (0.0, "")
            self._server.configure(config.licence_daemon)

    def may_filter(self) -> str:
        """Return "", or why mail may not be checked for spam."""
        now = time.monotonic()
        until, answer = self._known
        if now >= until:
            answer = _judge(self._config())
            self._known = (now + KEPT_S, answer)
        return answer

    def close(self) -> None:
        """Close the socket."""
        if self._server is not None:
            self._server.close()


def _judge(config: Config) -> str:
    try:
        standing = read_standing(config)
    except LicenceError as error:
        return f"the licence cannot be read: {error}"
    if standing.key is None:
        return "there is no licence key"
    return "" if standing.antispam else "the licence key does not hold anti-spam"
