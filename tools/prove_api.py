"""`make prove NAME=api`: the interface for programs under a long run of generated requests, lawful and not.

A gateway with mail in it; every operation but those that end it; all phases of the generator. Fails when an answer was
not promised by the description, when something was answered without a token, or when the gateway did not survive. Whole
it takes a quarter of an hour; `--part 2/5` is the second fifth of the operations, `--only NAME` one of them.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.contract import HURRY, LEFT_OUT, make_token, try_contract
from tests.support.gateway import Gateway
from tests.support.sink import Sink

from gatepost.console.api import description
from result_pages import made_at, write_section

MAIL = b"Subject: proof\r\nFrom: a@example.net\r\nTo: user@example.org\r\n\r\nbody\r\n"
WHOLE = "1/1"
CASES = re.compile(r"(\d+) generated, \1 passed")
FAILURES = "= FAILURES ="
"""Before what the generator says of what failed; what it tells before is its progress."""
TOLD = 20_000
"""Characters of that."""


def list_operations() -> list[str]:
    """Return the names of the operations that are tried, in the order of their paths."""
    schema = json.loads(Path(description.__file__).with_name(description.FILE).read_text())
    names = [operation["operationId"] for path in schema["paths"].values() for operation in path.values()]
    return [name for name in names if name not in LEFT_OUT]


def choose(part: str) -> list[str]:
    """Return the operations of a part, `2/5`: each fifth beginning with the second, so that parts are alike."""
    number, parts = map(int, part.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(part)
    return list_operations()[number - 1 :: parts]


def tell(said: str) -> str:
    """Return what is worth reading of what the generator said."""
    _, found, failures = said.partition(FAILURES)
    return (found + failures)[:TOLD] if found else said[-TOLD // 4 :]


def main() -> int:
    """Return 0 when all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=30, help="generated requests an operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds")
    parser.add_argument("--part", default=WHOLE, metavar="K/N", help="only that part of the operations")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this operation; may be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Sink() as sink:
        gateway = Gateway(Path(place), sink.port, console=True)
        gateway.edit(*HURRY)
        with gateway:
            token = make_token(gateway)
            gateway.ask("switch", module="send", on=False)
            for _ in range(20):
                gateway.send(MAIL)
            done = try_contract(
                gateway,
                token,
                examples=options.examples,
                phases="examples,coverage,fuzzing",
                seed=options.seed,
                timeout_s=options.timeout,
                operations=options.only or choose(options.part),
            )
            print(tell(done.stdout), done.stderr[-2000:])
            broken = [line for line in gateway.log().splitlines() if "inner error" in line or "Traceback" in line]
            print("\n".join(broken[:20]))
            alive = gateway.ask("status", check=False)
    if done.returncode or broken or not alive:
        return 1
    if (cases := CASES.search(done.stdout)) and not options.only and options.part == WHOLE:
        write_section(
            "the interface for programs",
            f"{made_at()}, `make prove NAME=api ARGS='--examples {options.examples} --seed {options.seed}'`: "
            f"{cases[1]} requests to {len(list_operations())} operations; each answer is one that the description "
            "promises, nothing was answered without a token, and the gateway went on.",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
