"""MAILGW-MIB as text, for the OID that a gateway is configured with: `build_mib`. Printed by `gatepost mib`. Pure.

Tables stand in `MAILGW-MIB.txt`; scalars and notifications are made of the lists here, which name what
`control.snmp_tree` and `control.snmp_traps` number.
"""

from importlib.resources import files
from typing import Final

import msgspec

from gatepost.wire.agentx import Oid

ENTERPRISES: Final[Oid] = (1, 3, 6, 1, 4, 1)
_TEXT: Final = "DisplayString (SIZE (0..255))"


class MibError(ValueError):
    """A base OID that no MIB can be made for; says why."""


class _Scalar(msgspec.Struct, frozen=True):
    name: str
    node: str
    number: int
    syntax: str
    description: str


_SCALARS: Final = tuple(
    _Scalar(*row)
    for row in (
        ("mailgwTotalMessages", "mailgwStatMessages", 1, "Counter64", "Messages received since the start."),
        ("mailgwInfectedMessages", "mailgwStatMessages", 2, "Counter64", "Messages with an infected object."),
        ("mailgwSuspiciousMessages", "mailgwStatMessages", 3, "Counter64", "Their worst object is suspicious."),
        ("mailgwScannedMessages", "mailgwStatMessages", 4, "Counter64", "Messages scanned for malware."),
        ("mailgwProtectedMessages", "mailgwStatMessages", 5, "Counter64",
         "Messages whose worst object is protected by a password."),
        ("mailgwErrorMessages", "mailgwStatMessages", 6, "Counter64", "Their worst object could not be scanned."),
        ("mailgwAverageMessagesSize", "mailgwStatMessages", 7, "Gauge32", "Octets of a received message, on average."),
        ("mailgwSpamCheckedMessages", "mailgwStatMessages", 8, "Counter64", "Messages checked for spam."),
        ("mailgwSpamMessages", "mailgwStatMessages", 9, "Counter64", "Messages with the status Spam."),
        ("mailgwProbableSpamMessages", "mailgwStatMessages", 10, "Counter64", "Those with the status Probable Spam."),
        ("mailgwFormalMessages", "mailgwStatMessages", 11, "Counter64", "Messages with the status Formal."),
        ("mailgwBlacklistedMessages", "mailgwStatMessages", 12, "Counter64", "Messages with the status Blacklisted."),
        ("mailgwStatsTime", "mailgwStatResources", 1, _TEXT, "When the statistics were taken, ISO 8601."),
        ("mailgwAverageScanTime", "mailgwStatResources", 2, "Gauge32", "Milliseconds of an inspection, on average."),
        ("mailgwTotalMessageSize", "mailgwStatResources", 3, "Counter64", "Octets received since the start."),
        ("mailgwCpuUsageUser", "mailgwStatResources", 4, "Counter64",
         "Hundredths of a second that the living processes used in their own code."),
        ("mailgwCpuUsageSystem", "mailgwStatResources", 5, "Counter64",
         "Hundredths of a second that the kernel used for them."),
        ("mailgwUpdateChecked", "mailgwUpdateLast", 1, _TEXT, "When an update was last looked for, ISO 8601."),
        ("mailgwUpdateResult", "mailgwUpdateLast", 2, _TEXT,
         "Its result: updated, not-needed, error, rolled-back, unknown."),
        ("mailgwBasesLoaded", "mailgwUpdateCurrent", 1, _TEXT, "When the databases in use were loaded, ISO 8601."),
        ("mailgwBasesRecords", "mailgwUpdateCurrent", 2, "Gauge32", "Records of the anti-virus databases."),
        ("mailgwBasesReleased", "mailgwUpdateCurrent", 3, _TEXT, "Day on which they were issued, ISO 8601."),
        ("mailgwStartedOn", "mailgwAdminStatus", 1, _TEXT, "When the gateway started, ISO 8601."),
        ("mailgwUpTime", "mailgwAdminStatus", 2, "TimeTicks", "Time since then."),
    )
)  # fmt: skip
_NOTICES: Final = tuple(
    _Scalar(*row)
    for row in (
        ("mailgwCurrentThreshold", "mailgwNotice", 1, "Gauge32", "Percent of infected messages in the last hour."),
        ("mailgwLastBases", "mailgwNotice", 2, _TEXT, "Day of issue of the databases in use, ISO 8601."),
        ("mailgwNewUpdate", "mailgwNotice", 3, "TruthValue", "Whether newer databases were installed."),
        ("mailgwNoticeText", "mailgwNotice", 4, _TEXT, "What happened."),
    )
)
_NODES: Final = """mailgwUpdateLast    OBJECT IDENTIFIER ::= { mailgwUpdate 1 }
mailgwUpdateCurrent OBJECT IDENTIFIER ::= { mailgwUpdate 2 }
mailgwAdminStatus   OBJECT IDENTIFIER ::= { mailgwAdmin 1 }
"""
TRAPS: Final = (
    ("mailgwConfigReloaded", (), "Another configuration is in force."),
    ("mailgwBasesReloaded", (), "Other databases are in force."),
    ("mailgwProductStart", (), "The gateway is in service."),
    ("mailgwProductStop", (), "The gateway stops."),
    ("mailgwProductError", ("mailgwNoticeText",), "Something is wrong that needs an administrator."),
    ("mailgwOutbreakAlert", ("mailgwCurrentThreshold",),
     "The share of infected messages in the last hour is above AlertThreshold. Repeated every hour until it is below."),
    ("mailgwUpdateStatus", ("mailgwLastBases", "mailgwNewUpdate", "mailgwNoticeText"), "An update has run."),
    ("mailgwObsoleteBases", ("mailgwLastBases",), "The databases are older than 5 days. Repeated every day."),
)  # fmt: skip
"""Name, objects carried, description; in the order of `control.snmp_traps.Trap`."""
_TABLE_OBJECTS: Final = (
    "mailgwConfigValue",
    "mailgwLatestVirusName",
    "mailgwLatestVirusTime",
    "mailgwLatestInfectorAddress",
    "mailgwLatestInfectorTime",
    "mailgwStatValue",
)


