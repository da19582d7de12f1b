"""Start a Postfix that asks a gateway by milter, for a benchmark: listens on $BENCH_IN, relays to $BENCH_SINK.

Postfix is configured as the driver's peers configure theirs ($GATEPOST_BENCH, on PYTHONPATH): only who its milter is
differs. The gateway has a milter door and no listener, shipped defaults else. State in $BENCH_DIR. Ends with SIGTERM.

--no-inspection   the door answers without a look: what asking alone costs
--clamd           the driver's clamd looks as well, as it does behind rspamd
--files-alone     … and is spared texts, as rspamd spares it them by default
"""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_common import free_ports, wait_until_settled
from gatepost.config.default import build_default_config

OFF = "[policy]\ncheck = false\ncheck_spam = false\nspam_headers = false"
START_S = 60.0


def main() -> None:
    """Run both until a signal ends them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-inspection", action="store_true")
    parser.add_argument("--clamd", action="store_true")
    parser.add_argument("--files-alone", action="store_true")
    arguments = parser.parse_args()
    state = Path(os.environ["BENCH_DIR"])
    os.environ["RELAY_BENCH_DIR"] = str(state / "peer")
    peers: Any = importlib.import_module("peers")
    peers.IN, peers.SINK = int(os.environ["BENCH_IN"]), int(os.environ["BENCH_SINK"])
    (peers.RPROXY, peers.CLAMD) = free_ports(2)
    (state / "peer").mkdir()
    if arguments.clamd:
        peers.clamd()
    gateway = subprocess.Popen(
        [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(_configure(state, peers, arguments))],
        stdin=subprocess.DEVNULL,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        peers.wait_port(peers.RPROXY, START_S)
        wait_until_settled(gateway.pid)
        peers.postfix(milter=1)
        while gateway.poll() is None:
            time.sleep(1)
    finally:
        gateway.terminate()
        gateway.wait(START_S)
        subprocess.run(["/usr/sbin/postfix", "-c", str(state / "peer/postfix/etc"), "stop"], check=False)
        for each in peers.procs:
            each.terminate()


def _configure(state: Path, peers: Any, arguments: argparse.Namespace) -> Path:
    text = build_default_config(
        state_path=str(state / "gateway"),
        hostname="bench.localdomain",
        listen="127.0.0.1:25",
        next_hop="[127.0.0.1:25]",
        protected_domains=("dest.example",),
    )
    listed = '["infected", "suspicious", "protected", "error", "filtered"]'
    changes = [
        ('[[listener]]\naddress = "127.0.0.1:25"\n', ""),
        ('bare_line_feed = "reject"\n', ""),
        ("[network]\n", "[network]\nlisten_on = []\n"),
        # Notifications would be counted among what arrives.
        *((f"{name} = {listed}\n", "") for name in ("notify_admin", "notify_recipient")),
    ]
    if arguments.no_inspection:
        changes.append(("[policy]\ncheck = true", OFF))
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"the shipped configuration has no {old!r}")
        text = text.replace(old, new)
    text += f'\n[[door]]\nname = "postfix"\nkind = "milter"\naddress = "tcp:127.0.0.1:{peers.RPROXY}"\n'
    if arguments.clamd:
        text += f'\n[[engine]]\nname = "clam"\nkind = "clamd"\naddress = "127.0.0.1:{peers.CLAMD}"\n'
        text += f"texts = {str(not arguments.files_alone).lower()}\n"
    (state / "gateway").mkdir()
    config = state / "gateway" / "gatepost.toml"
    config.write_text(text)
    return config


if __name__ == "__main__":
    main()
