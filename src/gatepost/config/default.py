"""The configuration a new gateway starts with: `default.toml` with the answers for this machine filled in.

Called by `gatepost config init` and by whoever sets up a trial gateway. Promises a file without errors or warnings.
"""

import importlib.resources
from collections.abc import Sequence
from pathlib import PurePath

from gatepost.config.dump import toml_string

_FILE = "default.toml"


def build_default_config(
    *,
    state_path: str = "/var/lib/gatepost",
    hostname: str = "localhost.localdomain",
    listen: str = "0.0.0.0:25",
    next_hop: str = "",
    protected_domains: Sequence[str] = (),
    postmaster: str = "",
    log_filename: str = "",
) -> str:
    """Return the shipped configuration as TOML text.

    `listen` is `ip:port`; `next_hop` is `[host:port]` or a domain that gets all mail, "" for delivery by MX;
    `protected_domains` defaults to the domain of `hostname`; `postmaster` to `postmaster@` the first of them;
    `log_filename` to a file below `state_path`.
    """
    domains = tuple(protected_domains) or (hostname.partition(".")[2] or hostname,)
    state = PurePath(state_path)
    route = ""
    if next_hop:
        route = (
            "# Where mail goes on to; recipients that match no route are delivered to the MX of their domain.\n"
            f'[[route]]\nrecipients = ["*"]\nnext_hop = {toml_string(next_hop)}\n'
        )
    answers = {
        "state_path": toml_string(state_path),
        "queue_path": toml_string(str(state / "queue")),
        "hostname": toml_string(hostname),
        "postmaster": toml_string(postmaster or f"postmaster@{domains[0]}"),
        "protected_domains": "[" + ", ".join(toml_string(domain) for domain in domains) + "]",
        "listen": toml_string(listen),
        "route": route,
        "log_filename": toml_string(log_filename or str(state / "log" / "gatepost.log")),
    }
    text = importlib.resources.files("gatepost.config").joinpath(_FILE).read_text(encoding="utf-8")
    for name, answer in answers.items():
        text = text.replace("{{" + name + "}}", answer)
    return text
