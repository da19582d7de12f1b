"""HTML of strangers made harmless: nothing acts, loads or leads anywhere, and what is left stays so."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.mime.sanitise import DEPTH_LIMIT, LINKS_LIMIT, sanitise, sanitise_again

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><a href=x>k</a></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><img src=x onerror=alert(1)></template>",
    "<iframe src='https://e.example/'></iframe><iframe srcdoc='<script>1</script>'></iframe>",
    "<form action='https://e.example/'><input name=a><button>b</button></form>",
    "<base href='https://e.example/'><link rel=prefetch href='https://e.example/'>",
    "<meta http-equiv=refresh content='0;url=https://e.example/'>",
    "<style>@import 'https://e.example/'; b{background:url(https://e.example/)}</style>",
    "<p style='background-image:url(https://e.example/)'>p",
    "<p style='background:u\\72l(https://e.example/)'>p",
    "<p style='color:red;width:expression(alert(1))'>p",
    "<p style='position:fixed;top:0;z-index:9'>p",
    "<a href='javascript:alert(1)'>a</a><a href='jAvAsCrIpT&colon;alert(1)'>a</a>",
    "<a href='data:text/html,<script>1</script>'>a</a><img src='data:image/svg+xml,<svg onload=1>'>",
    "<img src='//e.example/x'><img srcset='https://e.example/x 2x'><img lowsrc=https://e.example/>",
    "<video src=https://e.example/ poster=https://e.example/></video><audio src=https://e.example/></audio>",
    "<object data=https://e.example/></object><embed src=https://e.example/><applet code=x></applet>",
    "<table background='https://e.example/'><td background='https://e.example/'>t</table>",
    "<body background='https://e.example/' onload=alert(1)>b</body>",
    "<div id=x class=y name=z onclick=alert(1) accesskey=a contenteditable autofocus tabindex=1>d</div>",
    "<select><option><style></option></select></style><img src=x onerror=alert(1)>",
    "<xmp><img src=x onerror=alert(1)></xmp><plaintext><img src=x onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>--><![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml version=1?><img/src=x/onerror=alert(1)>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<isindex action=https://e.example/><keygen><marquee onstart=alert(1)>m</marquee>",
]
_TAG = re.compile(r"<\s*/?\s*([a-zA-Z][^\s>/]*)([^>]*)>")
_ALLOWED_TAGS = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "address",
        "b",
        "bdi",
        "bdo",
        "big",
        "blockquote",
        "br",
        "caption",
        "center",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "font",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
        "var",
        "wbr",
    ]
)


def assert_harmless(html: str) -> None:
    for name, attributes in _TAG.findall(html):
        assert name in _ALLOWED_TAGS, html
        for attribute in re.findall(r'([a-zA-Z:_-]+)="', attributes):
            assert not attribute.lower().startswith("on"), html
            assert attribute not in {"href", "srcset", "background", "id", "name", "class", "action"}, html
        source = re.search(r'\bsrc="([^"]*)"', attributes)
        assert source is None or source[1].startswith("data:image/png;base64,"), html
        style = re.search(r'\bstyle="([^"]*)"', attributes)
        assert style is None or not re.search(r"url|expression|position|\\|@", style[1]), html


def draw(content_id: str) -> str | None:
    return "data:image/png;base64,AAAA" if content_id == "known" else None


@pytest.mark.parametrize("html", HOSTILE)
def test_what_acts_or_loads_goes_and_the_text_behind_it_stays(html: str) -> None:
    clean = sanitise(f"before {html}</plaintext></select></style></noscript></xmp>", draw)
    assert_harmless(clean.html)
    assert clean.html.startswith("before ")
    assert "e.example" not in re.sub(r'title="[^"]*"', "", clean.html)
    assert sanitise_again(clean.html) == clean.html


def test_what_text_looks_like_stays() -> None:
    html = (
        '<table width="600" bgcolor="#ffffff"><tbody><tr><td colspan="2" align="center">'
        '<p style="color:red;font-size:12px">T<b>b</b></p></td></tr></tbody></table>'
    )
    cleaned = sanitise(html, draw).html
    for piece in ('width="600"', 'bgcolor="#ffffff"', 'colspan="2"', "color:red", "font-size:12px", "<b>b</b>"):
        assert piece in cleaned


def test_a_text_that_looks_like_a_marked_attribute_is_let_alone() -> None:
    text = 'say href="https://x/" and src="m0123."'
    assert sanitise(f"<p>{text}</p>", draw).html == f"<p>{text}</p>"


def test_links_told_have_a_bound() -> None:
    html = "".join(f'<a href="https://h{number}.example/">x</a>' for number in range(LINKS_LIMIT + 50))
    clean = sanitise(html, draw)
    assert len(clean.links) == LINKS_LIMIT
    assert "href" not in clean.html


def test_pictures_of_ours_pass_and_no_others() -> None:
    clean = sanitise('<img src="cid:known" alt="k"><img src="CID:other"><img src="https://e.example/x">', draw)
    assert clean.html == '<img src="data:image/png;base64,AAAA" alt="k"><img><img>'
    assert clean.remote == 1
    again = sanitise_again('<img src="data:image/svg+xml;base64,AAAA"><img src="data:image/png;base64,AA\'x">')
    assert again == "<img><img>"


def test_a_filter_that_lies_gets_nothing_through() -> None:
    lie = '<p>x</p><a href="https://e.example/">y</a><img src="https://e.example/"><meta http-equiv="refresh">'
    assert sanitise_again(lie) == "<p>x</p><a>y</a><img>"


_PIECES = st.sampled_from(
    [*HOSTILE, "<b>", "</b>", "<table><tr><td>", "</table>", "text", "<!--", "-->", "'", '"', ">"]
)


@given(st.lists(_PIECES, max_size=8).map("".join) | st.text(max_size=200))
def test_any_mixture_is_harmless_and_stays_as_it_is(html: str) -> None:
    clean = sanitise(html, draw)
    assert_harmless(clean.html)
    assert sanitise_again(clean.html) == sanitise_again(sanitise_again(clean.html))
    assert_harmless(sanitise_again(clean.html))


@pytest.mark.parametrize("piece", ["<div>", "<div></x>", "<font size=1><div>", "<DIV><p>", "<table><tr><td>"])
def test_what_is_nested_beyond_reason_comes_as_bare_text(piece: str) -> None:
    deep = piece * (DEPTH_LIMIT + 1) + "still <b>read</b> <script>alert(1)</script>"
    cleaned = sanitise(deep, draw).html
    assert "still" in cleaned
    assert "<" not in cleaned
    assert "<" not in sanitise_again(deep)


def test_long_pages_that_are_flat_are_read() -> None:
    flat = "<div><p>x<br><li>y</div>" * (3 * DEPTH_LIMIT)
    assert sanitise(flat, draw).html.count("<div>") == 3 * DEPTH_LIMIT
