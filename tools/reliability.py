"""docs/reliability.md: one section a proof, replaced by its latest result."""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"


def write_section(name: str, text: str) -> None:
    """Replace (or add) the section between the markers of `name`."""
    begin, end = f"<!-- {name}: written by make prove -->", f"<!-- end {name} -->"
    section = f"{begin}\n{text}\n{end}"
    old = FILE.read_text() if FILE.exists() else "# Reliability: proofs and their latest results\n"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n## {name}\n\n{section}\n"
    FILE.write_text(new)
