"""`make pictures`: docs/pictures/demo.svg, the table of `make run` as it really came out; and pages of the console."""

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from console_pictures import make_console_pictures
from gatepost.cli.demo import Demo

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "demo.svg"
PORTS = (2525, 2526)
WIDTH = 128


def main() -> int:
    """Run the demo and keep a picture of its last table; non-zero when an outcome was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(Path(folder), *PORTS)
        status = asyncio.run(demo.run(once=True))
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(demo.table())
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(console.export_svg(title="make run"))
    make_console_pictures(PICTURE.parent)
    return status


if __name__ == "__main__":
    sys.exit(main())
