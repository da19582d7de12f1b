"""Who may ask what of a running gateway: rights, the roles that bundle them, and callers.

Every control call, whoever makes it (command line, console, API, signal, control file), is made by a `Caller` and needs
one `Right`; `control.desk` is the only place that compares them.
"""

import enum
from typing import Final

import msgspec


class Right(enum.StrEnum):
    """What a call needs."""

    NONE = "none"
    """Nobody need have signed in: the sign-in itself, and whether the gateway is there."""
    SELF = "self"
    """Any account, about itself: its password, its second factors, its sessions."""
    VIEW = "view"
    """States, statistics, problems."""
    TRACK = "track"
    """What became of mails: envelopes, findings, attempts; no content."""
    CONTENT = "content"
    """The content of mails. Every use is written to the audit log."""
    QUEUE = "queue"
    """Acts on waiting mail and on destinations."""
    QUARANTINE = "quarantine"
    """Acts on stored mail: release, delete, report."""
    LEARN = "learn"
    """Teaching."""
    LISTS = "lists"
    """Allow and block lists of senders and clients."""
    LOG = "log"
    """Lines of the log."""
    SERVICE = "service"
    """Stop, reload, switch."""
    CONFIGURATION = "configuration"
    """See all of the configuration ..."""
    CONFIGURE = "configure"
    """... and change it."""
    EMERGENCY = "emergency"
    """The bypass: mail passes unscanned."""
    ACCOUNTS = "accounts"
    """Accounts, tokens and roles of others."""
    AUDIT = "audit"
    """The audit log."""
    OWN = "own"
    """A recipient who came by a link, about mail to this one address: of no role, and good for nothing at the desk of
    accounts (`master.user_front`)."""


class Role(enum.StrEnum):
    """A bundle of rights. An account with domains of its own sees and acts on mail of these only, whatever its role."""

    ADMIN = "admin"
    OPERATOR = "operator"
    QUARANTINE = "quarantine"
    READ_ONLY = "read-only"
    DOMAIN = "domain"
    """The administrator of some domains: quarantine, tracking and lists of these."""


_READING: Final = frozenset({Right.NONE, Right.SELF, Right.VIEW, Right.TRACK})
_QUARANTINE: Final = _READING | {Right.CONTENT, Right.QUARANTINE, Right.LEARN}
_OPERATOR: Final = _QUARANTINE | {Right.QUEUE, Right.LISTS, Right.LOG, Right.SERVICE, Right.CONFIGURATION}
RIGHTS_OF: Final[dict[Role, frozenset[Right]]] = {
    Role.ADMIN: frozenset(Right) - {Right.OWN},
    Role.OPERATOR: _OPERATOR,
    Role.QUARANTINE: _QUARANTINE,
    Role.READ_ONLY: _READING | {Right.LOG, Right.CONFIGURATION},
    Role.DOMAIN: frozenset({Right.NONE, Right.SELF, Right.TRACK, Right.CONTENT, Right.QUARANTINE, Right.LISTS}),
}


class Caller(msgspec.Struct, frozen=True):
    """Who makes a call."""

    name: str
    """Of the account, the token or the system user."""
    rights: frozenset[Right]
    domains: tuple[str, ...] = ()
    """Only mail from or to these; () = all mail."""
    via: str = "cli"
    """`cli`, `signal`, `control-file`, `console`, `api`, `user` (a recipient: the name is the address)."""
    address: str = ""
    """Where a console's or API's client is."""
    session: str = ""
    """Id of the console session, "" = none: a token, the command line."""


NOBODY: Final = Caller("", frozenset({Right.NONE}), via="console")
"""Has not signed in."""


def local_caller(user: str, via: str = "cli") -> Caller:
    """Return the caller that the gateway's own user, or root, is on the control socket."""
    return Caller(user, RIGHTS_OF[Role.ADMIN], via=via)
