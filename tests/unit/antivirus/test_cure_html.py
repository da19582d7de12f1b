"""Web pages and SVG pictures without what acts: tricks of all kinds, and what people see stays."""

import random
import re

import pytest
from selectolax.lexbor import LexborHTMLParser

from gatepost.antivirus.cure import html
from gatepost.antivirus.cure.html import cure_html
from gatepost.antivirus.cure.svg import cure_svg

TRICKS = [
    b"<script>alert(1)</script>",
    b"<SCRIPT SRC=//e.org/x></SCRIPT>",
    b"<img src=x onerror=alert(1)>",
    b'<img/src="x"/onerror=alert(1)>',
    b"<body onload=alert(1)>",
    b'<a href="javascript:alert(1)">x</a>',
    b'<a href="java\tscr\nipt:alert(1)">x</a>',
    b'<a href="&#106;avascript&colon;alert(1)">x</a>',
    b'<a href="\x01 javascript:alert(1)">x</a>',
    b'<a href="vbscript:alert(1)">x</a>',
    b'<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
    b'<a download="x.exe" href="data:application/octet-stream;base64,TVo=">x</a>',
    b'<a href="blob:https://e.org/1">x</a>',
    b'<a href="\\\\e.org\\share\\x.lnk">x</a>',
    b"<iframe src=https://e.org></iframe>",
    b'<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    b"<object data=x.swf><param name=movie value=x></object>",
    b"<embed src=x>",
    b"<applet code=x></applet>",
    b"<base href=https://e.org/>",
    b'<meta http-equiv="refresh" content="0;url=https://e.org">',
    b'<form action="javascript:alert(1)"><button>x</button></form>',
    b'<form><button formaction="javascript:alert(1)">x</button></form>',
    b"<details open ontoggle=alert(1)>x</details>",
    b"<svg><script>alert(1)</script></svg>",
    b"<svg/onload=alert(1)>",
    b"<svg><animate onbegin=alert(1) attributeName=x></svg>",
    b'<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    b'<math href="javascript:alert(1)">x</math>',
    b'<link rel="import" href="x.html">',
    b'<link rel="stylesheet" href="javascript:alert(1)">',
    b"<style>@import 'https://e.org/x.css';</style>",
    b'<p style="width:expre/**/ssion(alert(1))">x</p>',
    b'<p style="behavior:url(x.htc)">x</p>',
    b'<p style="-moz-binding:url(x)">x</p>',
    b'<p style="background:url(java\\script:alert(1))">x</p>',
    b"<!--[if IE]><script>alert(1)</script><![endif]-->",
    b"<table background=javascript:alert(1)>",
    b"<xml id=x></xml>",
    # Markup that means something else when it is read twice.
    b'<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    b'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    b"<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    b'<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    b"<svg><desc><title><style><img src=x onerror=alert(1)></style></title></desc></svg>",
    b"<listing>&lt;img src=1 onerror=alert(1)&gt;</listing>",
    b'<xmp><p title="</xmp><img src onerror=alert(1)>"></xmp>',
    b'<img src="x` `<script>alert(1)</script>"` `>',
    b"<plaintext><script>alert(1)</script>",
    b"<select><template><script>alert(1)</script></template></select>",
    b'<a <!-- x="-->" onclick=alert(1)>x</a>',
    b"<textarea><script>a</script></textarea><img src=x onerror=alert(1)>",
]  # fmt: skip

FORBIDDEN_TAGS = {
    "script", "iframe", "object", "embed", "applet", "base", "svg", "math", "template", "noscript", "xmp", "plaintext",
    "noembed", "noframes", "frame", "frameset", "xml",
}  # fmt: skip


def active(page: bytes) -> list[str]:
    """What acts in a page, by another reading than that of the code under test."""
    found = []
    for node in LexborHTMLParser(page.decode("latin-1")).css("*"):
        if node.tag in FORBIDDEN_TAGS or (node.tag == "meta" and "refresh" in str(node.attributes).lower()):
            found.append(node.tag)
        for name, value in node.attributes.items():
            flat = re.sub(r"[\x00-\x20]", "", value or "").lower()
            if name.lower().startswith("on") or re.match(r"(?:javascript|vbscript|blob):|data:(?!image/png)", flat):
                found.append(f"{node.tag} {name}")
    return found


