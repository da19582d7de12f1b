"""`make prove [NAME=…]`: the long proofs. Each is a module of its own here; all of them when none is named."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
PROOFS = {
    "agreement": "prove_agreement.py",
    "api": "prove_api.py",
    "bombs": "prove_bombs.py",
    "doors": "prove_doors.py",
    "kill": "prove_kill.py",
    "package": "prove_package.py",
    "pages": "prove_pages.py",
    "power": "prove_power.py",
    "release": "prove_release.py",
    "scale": "prove_scale.py",
    "tracking": "prove_tracking.py",
    "tricks": "prove_tricks.py",
    "updates": "prove_updates.py",
}


def main(arguments: list[str]) -> int:
    """Run the named proof with the remaining arguments, or all."""
    names = list(PROOFS)
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        if name not in PROOFS:
            print(f"no proof is called {name!r}: one of {', '.join(PROOFS)}", file=sys.stderr)
            return 2
        names = [name]
    for name in names:
        print(f"== prove {name}", flush=True)
        status = subprocess.run([sys.executable, str(TOOLS / PROOFS[name]), *arguments], check=False).returncode
        if status:
            print(f"prove {name}: FAILED", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
