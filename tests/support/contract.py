"""Has a running gateway's interface tried by a generator of requests, against its own description (schemathesis)."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gatepost.console.api import description
from gatepost.control.rights import RIGHTS_OF, Right, Role
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
)
LEFT_OUT = ("stopService", "followEvents", "updateDatabases", "rollBackDatabases")
"""What ends the gateway, what never ends, and what starts a program for each of hundreds of requests."""
HURRY = ("[console]\n", "[console]\napi_rate = 10000\n")
"""Change of the configuration: nobody is told to wait."""
SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""
"""Of the generator: as shipped, and 413, for a text can also be too long to be read at all."""


def make_token(gateway: Gateway, name: str = "ada", *rights: Right) -> str:
    """Return a token of a new administrator, with all rights unless some are named."""
    wait_for(lambda: gateway.ask("console.status")["up"], "the console to run")
    gateway.ask("accounts.add", name=name, role="admin")
    chosen = rights or sorted(RIGHTS_OF[Role.ADMIN] - {Right.NONE, Right.SELF})
    token: str = gateway.ask("accounts.add_token", name=name, label="test", rights=list(chosen))["token"]
    return token


def try_contract(
    gateway: Gateway,
    token: str,
    *,
    examples: int,
    phases: str = "examples,fuzzing",
    seed: int = 1,
    timeout_s: float = 300,
    operations: Sequence[str] = (),
) -> "subprocess.CompletedProcess[str]":
    """Run the generator: `examples` requests an operation. Its exit status is 0 when all answers were promised."""
    schema = Path(description.__file__).with_name(description.FILE)
    words = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(schema)),
        *("--url", f"http://127.0.0.1:{gateway.console_port}/api/v1"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--max-examples", str(examples), "--seed", str(seed), "--phases", phases, "--checks", ",".join(CHECKS)),
        *("--generation-deterministic", "--no-color", "--max-failures", "5", "--workers", "1"),
    ]
    words += [word for name in LEFT_OUT for word in ("--exclude-operation-id", name)]
    words += [word for name in operations for word in ("--include-operation-id", name)]
    with tempfile.TemporaryDirectory() as place:  # it leaves a memory of failures where it is run
        Path(place, "schemathesis.toml").write_text(SETTINGS)
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout_s, cwd=place)
