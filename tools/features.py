"""`make features`: which rows of the acceptance list have a test that performs their observable check.

Reads the `feature` marks out of the test sources; with the list at hand (../shared/spec/features.md) also shows titles
and what is not covered. `--json` for machines.
"""

import argparse
import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT.parent / "shared" / "spec" / "features.md"


def marked(path: Path) -> list[tuple[str, str]]:
    """Return (row id, test) for every feature mark in one test module, classes and modules included."""
    found = []
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.feature":
                found += [
                    (argument.value, f"{path.relative_to(ROOT)}::{node.name}")
                    for argument in decorator.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                ]
    return found


def rows() -> dict[str, str]:
    """Return {row id: feature} of the acceptance list, empty when it is not at hand."""
    if not LIST.is_file():
        return {}
    pattern = re.compile(r"^\| \d+ \| (F-[A-Z]+-\d+) \| ([^|]+) \|", re.MULTILINE)
    return {row: title.strip() for row, title in pattern.findall(LIST.read_text())}


def main() -> int:
    """Print the table; non-zero when a mark names a row that does not exist."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    covered: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for row, test in marked(path):
            covered.setdefault(row, []).append(test)
    titles = rows()
    if arguments.json:
        print(json.dumps({"covered": covered, "total": len(titles) or None}, indent=2))
    else:
        for row in sorted(covered):
            print(f"{row:<12} {titles.get(row, ''):<80.80} {covered[row][0]}")
        total = f" of {len(titles)}" if titles else ""
        print(f"{len(covered)}{total} rows covered by tests")
    unknown = sorted(set(covered) - set(titles)) if titles else []
    if unknown:
        print(f"marks name rows that are not in the list: {', '.join(unknown)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
