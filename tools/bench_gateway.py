"""Start a gateway for a benchmark: listens on $BENCH_IN, relays everything to $BENCH_SINK, state in $BENCH_DIR.

Shipped defaults but for what a load driver on one address needs (sessions per address) and the domain it sends to.
Ends with SIGTERM, as the gateway itself does.

--no-inspection   scanning switched off
--tls CERT KEY    STARTTLS is required of clients, and used towards the next hop
--checks DNS      clients are strangers: two block lists, the client's name, the sender's domain, asked of this server
"""

import argparse
import os
import sys
from pathlib import Path

from gatepost.config.default import build_default_config

SESSIONS_PER_ADDRESS = 1000
CHECKS = """dns_black_list = ["bl1.example.net", "bl2.example.net"]
connect_rule = ["deny from in_dnsbl to *", "deny from no_name to *"]
mailfrom_rule = ["allow from has_mx to *", "deny from no_ip to *"]
"""


def main() -> None:
    """Write the configuration and become the gateway."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-inspection", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--checks", metavar="DNS")
    arguments = parser.parse_args()
    state = Path(os.environ["BENCH_DIR"])
    text = build_default_config(
        state_path=str(state),
        hostname="bench.localdomain",
        listen=f"127.0.0.1:{os.environ['BENCH_IN']}",
        next_hop=f"[127.0.0.1:{os.environ['BENCH_SINK']}]",
        protected_domains=("dest.example",),
    )
    changes = [("maximal_incoming_sessions_per_ip = 50", f"maximal_incoming_sessions_per_ip = {SESSIONS_PER_ADDRESS}")]
    listed = '["infected", "suspicious", "protected", "error", "filtered"]'
    # Notifications would be counted among what arrives.
    changes += [(f"{name} = {listed}\n", "") for name in ("notify_admin", "notify_recipient")]
    if arguments.no_inspection:
        changes.append(("[policy]\ncheck = true", "[policy]\ncheck = false"))
    if arguments.tls:
        certificate, key = arguments.tls
        changes += [
            ("\n[network]\n", f'\n[network]\ntls_cert = "{certificate}"\ntls_key = "{key}"\n'),
            ('\nbare_line_feed = "reject"\n', '\nbare_line_feed = "reject"\ntls = "required"\n'),
            ("\n[access]\n", '\n[tls]\noutgoing = "encrypt"\n\n[access]\n'),
        ]
    if arguments.checks:
        changes += [
            ('"127.0.0.0/8", "::1/128",\n', '"192.0.2.0/24",\n'),
            ("\n[network]\n", '\n[network]\ntrusted_networks = ["192.0.2.0/24"]\n'),
            ("\n[access]\n", f'\n[resolve]\nname_servers = ["{arguments.checks}"]\n\n[access]\n{CHECKS}'),
        ]
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"the shipped configuration has no {old!r}")
        text = text.replace(old, new)
    config = state / "gatepost.toml"
    config.write_text(text)
    os.execv(sys.executable, [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(config)])  # noqa: S606


if __name__ == "__main__":
    main()
