"""`make bench`: the gateway and its peers in one interleaved run; the table goes into docs/performance.md.

The load driver and the peers' configurations are the ones beside the checkout (../shared/bench, or GATEPOST_BENCH).
Peers that are not installed are left out and named. Needs root for the peers; without it only the gateway is measured.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from bench_antispam import antispam
from bench_antivirus import antivirus
from bench_latency import PROGRAMS as LATENCY_PROGRAMS
from bench_latency import latency
from bench_more import other_conditions, own_arguments
from result_pages import made_at, write_section

ROOT = Path(__file__).resolve().parent.parent
BENCH = Path(os.environ.get("GATEPOST_BENCH", ROOT.parent / "shared" / "bench"))
PAGE = ROOT / "docs" / "performance.md"

OWN = {
    "gatepost, no inspection": "tools/bench_gateway.py --no-inspection",
    "gatepost": "tools/bench_gateway.py",
}
PEERS = {
    "postfix": ("/usr/sbin/postfix",),
    "postfix+rspamd+clamd": ("/usr/sbin/postfix", "/usr/bin/rspamd", "/usr/sbin/clamd", "/usr/bin/redis-server"),
}
MILTER = {
    "postfix+gatepost": "tools/bench_milter.py",
    "postfix+gatepost+clamd": "tools/bench_milter.py --clamd",
    "postfix+gatepost+clamd-files": "tools/bench_milter.py --clamd --files-alone",
    "postfix+gatepost-no-inspection": "tools/bench_milter.py --no-inspection",
}
MILTER_PEERS = {
    "postfix": ("/usr/sbin/postfix",),
    "postfix+rspamd": ("/usr/sbin/postfix", "/usr/bin/rspamd", "/usr/bin/redis-server"),
    "postfix+rspamd+clamd": PEERS["postfix+rspamd+clamd"],
}
COMPARISONS = (
    ("gatepost, no inspection", "postfix", "msg_per_cpu_s", 6.0, "messages per CPU second"),
    ("gatepost, no inspection", "postfix", "msg_s", 3.0, "messages per second"),
    ("gatepost", "postfix+rspamd+clamd", "msg_per_cpu_s", 5.0, "messages per CPU second"),
    ("postfix+gatepost", "postfix+rspamd+clamd", "msg_per_cpu_s", 4.0, "messages per CPU second, the same checks on"),
    ("postfix+gatepost+clamd", "postfix+rspamd+clamd", "msg_per_cpu_s", 4.0, "the same, the same clamd on both sides"),
    (
        "postfix+gatepost+clamd-files",
        "postfix+rspamd+clamd",
        "msg_per_cpu_s",
        4.0,
        "the same, and clamd is spared texts on both sides",
    ),
    (
        "postfix+gatepost",
        "postfix+rspamd",
        "msg_per_cpu_s",
        4.0,
        "messages per CPU second, no malware looked for there",
    ),
)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--n", type=int, default=1500, help="messages in a run")
    parser.add_argument("--c", type=int, default=20, help="sessions")
    parser.add_argument("--own-only", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--more", action="store_true", help="also with TLS, with checks, at half load, with 200 sessions"
    )
    parser.add_argument("--only-more", action="store_true", help="that alone, with the rows of the last comparison")
    parser.add_argument("--antivirus", action="store_true", help="engines, stores, memory; nothing else")
    parser.add_argument("--antispam", action="store_true", help="content checks one by one, --n mails; nothing else")
    parser.add_argument("--milter", action="store_true", help="Postfix that asks by milter: us, rspamd; nothing else")
    parser.add_argument("--latency", action="store_true", help="scans at half load: us, rspamd; nothing else")
    arguments = parser.parse_args()
    if not (BENCH / "peers.py").is_file():
        print(f"bench: no load driver at {BENCH}; set GATEPOST_BENCH to its directory", file=sys.stderr)
        return 1
    if arguments.antivirus:
        section = antivirus(BENCH, reps=arguments.reps, messages=arguments.n, sessions=arguments.c)
        print(section)
        write_section("anti-virus", section, PAGE)
        return 0
    if arguments.antispam:
        section = antispam(BENCH, messages=arguments.n)
        print(section)
        write_section("anti-spam", section, PAGE)
        return 0
    if arguments.latency:
        with_peers = os.geteuid() == 0 and all(map(shutil.which, LATENCY_PROGRAMS))
        section = latency(BENCH, reps=arguments.reps, messages=arguments.n, with_peers=with_peers)
        print(section)
        write_section("latency of a scan", section, PAGE)
        return 0
    if arguments.milter:
        os.environ["PYTHONPATH"] = str(BENCH)  # Postfix is configured as the peers' is
        return _compare(arguments, MILTER, _installed(MILTER_PEERS), ROOT / "build" / "bench-milter.jsonl", "by milter")
    peers = [] if arguments.own_only else _installed(PEERS)
    raw = ROOT / "build" / "bench.jsonl"
    status = 0 if arguments.only_more else _compare(arguments, OWN, peers, raw, "side by side")
    if raw.exists() and (arguments.more or arguments.only_more):
        section = other_conditions(
            BENCH,
            raw,
            reps=arguments.reps,
            messages=arguments.n,
            sessions=arguments.c,
            with_postfix="postfix" in peers,
        )
        print(section)
        write_section("under other conditions", section, PAGE)
    return status


def _compare(arguments: argparse.Namespace, own: dict[str, str], peers: list[str], raw: Path, section: str) -> int:
    """Run all systems side by side; return the exit status."""
    raw.parent.mkdir(exist_ok=True)
    raw.unlink(missing_ok=True)
    command = [sys.executable, "-B", "peers.py", "run", "--reps", str(arguments.reps), "--n", str(arguments.n)]
    command += ["--c", str(arguments.c), "--out", str(raw)]
    status = subprocess.run([*command, *own_arguments(own), *own, *peers], cwd=BENCH, check=False).returncode
    if not raw.exists():
        return status or 1
    table = _table(raw, arguments)
    print(table)
    write_section(section, table, PAGE)
    return status


def _installed(peers: dict[str, tuple[str, ...]]) -> list[str]:
    if os.geteuid() != 0:
        print("bench: not root, so only the gateway itself is measured", file=sys.stderr)
        return []
    found = []
    for name, programs in peers.items():
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            print(f"bench: {name} is left out, not installed: {', '.join(missing)}", file=sys.stderr)
        else:
            found.append(name)
    return found


def _table(raw: Path, arguments: argparse.Namespace) -> str:
    runs: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for line in raw.read_text().splitlines():
        row = json.loads(line)
        if row["msg_s"]:
            runs[row["load"], row["peer"]].append(row)

    def middle(load: str, peer: str, name: str) -> float:
        values = [row[name] for row in runs[load, peer] if row[name] is not None]
        return statistics.median(values) if values else float("nan")

    kind = "--milter " if arguments.milter else ""
    lines = [
        f"`make bench ARGS='{kind}--reps {arguments.reps} --n {arguments.n} --c {arguments.c}'`, "
        f"{made_at()}, {os.cpu_count()} cores; medians, mix of 70 % 2 KB, 25 % 28 KB, 5 % 300 KB.",
        "",
        "| load | system | msg/s | msg per CPU-s | CPU ms/msg | data→250 p50/p99 ms | accept→delivery p50/p99 ms "
        "| peak RSS MB | lost/dup/refused | neighbours' CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (load, peer), rows in sorted(runs.items()):
        total = [sum(int(row[name] or 0) for row in rows) for name in ("lost", "dup", "refused")]
        m = {name: middle(load, peer, name) for name in rows[0] if isinstance(rows[0][name], int | float)}
        lines.append(
            f"| {load} | {peer} | {m['msg_s']:.0f} | {m['msg_per_cpu_s']:.0f} | {m['cpu_ms_msg']:.2f} "
            f"| {m['acc_lat_p50']:.0f} / {m['acc_lat_p99']:.0f} | {m['lat_p50']:.0f} / {m['lat_p99']:.0f} "
            f"| {m['peak_rss_mb']:.0f} | {'/'.join(map(str, total))} | {m['foreign_cpu_s']:.1f} |"
        )
    lines.append("")
    for own, peer, name, aim, what in COMPARISONS:
        for load in sorted({load for load, _ in runs}):
            if runs.get((load, own)) and runs.get((load, peer)):
                ratio = middle(load, own, name) / middle(load, peer, name)
                lines.append(f"- {load}: {own} reaches {ratio:.1f} × {peer} in {what} (aim {aim:.0f} ×)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