def build_mib(base: Oid) -> str:
    """Return the module with `base` as its root, which is below `enterprises`. MibError."""
    if base[: len(ENTERPRISES)] != ENTERPRISES or len(base) <= len(ENTERPRISES):
        raise MibError(f"{'.'.join(map(str, base))} is not below enterprises (1.3.6.1.4.1)")
    names = ["enterprises"]
    nodes = []
    for depth, number in enumerate(base[len(ENTERPRISES) : -1], 1):
        nodes.append(f"mailgwArc{depth} OBJECT IDENTIFIER ::= {{ {names[-1]} {number} }}\n")
        names.append(f"mailgwArc{depth}")
    scalars = [_object(each, "read-only") for each in _SCALARS]
    notices = [_object(each, "accessible-for-notify") for each in _NOTICES]
    traps = [_trap(number, *row) for number, row in enumerate(TRAPS, 1)]
    objects = [*(each.name for each in (*_SCALARS, *_NOTICES)), *_TABLE_OBJECTS]
    text = (files("gatepost.control") / "MAILGW-MIB.txt").read_text(encoding="ascii")
    for name, value in (
        ("@ARCS@", "".join(nodes)),
        ("@PARENT@", names[-1]),
        ("@NUMBER@", str(base[-1])),
        ("@SCALARS@", _NODES + "\n" + "\n".join(scalars)),
        ("@TRAPS@", "\n".join((*notices, *traps))),
        ("@OBJECTS@", ", ".join(objects)),
        ("@NOTIFICATIONS@", ", ".join(name for name, _, _ in TRAPS)),
    ):
        text = text.replace(name, value)
    return text


def _object(each: _Scalar, access: str) -> str:
    return (
        f"{each.name} OBJECT-TYPE\n    SYNTAX      {each.syntax}\n    MAX-ACCESS  {access}\n    STATUS      current\n"
        f'    DESCRIPTION "{each.description}"\n    ::= {{ {each.node} {each.number} }}\n'
    )


def _trap(number: int, name: str, objects: tuple[str, ...], description: str) -> str:
    carried = f"    OBJECTS     {{ {', '.join(objects)} }}\n" if objects else ""
    return (
        f"{name} NOTIFICATION-TYPE\n{carried}    STATUS      current\n"
        f'    DESCRIPTION "{description}"\n    ::= {{ mailgwTraps {number} }}\n'
    )
