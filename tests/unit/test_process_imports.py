"""What processes carry: relays and master none of the libraries that read messages, a template without anti-spam none of
its own.
"""

import json
import subprocess
import sys

import pytest

READERS = ("numpy", "hyperscan", "PIL", "zxingcpp", "selectolax", "lxml", "pikepdf")
# Hyperscan is anti-virus's, too: it looks for base64 in texts.
SPAM = ("numpy", "PIL", "zxingcpp", "can_ada", "gatepost.antispam", "gatepost.authn")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("gatepost.relay.process", READERS),
        ("gatepost.master.process", (*READERS, "gatepost.antispam")),
        ("gatepost.filter.template", SPAM),
    ],
)
def test_a_process_carries_only_what_it_uses(module: str, absent: tuple[str, ...]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not set(absent).intersection(json.loads(loaded))
