"""The mail systems that can be set up, by name. Used by `cli.client`."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.client.setup import cgpro, exim, postfix, qmail, sendmail
from gatepost.client.setup.values import Plan, Wanted


class System(msgspec.Struct, frozen=True):
    """A mail system that can be set up."""

    plan: Callable[[Wanted], Plan]
    config: tuple[str, ...]
    """Where its files are as a rule: the first that is there."""
    modes: tuple[str, ...]
    """How it can ask, its usual way first."""

    @property
    def directory(self) -> Path:
        """Where its files are on this host."""
        return Path(next((each for each in self.config if Path(each).is_dir()), self.config[0]))


SYSTEMS: Final = {
    "postfix": System(postfix.plan_postfix, ("/etc/postfix", "/usr/local/etc/postfix"), postfix.MODES),
    "sendmail": System(sendmail.plan_sendmail, ("/etc/mail",), sendmail.MODES),
    "exim": System(exim.plan_exim, ("/etc/exim4", "/etc/exim", "/usr/exim"), exim.MODES),
    "qmail": System(qmail.plan_qmail, ("/var/qmail/bin",), qmail.MODES),
    "cgpro": System(cgpro.plan_cgpro, ("/var/CommuniGate",), cgpro.MODES),
}