@pytest.mark.parametrize("trick", TRICKS, ids=range(len(TRICKS)))
@pytest.mark.parametrize("frame", [b"%s", b"<p>Dear Anna</p>%s<p>bye</p>", b"<div><table><tr><td>%s<b>bye"])
def test_nothing_active_is_left(trick: bytes, frame: bytes) -> None:
    cured = cure_html(frame.replace(b"%s", trick))
    assert cured is not None, "no cure is allowed to be refused here: these are all in the book"
    assert cured.removed or b"onerror" not in trick
    assert active(cured.data) == []
    assert b"alert(1)" not in re.sub(rb'(title|src)="[^"]*"|&lt;[^<]*', b"", cured.data)
    again = cure_html(cured.data)
    assert again is None, "a second cure finds nothing to do"


PAGE = """<!DOCTYPE html>
<html lang="de"><head><meta charset="{charset}"><title>Grüße</title>
<style>p {{ color: red }} .x {{ background: url(data:image/png;base64,iVBO) }}</style>
<script>worm()</script></head>
<body class="x" onload="worm()"><p style="color: blue" align=left>Schöne Grüße à côté &amp; mehr&nbsp;&eacute;&#1078; «x»</p>
<a href="https://example.org/?a=1&amp;b=2" title='"'>link</a> <a href="mailto:a@example.org">a</a> <a href="#x">b</a>
<img src="cid:1@example.org" alt="Bild"><img src="data:image/png;base64,iVBO"><form action="https://example.org/f"><input
name=q></form><table><tr><td>cell</table></body></html>"""


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16"])
def test_what_people_see_stays(charset: str) -> None:
    data = PAGE.format(charset=charset).encode(charset)
    cured = cure_html(data)
    assert cured is not None
    assert cured.removed == ("script", "onload")
    before, after = (LexborHTMLParser(each.decode(charset)) for each in (data, cured.data))
    assert "worm" not in cured.data.decode(charset)
    assert before.body is not None
    assert after.body is not None
    assert after.body.text() == before.body.text()
    assert [each.attributes for each in after.css("a, img, form, p, td, input")] == [
        each.attributes for each in before.css("a, img, form, p, td, input")
    ]
    assert after.css_first("style").text() == before.css_first("style").text()
    assert cured.data.decode(charset).lower().count("<!doctype html>") == 1


def test_bytes_that_are_no_text_go_through_unread() -> None:
    words = bytes(range(0x80, 0x100))
    cured = cure_html(b"<p>" + words + b"</p><script>x</script>")
    assert cured is not None
    assert words in cured.data
    koi = "Привет".encode("koi8-r")
    cured = cure_html(b"<p title='" + koi + b"'>" + koi + b"</p><script>x</script>")
    assert cured is not None
    assert cured.data.count(koi) == 2


@pytest.mark.parametrize(
    "page",
    [
        b"<p>hello</p><script>x</script>+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
        b"<p>\x1b$B<script>\x1b(B</p><script>x</script>",
        b"<meta charset=iso-2022-jp><p>x</p><script>x</script>",
        b"<p>a\0b</p><script>x</script>",
        b"<p>&#xF73C;&#xf7bc;</p><script>x</script>",
        b"\xff\xfe<\0p",
        b"<script>x</script>" + b"<i>" * (html.TAGS + 1),
        b"<script>x</script>" + b"".join(b"<b id=%d><p>" % number for number in range(9_000)),
        b"<script>x</script>" + b" " * html.PAGE_BYTES,
        b"<p onclick=a><x<!--[if><scripts>",
    ],
    ids=[
        "utf-7",
        "shifted",
        "declared",
        "zero",
        "private",
        "damaged",
        "tags",
        "formats",
        "size",
        "within a name",
    ],
)
def test_pages_that_cannot_be_read_for_certain_are_not_cured(page: bytes) -> None:
    assert cure_html(page) is None


