"""`make fuzz [NAME=server] [ARGS="--cpu-minutes 5"]`: coverage-guided fuzzing of what reads bytes from strangers.

Targets are the modules of fuzz/targets. They take turns, a round each in a process of its own, until each has had its
share; what was found is kept in build/fuzz/NAME and used by the next call. A crash ends the turns of its target, and
the run with exit code 1; the input lies in build/fuzz/NAME.crash-*. Executions, CPU time, crashes and commits add up in
fuzz/figures.json and are shown in docs/reliability.md. `--keep` boils what was found down to the small corpus in
fuzz/corpus, which the tests replay.
"""

import argparse
import importlib
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fuzz"))

from keeping import keep  # noqa: E402
from targets import NAMES  # noqa: E402

from result_pages import made_at, write_section  # noqa: E402

WORK = ROOT / "build" / "fuzz"
CORPUS = ROOT / "fuzz" / "corpus"
FIGURES = ROOT / "fuzz" / "figures.json"

HERE = "--here"
"""First argument of the process that fuzzes; the rest are the target and libFuzzer's own arguments."""
ROUND_S = 180
"""Seconds between two notes of the figures: so much is lost when a run is broken off."""
SHORTEST_ROUND_S = 20
"""A process needs some seconds before its first input."""
BUSY = 4
"""Seconds by the clock for one of CPU that a target is still to have: the machine may be another's, too."""
INPUT_CPU_S = 4
"""CPU time one input may take, instrumented as it is; the longest takes some hundred milliseconds."""
INPUT_TIMEOUT_S = 120
"""The same by the clock, for what does not come back: a busy machine gives a thirtieth of its time."""
MEMORY_MB = 1024

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"\bcov: (\d+)")


class Figures(msgspec.Struct):
    """What a target has had so far."""

    executions: int = 0
    cpu_s: float = 0.0
    edges: int = 0
    """Edges of the instrumented code that were reached in the last round."""
    crashes: int = 0
    """Rounds that ended with one, in all."""
    last: str = ""
    """Date and commit of the last round."""


def load_figures() -> dict[str, Figures]:
    if not FIGURES.exists():
        return {}
    return msgspec.json.decode(FIGURES.read_bytes(), type=dict[str, Figures])


def save_figures(figures: dict[str, Figures]) -> None:
    ordered = {name: figures[name] for name in NAMES if name in figures}
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(ordered)) + b"\n")
    rows = [
        "| Target | Executions | CPU minutes | Edges reached | Crashes, all mended | Last run |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {name} | {one.executions:,} | {one.cpu_s / 60:.1f} | {one.edges} | {one.crashes} | {one.last} |"
        for name, one in ordered.items()
    ]
    write_section("fuzz", "`make fuzz`, all runs added up:\n\n" + "\n".join(rows))


def fuzz_here(name: str, arguments: list[str]) -> None:
    """Run libFuzzer in this process; it never returns."""
    import atheris  # noqa: PLC0415
    from atheris.import_hook import HookManager  # noqa: PLC0415

    packages = importlib.import_module(f"targets.{name}").INSTRUMENTED
    for module in [module for module in sys.modules if module.startswith(("gatepost", "targets", "dns"))]:
        del sys.modules[module]
    # Without the tracing of comparisons, which costs twice the time: the dictionary knows the words.
    with HookManager(set(packages), set(), enable_loader_override=True, trace_dataflow=False):
        target = importlib.import_module(f"targets.{name}")

    def execute(data: bytes) -> None:
        before = time.process_time()
        target.execute(data)
        used = time.process_time() - before
        if used > INPUT_CPU_S:
            raise TimeoutError(f"{len(data)} bytes took {used:.1f} s of CPU")

    atheris.Setup([sys.argv[0], *arguments], execute)
    atheris.Fuzz()


