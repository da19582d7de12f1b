"""Web pages, SVG and XML: scripts, addresses, blobs; the longest search is still linear."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.html import open_page
from gatepost.antivirus.openers.xml import open_xml

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000


def execute(data: bytes) -> None:
    """Read the input as a page and as XML."""
    check(open_page, data)
    check(open_xml, data)


WORDS: Final = (
    b"<script>", b"</script>", b"<svg:script ", b"data:text/html;base64,", b"javascript:", b"java\tscript:", b"&#106;", b"&colon;", b"onload=",
    b"srcdoc=", b'href="', b"atob('", b"QUFB" * 17, b"=='", b"[77,90,144,", b"0x4d,", b"\\x4d", b"%u9090", b"\xff\xfe", b"<![CDATA[", b"]]>",
    b"<w:instrText>", b'<w:fldChar w:fldCharType="begin"/>', b'<w:fldSimple w:instr="', b'<w:binData w:name="a">', b' ss:Formula="=cmd|',
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield pages with one of each."""
    blob = b"TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    yield (
        b"<html><script>var b='"
        + blob
        + b"'+'"
        + blob
        + b"';x=["
        + b"77," * 40
        + b'0];y="'
        + b"4d5a" * 20
        + b'"</script>'
    )
    yield (
        b'<a href="&#106;ava&Tab;script:a()" onclick=\'b()\'><img src="data:application/octet-stream;base64,'
        + blob
        + b'">'
    )
    yield (
        b'<iframe srcdoc="&lt;script&gt;a()&lt;/script&gt;"><script>unescape(\''
        + b"%u4d4d%5a" * 20
        + b"')</script>"
        + blob * 8
    )
    yield (
        b'<?xml version="1.0"?><w:d><w:binData w:name="a.mso">'
        + blob
        + b"</w:binData><w:instrText>DDE a</w:instrText></w:d>"
    )
    yield "<?xml version='1.0'?><svg onload='a()'><script>b()</script></svg>".encode("utf-16")
