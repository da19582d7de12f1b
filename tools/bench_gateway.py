"""Start a gateway for a benchmark: listens on $BENCH_IN, relays everything to $BENCH_SINK, state in $BENCH_DIR.

Shipped defaults but for what a load driver on one address needs (sessions per address) and the domain it sends to;
`--no-inspection` switches scanning off. Ends with SIGTERM, as the gateway itself does.
"""

import os
import sys
from pathlib import Path

from gatepost.config.default import build_default_config

SESSIONS_PER_ADDRESS = 1000


def main() -> None:
    """Write the configuration and become the gateway."""
    state = Path(os.environ["BENCH_DIR"])
    text = build_default_config(
        state_path=str(state),
        hostname="bench.localdomain",
        listen=f"127.0.0.1:{os.environ['BENCH_IN']}",
        next_hop=f"[127.0.0.1:{os.environ['BENCH_SINK']}]",
        protected_domains=("dest.example",),
    )
    changes = {"maximal_incoming_sessions_per_ip = 50": f"maximal_incoming_sessions_per_ip = {SESSIONS_PER_ADDRESS}"}
    if "--no-inspection" in sys.argv[1:]:
        changes["[policy]\ncheck = true"] = "[policy]\ncheck = false"
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"the shipped configuration has no {old!r}")
        text = text.replace(old, new)
    config = state / "gatepost.toml"
    config.write_text(text)
    os.execv(sys.executable, [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(config)])  # noqa: S606


if __name__ == "__main__":
    main()