def test_a_harmless_page_is_not_touched() -> None:
    assert cure_html(b"<p>hello</p>") is None
    assert cure_html(b"") is None
    assert cure_svg(b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='1'/></svg>") is None


def test_ruined_pages_are_no_trouble() -> None:
    dice = random.Random(3)
    pieces = [b"<", b">", b'"', b"'", b"</", b"<!--", b"-->", b"=", b" ", b"`", b"\0", b"&lt;", b"<![CDATA[", b"]]>"]
    pieces += [piece for trick in TRICKS for piece in re.findall(rb"<?/?\w+|\W", trick)]
    for _ in range(1500):
        page = b"".join(dice.choices(pieces, k=dice.randrange(1, 60)))
        cured = cure_html(page)
        assert cured is None or active(cured.data) == [], page
        cure_svg(b"<svg xmlns='http://www.w3.org/2000/svg'>" + page + b"</svg>")


SVG = """<?xml version="1.0" encoding="{charset}"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9">{more}<!-- c -->
<style>.a {{ fill: url(#g) }}</style><linearGradient id="g"/><text class="a">Grüße</text><use xlink:href="#g"/>
<image href="data:image/png;base64,iVBO"/><a href="https://example.org/"><circle r="1"/></a></svg>"""
SVG_TRICKS = [
    "<script>worm()</script>",
    '<script xlink:href="https://worm"/>',
    '<rect onclick="worm()"/>',
    '<a xlink:href="javascript:worm()"><text>x</text></a>',
    '<a href=" java&#10;script:worm()"><text>x</text></a>',
    '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><script>worm()</script></body></foreignObject>',
    '<h:script xmlns:h="http://www.w3.org/1999/xhtml">worm()</h:script>',
    '<a id="i"><set attributeName="xlink:href" to="javascript:worm()"/></a>',
    '<animate attributeName="onclick" values="worm()"/>',
    '<use href="data:image/svg+xml;base64,worm"/>',
    '<use href="https://worm/x.svg#y"/>',
    '<image href="data:image/svg+xml;base64,worm"/>',
    "<style>@import url(https://worm)</style>",
    '<rect style="fill:url(https://worm)"/>',
    '<handler xmlns:ev="http://www.w3.org/2001/xml-events" ev:event="load">worm()</handler>',
    '<?xml-stylesheet href="https://worm"?>',
]


@pytest.mark.parametrize("trick", SVG_TRICKS, ids=range(len(SVG_TRICKS)))
def test_nothing_active_is_left_in_a_picture(trick: str) -> None:
    for charset in ("utf-8", "iso-8859-1"):
        cured = cure_svg(SVG.format(charset=charset, more=trick).encode(charset))
        assert cured is not None
        assert cured.removed
        text = cured.data.decode()
        assert "worm" not in text
        for kept in ("Grüße", 'xlink:href="#g"', "data:image/png", "https://example.org/", "fill: url(#g)"):
            assert kept in text
        assert cure_svg(cured.data) is None


def test_pictures_with_entities_or_errors_are_not_cured() -> None:
    start = '<svg xmlns="http://www.w3.org/2000/svg">'
    entity = '<!DOCTYPE svg [<!ENTITY x "<script>worm()</script>">]>'
    assert cure_svg(f"{entity}{start}&x;<script/></svg>".encode()) is None
    assert cure_svg(f"{start}<script/>".encode()) is None
    assert cure_svg(b"<svg><script>no namespace</script></svg>") is None
    assert cure_svg((start + "<g>" * 5000 + "<script/>" + "</g>" * 5000 + "</svg>").encode()) is None


def test_comments_of_pictures_go() -> None:
    """A reader of web pages may end them elsewhere than a reader of XML does."""
    cured = cure_svg(
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='a()'><!-- c \"><script>b()</script> --><rect width='1'/></svg>"
    )
    assert cured is not None
    assert b"script" not in cured.data
    assert b"<rect" in cured.data
