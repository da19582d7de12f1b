"""One small document of each kind that a library reads, for `warm_up`: see `samples`.

Made when asked for, by the libraries themselves.
"""

import io
from collections.abc import Iterator

import pikepdf

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.samples import PASSWORD


def build_documents() -> Iterator[tuple[Kind, bytes]]:
    """Yield (kind, document)."""
    for user in ("", PASSWORD):
        with pikepdf.new() as document:
            document.add_blank_page()
            script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=document.make_stream(b"app.beep()"))
            document.Root.OpenAction = document.make_indirect(script)
            document.attachments["a.txt"] = b"content"
            out = io.BytesIO()
            document.save(out, encryption=pikepdf.Encryption(owner="owner", user=user))
        yield Kind.PDF, out.getvalue()
        yield Kind.PDF, out.getvalue()[:-64]
    yield (
        Kind.HTML,
        b"<a href='&#106;avascript:a()'><script>atob('" + b"QUFB" * 20 + b"')</script><img src='data:a/b,c'>",
    )
    yield Kind.XML, b"<?xml version='1.0' encoding='utf-16'?><a>&amp;</a>".decode("ascii").encode("utf-16")
    yield Kind.MBOX, b"From a Thu Jan  1 00:00:00 1970\r\nFrom: a\r\nTo: b\r\n\r\nmail\r\n"
