"""Tables to be taken along: `build_csv`. Pure.

Used by pages whose lists can be downloaded. Cells hold what strangers wrote, and spreadsheets run cells that look like
formulas.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

from litestar import Response

_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings that a spreadsheet takes for a formula, or leaves out before one; in some languages also wide ones."""
_STEERING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BOM: Final = "\ufeff"
"""Spreadsheets read the file as UTF-8 only with it."""


def build_csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV (RFC 4180). Texts that could be run have an apostrophe in front; numbers stay numbers."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([each if isinstance(each, int | float) else _harmless(str(each)) for each in row])
    return out.getvalue()


def download(name: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Response[str]:
    """Return a table as a file for the visitor to keep; `name` is one of ours."""
    return Response(
        _BOM + build_csv(heads, rows),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _harmless(text: str) -> str:
    """Return a text without what steers a terminal or begins a line of the file, and with an apostrophe before what a
    spreadsheet would run.
    """
    text = _STEERING.sub(lambda found: f"⟨{ord(found.group()):02X}⟩", text)
    return f"'{text}" if text.lstrip(" \u00a0\u3000\ufeff").startswith(_FORMULA) else text
