"""Start a gateway for a benchmark: listens on $BENCH_IN, relays everything to $BENCH_SINK, state in $BENCH_DIR.

Shipped defaults but for what a load driver on one address needs (sessions per address) and the domain it sends to.
Ends with SIGTERM, as the gateway itself does.

--no-inspection   scanning for malware and spam switched off
--tls CERT KEY    STARTTLS is required of clients, and used towards the next hop
--checks DNS      clients are strangers: two block lists, the client's name, the sender's domain, asked of this server
--deliver         what is infected is delivered with a text in its place, so that the driver sees all mail again
--bases DIR KEY   these databases, signed by this key
--clamd SOCKET    the only engine is this clamd
--no-engine       everything but that no engine looks
--no-spam         nothing but the anti-virus stage looks
--stores          incoming and outgoing archive on, infected mail into quarantine
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench_common import free_ports, wait_for_greeting, wait_until_settled
from gatepost.antivirus.engine import CLEAN, Report, ScanObject
from gatepost.config.default import build_default_config

SESSIONS_PER_ADDRESS = 1000
CHECKS = """dns_black_list = ["bl1.example.net", "bl2.example.net"]
connect_rule = ["deny from in_dnsbl to *", "deny from no_name to *"]
mailfrom_rule = ["allow from has_mx to *", "deny from no_ip to *"]
"""


class NoEngine:
    """Stands where the built-in engine does: a gateway has at least one engine of its own."""

    name = "none"

    def version(self) -> str:
        return "1"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        del subject, deadline
        return CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        del subject
        return None

    def health(self) -> str:
        return ""


def run_without_builtin(config: Path) -> None:
    """Run the gateway with `NoEngine` in place of the built-in engine, which no configuration can do."""
    from gatepost.master import bases_in_force, daemon  # noqa: PLC0415 - only here

    made = vars(bases_in_force)["filter_settings"]

    def without(*arguments: Any) -> Any:
        return msgspec.structs.replace(made(*arguments), engines=("bench_gateway:NoEngine",))

    vars(bases_in_force)["filter_settings"] = without
    tools = str(Path(__file__).resolve().parent)  # where the filters' template finds it
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (tools, os.environ.get("PYTHONPATH"))))
    sys.exit(daemon.run(daemon.Options(config, use_pid_file=False)))


def open_when_settled(config: Path, early: str, late: str) -> None:
    """Have the gateway that this process becomes listen at `late` instead of `early` once all of it has started, for a
    driver begins when it is greeted. Done by a process of nobody's, so that it is not counted.
    """
    gateway = os.getpid()
    if os.fork():
        os.wait()
        return
    if not os.fork():
        wait_for_greeting(int(early.rpartition(":")[2]))
        wait_until_settled(gateway)
        config.write_text(config.read_text().replace(f'"{early}"', f'"{late}"'))
        os.kill(gateway, signal.SIGHUP)
    os._exit(0)


def main() -> None:
    """Write the configuration and become the gateway."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-inspection", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--checks", metavar="DNS")
    parser.add_argument("--deliver", action="store_true")
    parser.add_argument("--bases", nargs=2, metavar=("DIR", "KEY"))
    parser.add_argument("--clamd", metavar="SOCKET")
    parser.add_argument("--no-engine", action="store_true")
    parser.add_argument("--no-spam", action="store_true")
    parser.add_argument("--stores", action="store_true")
    arguments = parser.parse_args()
    state = Path(os.environ["BENCH_DIR"])
    early = f"127.0.0.1:{free_ports(1)[0]}"
    text = build_default_config(
        state_path=str(state),
        hostname="bench.localdomain",
        listen=early,
        next_hop=f"[127.0.0.1:{os.environ['BENCH_SINK']}]",
        protected_domains=("dest.example",),
    )
    changes = [("maximal_incoming_sessions_per_ip = 50", f"maximal_incoming_sessions_per_ip = {SESSIONS_PER_ADDRESS}")]
    listed = '["infected", "suspicious", "protected", "error", "filtered"]'
    # Notifications would be counted among what arrives.
    changes += [(f"{name} = {listed}\n", "") for name in ("notify_admin", "notify_recipient")]
    if arguments.no_inspection:
        off = "check = false\ncheck_spam = false\nspam_headers = false"
        changes.append(("[policy]\ncheck = true", f"[policy]\n{off}"))
    elif arguments.no_spam:
        changes.append(("[policy]\n", "[policy]\ncheck_spam = false\nspam_headers = false\n"))
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
    if arguments.deliver:
        changes.append((f"block_message = {listed}\n", "block_message = []\n"))
    if arguments.bases:
        directory, key = arguments.bases
        changes.append(("[path]\n", f'[path]\nbases_path = "{directory}"\n'))
        changes.append(("[ave]\n", f'[ave]\ntrusted_keys = ["{key}"]\n'))
    if arguments.stores:
        archives = f'incoming_archive_path = "{state}/in"\noutgoing_archive_path = "{state}/out"\n'
        changes.append(("[path]\n", f"[path]\n{archives}"))
        changes.append(("\n[policy]\n", '\n[policy]\nsave_in_quarantine = ["infected"]\n'))
    if arguments.clamd:
        text += f'\n[[engine]]\nname = "clamd"\nkind = "clamd"\naddress = "{arguments.clamd}"\n'
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"the shipped configuration has no {old!r}")
        text = text.replace(old, new)
    config = state / "gatepost.toml"
    config.write_text(text)
    open_when_settled(config, early, f"127.0.0.1:{os.environ['BENCH_IN']}")
    if arguments.clamd or arguments.no_engine:
        run_without_builtin(config)
    os.execv(sys.executable, [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(config)])  # noqa: S606


if __name__ == "__main__":
    main()