def prepare(name: str) -> Path:
    """Lay out the folder of what is found, with the seeds, the kept corpus and the dictionary. Return the folder."""
    target = importlib.import_module(f"targets.{name}")
    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (found / f"seed-{number:03}").write_bytes(seed)
    words = ['"' + "".join(f"\\x{octet:02X}" for octet in word) + '"' for word in target.WORDS]
    (WORK / f"{name}.dict").write_text("\n".join(words) + "\n")
    return found


def run_round(name: str, executions: int, seconds: int) -> tuple[int, float, int, bool]:
    """Fuzz for a while in a process of its own. Return (executions, CPU seconds, edges, whether it broke)."""
    found = prepare(name)
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    limit = importlib.import_module(f"targets.{name}").LENGTH_LIMIT
    command = [
        sys.executable, str(Path(__file__)), HERE, name, str(found), str(kept), f"-dict={WORK / name}.dict",
        f"-runs={executions}", f"-max_total_time={seconds}", f"-max_len={limit}", f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={WORK / name}.", "-print_final_stats=1",
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    executed = _EXECUTED.search(process.stderr)
    covered = _COVERED.findall(process.stderr)
    if process.returncode or executed is None:
        sys.stdout.write("\n".join((process.stdout + process.stderr).splitlines()[-40:]) + "\n")
    return int(executed[1]) if executed else 0, cpu_s, int(covered[-1]) if covered else 0, process.returncode != 0


class Share:
    """What one target is still to get in this call."""

    def __init__(self, name: str, executions: int, cpu_s: float) -> None:
        self.name = name
        self.executions = executions
        self.cpu_s = cpu_s
        self.broken = False

    @property
    def is_open(self) -> bool:
        return not self.broken and self.executions > 0 and self.cpu_s > 0


def take_turn(share: Share) -> None:
    """Give a target one round, and note what came of it."""
    name = share.name
    began = time.monotonic()
    seconds = min(ROUND_S, max(SHORTEST_ROUND_S, round(BUSY * share.cpu_s)))
    executed, used, edges, share.broken = run_round(name, share.executions, seconds)
    share.executions = share.executions - executed if executed else 0
    share.cpu_s -= used
    figures = load_figures()
    one = figures.setdefault(name, Figures())
    one.executions += executed
    one.cpu_s = round(one.cpu_s + used, 1)
    one.edges = edges or one.edges
    one.crashes += share.broken
    one.last = made_at()
    save_figures(figures)
    rate = executed / used if used else 0
    print(
        f"{name}: {executed} executions in {used:.0f} s of CPU ({rate:.0f}/s, {time.monotonic() - began:.0f} s), "
        f"{edges} edges; in all {one.executions} in {one.cpu_s / 60:.1f} minutes",
        flush=True,
    )


def fuzz(names: Sequence[str], executions: int, cpu_s: float, *, in_all: bool) -> list[str]:
    """Give each target its share, in turns; return those an input of which broke a promise. `in_all`: what earlier
    calls gave counts.
    """
    figures = load_figures() if in_all else {}
    shares = [Share(name, executions, cpu_s - figures.get(name, Figures()).cpu_s) for name in names]
    while any(share.is_open for share in shares):
        for share in shares:
            if share.is_open:
                take_turn(share)
    return [share.name for share in shares if share.broken]


def main() -> int:
    if sys.argv[1:2] == [HERE]:
        fuzz_here(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"all when none is named: {', '.join(NAMES)}")
    parser.add_argument("--executions", type=int, default=10**9, help="of each target, in this call")
    parser.add_argument("--cpu-minutes", type=float, default=1.0, help="of each target, in this call")
    parser.add_argument("--in-all", action="store_true", help="CPU minutes of earlier calls count")
    parser.add_argument("--keep", action="store_true", help="only renew fuzz/corpus from what was found")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    names = arguments.names or NAMES
    if arguments.keep:
        for name in names:
            print(f"{name}: {keep(name, WORK / name, CORPUS / name)}", flush=True)
        return 0
    broken = fuzz(names, arguments.executions, arguments.cpu_minutes * 60, in_all=arguments.in_all)
    print(f"fuzz: FAILED: {', '.join(broken)}" if broken else "fuzz: passed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
