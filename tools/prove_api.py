"""`make prove NAME=api`: the interface for programs under a long run of generated requests, lawful and not.

A gateway with mail in it; every operation but those that end it; all phases of the generator. Fails when an answer was
not promised by the description, when something was answered without a token, or when the gateway did not survive.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.contract import HURRY, make_token, try_contract
from tests.support.gateway import Gateway
from tests.support.sink import Sink

MAIL = b"Subject: proof\r\nFrom: a@example.net\r\nTo: user@example.org\r\n\r\nbody\r\n"


def main() -> int:
    """Return 0 when all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=30, help="generated requests an operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds")
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
            )
            print(done.stdout[-6000:], done.stderr[-2000:])
            broken = [line for line in gateway.log().splitlines() if "inner error" in line or "Traceback" in line]
            print("\n".join(broken[:20]))
            alive = gateway.ask("status", check=False)
    return 0 if done.returncode == 0 and not broken and alive else 1


if __name__ == "__main__":
    sys.exit(main())
