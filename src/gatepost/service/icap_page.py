"""The page that a web proxy shows in place of what it does not get: `build_block_page`.

Called by `service.icap_door`. Whatever a name holds, it is text on the page.
"""

import html
from string import Template
from typing import Final

TEXT_LIMIT: Final = 500
"""Characters of an address or a name on the page."""

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem }
dt { font-weight: bold }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere }
footer { color: #666; font-size: .85rem; border-top: 1px solid #ccc; margin-top: 2rem }
</style>
</head>
<body>
<h1>$title</h1>
<p>$text</p>
<dl>$facts</dl>
<footer>Gatepost at $host</footer>
</body>
</html>
""")


def build_block_page(title: str, text: str, host: str, *facts: tuple[str, str]) -> str:
    """Return the page; of `facts`, term and value, those with a value are listed."""
    listed = "".join(
        f"\n<dt>{html.escape(term)}</dt><dd>{html.escape(value[:TEXT_LIMIT])}</dd>" for term, value in facts if value
    )
    return _PAGE.substitute(title=html.escape(title), text=html.escape(text), facts=listed, host=html.escape(host))
