"""`gatepost mib`: the MIB that describes what SNMP shows. docs/manual/snmp.md tells how to use it."""

from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, ConfigFile, complain
from gatepost.config.load import load
from gatepost.control.mib import MibError, build_mib


def mib(
    *,
    base: Annotated[str, cyclopts.Parameter(name="--base", help="root OID; none: `agentx.base_oid`")] = "",
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Print MAILGW-MIB for the root OID of the configuration, for SNMP managers and `snmptranslate`."""
    if not base:
        loaded = load(conf_file)
        if loaded.config is None:
            return complain(
                f"{conf_file}: not a sound configuration; `gatepost config check` tells why, or give --base",
                EXIT_BAD_OPTIONS,
            )
        base = loaded.config.agentx.base_oid
    try:
        print(build_mib(tuple(int(part) for part in base.strip(".").split("."))), end="")
    except MibError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except ValueError:
        return complain(f"{base!r} is no OID: digits and dots", EXIT_BAD_OPTIONS)
    return 0
