"""Section licence_daemon: the licensing daemon of the filtering server, and who asks it (row F-ASD-06).

Struct fields are the parameters (see `gatepost.config.parameter`). Without `license_listen` there is no daemon, without
`filter_license_connect_to` nobody asks one: then the licence of the gateway itself is all that counts.
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import Guard, count, duration, path


class LicenceDaemon(msgspec.Struct, frozen=True, kw_only=True):
    """The licensing daemon, as documented for filtering servers."""

    license_listen: Annotated[
        str,
        path(
            "LicenseListen",
            "local socket at which this server tells whether mail may be checked for spam; empty = it does not",
            generations="A30",
            guard=Guard.FILE,
        ),
    ] = ""
    license_max_connections: Annotated[
        int, count("LicenseMaxConnections", 10, 300, "connections there at once; others are closed", generations="A30")
    ] = 200
    license_idle_timeout: Annotated[
        float, duration("LicenseIdleTimeout", 1, 100, "a connection may be idle for so long", generations="A30")
    ] = 30.0
    license_data_timeout: Annotated[
        float, duration("LicenseDataTimeout", 1, 100, "wait for the rest of a question", generations="A30")
    ] = 1.0
    filter_license_connect_to: Annotated[
        str,
        path(
            "FilterLicenseConnectTo",
            "local socket of the licensing daemon that doors ask for every message; empty = none is asked",
            generations="A30",
            guard=Guard.FILE,
        ),
    ] = ""
    filter_license_connect_timeout: Annotated[
        float, duration("FilterLicenseConnectTimeout", 1, 10, "connect to it", generations="A30")
    ] = 1.0
    filter_license_data_timeout: Annotated[
        float, duration("FilterLicenseDataTimeout", 1, 10, "wait for its answer", generations="A30")
    ] = 1.0
