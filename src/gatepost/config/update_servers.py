"""Servers that databases come from: `[[update_server]]`. Struct fields are the parameters."""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Guard, Required, text


class UpdateServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of the list that databases come from, after the own source."""

    url: Annotated[
        str,
        text(
            "",
            "http://…, https://…, ftp://…, or the path of a directory",
            required=Required.ALWAYS,
            generations=OWN,
            guard=Guard.STATE,
        ),
    ] = ""
    region: Annotated[
        str, text("", "codes of the regions it is near to, with spaces; see `region_settings`", generations=OWN)
    ] = ""
