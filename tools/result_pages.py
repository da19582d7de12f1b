"""Pages with results of proofs and measurements: one section each, replaced by its latest result."""

import re
import subprocess
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
RELIABILITY = DOCS / "reliability.md"

TITLES = {
    "reliability.md": "# Reliability: proofs and their latest results",
    "performance.md": "# Performance: measurements and their latest results",
}


def made_at() -> str:
    """Return date and commit of this moment, as the pages name them."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False).stdout.strip()
    return f"{time.strftime('%Y-%m-%d')}, commit {commit or 'unknown'}"


def write_section(name: str, text: str, page: Path = RELIABILITY) -> None:
    """Replace (or add) the section between the markers of `name` on a page."""
    begin, end = f"<!-- {name}: written by its tool -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text}\n{end}"
    old = page.read_text() if page.exists() else TITLES.get(page.name, f"# {page.stem}") + "\n"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    heading = name[0].upper() + name[1:]
    new = (
        pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n## {heading}\n\n{section}\n"
    )
    page.write_text(new)
