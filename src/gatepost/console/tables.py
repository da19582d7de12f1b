"""Tables to be taken along: `build_csv`. Pure.

Used by pages whose lists can be downloaded. Cells hold what strangers wrote, and spreadsheets run cells that look like
formulas.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from litestar import Response

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings that a spreadsheet takes for a formula, or leaves out before one; in some languages also wide ones."""
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
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _harmless(text: str) -> str:
    return f"'{text}" if text.lstrip(" \u00a0\u3000\ufeff").startswith(_FORMULA) else text
