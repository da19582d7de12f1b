"""Web pages as readers see them: what is shown, what is hidden, what the page would do."""

import pytest

from gatepost.antispam.extract.markup import Page
from gatepost.antispam.extract.page import TAGS_LIMIT, read_page

SHOWN = [
    ("<p>Hello <b>wor</b>ld<br>second&nbsp;line", "Hello world\nsecond line"),
    ("<div>a</div><div>b</div>", "a\nb"),
    ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
    ("a  b\n\n c", "a b c"),
    ("<pre>a\n  b</pre>c", "a\nb\nc"),
    ("V<!-- x -->ia<b></b>g<!-->r<!--->a", "Viagra"),
    ("<scr<b>ipt>x", "ipt>x"),
    ("a < b and 1 > 0", "a < b and 1 > 0"),
    ("<b title='it>s'>q</b>", "q"),
    ('<a ="></a>z', "z"),
    ("<p title=it's>a</p>b", "a\nb"),
    ("<!-- never ended <p>x", ""),
    ("a<!-- x --!>b", "ab"),
    ("<!doctype html><?x y>a<![if !mso]>b<![endif]>", "ab"),
    ("<!--[if mso]>old<![endif]-->new", "new"),
    ("<script>var x='</p>';</script>y", "y"),
    ("a<StYlE >p{</styles>}</p></sTyLe\n>y<scripts>z</scripts>", "ayz"),
    ("a<xmp/>1 < 2 <b>c</b></XMP/>d<TEXTAREA>e<i>", "a\n1 < 2 <b>c</b>\nd\ne<i>"),
    ("<title>T</title>y<style>z{}", "y"),
    ("<textarea>a<b>c</textarea>d", "a<b>c\nd"),
    ("<xyz>fo</xyz>o", "foo"),
    ("&lt;b&gt; &#86;&#x69;&eacute; &amp;amp;", "<b> Vié &amp;"),
    ("&#" + "1" * 5000 + ";x", "\ufffdx"),
    ("a\0b\1c", "abc"),
    ("<P>A<BR/>B</P>", "A\nB"),
    ("</p></div></table>x", "x"),
    ("<noscript>n</noscript><template>t</template>x", "x"),
    ("<xmp>a &amp; <b>b</xmp>", "a &amp; <b>b"),
]


@pytest.mark.parametrize(("source", "visible"), SHOWN)
def test_what_a_reader_sees(source: str, visible: str) -> None:
    assert read_page(source).visible == visible


HIDDEN = [
    ("<div style='display:none'>secret<p>more</div>seen", "seen", "secret more", "display:none"),
    ("<DIV STYLE='Display : NONE !important'>a</DIV>b", "b", "a", "display:none"),
    ("<div style='&#100;isplay:none'>a</div>b", "b", "a", "display:none"),
    ("<span style=visibility:hidden>a</span>b", "b", "a", "visibility:hidden"),
    ("<span style='font-size:1px'>a</span>b", "b", "a", "font of no size"),
    ("<span style='font:0px/0 Arial'>a</span>b", "b", "a", "font of no size"),
    ("<body bgcolor=white><font color=#fefefe>a</font>b", "b", "a", "colour of the background"),
    ("<td style='background:#000;color:rgb(5,5,5)'>a</td>b", "b", "a", "colour of the background"),
    ("<span style='opacity:0'>a</span>b", "b", "a", "opacity:0"),
    ("<div style='max-height:0;overflow:hidden'>a</div>b", "b", "a", "no size"),
    ("<div style='position:absolute;left:-9999px'>a</div>b", "b", "a", "off the screen"),
    ("<div style='text-indent:-5000px'>a</div>b", "b", "a", "off the screen"),
    ("<div hidden>a</div>b", "b", "a", "hidden"),
    ("<style>.h{display:none}</style><p class='x h'>a</p>b", "b", "a", "display:none"),
    ("<style>#i , p.q{font-size:0}</style><p id=i>a</p>b", "b", "a", "font of no size"),
    ("<p style=display:none>a<p>b", "b", "a", "display:none"),
    ("<div><span style=display:none>a</div>b", "b", "a", "display:none"),
    ("<table><tr><td style=display:none>a<td>b</table>", "b", "a", "display:none"),
]


@pytest.mark.parametrize(("source", "visible", "hidden", "reason"), HIDDEN)
def test_what_is_hidden_is_told_apart(source: str, visible: str, hidden: str, reason: str) -> None:
    page = read_page(source)
    assert (page.visible, page.hidden, list(page.reasons)) == (visible, hidden, [reason])


NOT_HIDDEN = [
    "<td style='font-size:0'><div style='font-size:14px'>x</div></td>",  # how newsletters close gaps between cells
    "<style>@media screen{.m{display:none}}</style><p class=m>x",
    "<td background=dark.jpg><font color=white>x</font></td>",
    "<div style='background:url(a.png)'><p style='color:#ffffff'>x</p></div>",
    "<style>.button{background:#00f}</style><a class=button style='color:#fff'>x</a>",
    "<div style='background:#000'><span style='color:#fff'>x</span></div>",
    "<p style='color:#999999'>x</p>",
    "<a style='mso-hide:all'>x</a>",  # hides in one reader only
    "<div style='overflow:hidden;width:600px'>x</div>",
    "<p style='opacity:0.87'>x</p>",
    "<p style='display:block;font-size:13px'>x</p>",
]


@pytest.mark.parametrize("source", NOT_HIDDEN)
def test_what_newsletters_do_hides_nothing(source: str) -> None:
    page = read_page(source)
    assert (page.visible, page.hidden) == ("x", "")


def test_addresses_are_told_with_what_they_show() -> None:
    page = read_page(
        "<base href='http://b/'><a href=' http://x/?a=1&amp;b=2 '><img src=a.gif width=1 alt='Alt'>click <b>me</b></a>"
        "<map><area href=http://area/></map><form action=http://f/><input type=password name=p></form>"
        "<meta http-equiv=Refresh content='5; URL=http://next/'><iframe src=http://frame/>in</iframe>"
        "<div style=display:none><a href=http://unseen/>u</a></div>"
    )
    told = {(each.element, each.url) for each in page.targets}
    assert told >= {
        ("base", "http://b/"),
        ("a", "http://x/?a=1&b=2"),
        ("img", "a.gif"),
        ("area", "http://area/"),
        ("form", "http://f/"),
        ("meta", "http://next/"),
        ("iframe", "http://frame/"),
    }
    link = next(each for each in page.targets if each.url.startswith("http://x/"))
    assert (link.shown, link.pictured, link.hidden) == ("click me", True, False)
    assert next(each for each in page.targets if "unseen" in each.url).hidden
    assert page.labels == "Alt"
    assert (page.pictures, page.tiny_pictures, page.forms, page.passwords, page.redirects, page.frames) == (1,) * 6


def test_split_words_are_counted_where_something_unseen_splits_them() -> None:
    page = read_page("Buy V<!-- k -->iag<span></span>ra from our ph<span style='display:none'>zz</span>armacy")
    assert (page.split_words, page.split_examples[0]) == (3, "Viag")
    assert page.visible == "Buy Viagra from our pharmacy"
    assert read_page("<b>B</b>eauty <i>o</i>f <!-- c --> words<br>x").split_words == 0


def test_invented_elements_are_counted_but_not_those_of_programs() -> None:
    assert read_page("a<kqz>b</kqz><o:p></o:p><v:rect></v:rect><my-thing>").invented == 1


HOSTILE = {
    "open tags": "<b>" * 100_000,
    "crossed": "<b></i>" * 60_000,
    "unclosed quotes": '<a "' * 250_000,
    "quotes in names": '<a ="' * 200_000,
    "less than": "<" * 1_000_000,
    "comments": "<!--" * 250_000,
    "dashes": "<!-" + "-" * 1_000_000,
    "deep": "<div>" * 100_000 + "x",
    "no blank": "x" * 1_000_000,
    "references": "&amp;" * 200_000,
    "long reference": "&#" + "1" * 1_000_000,
    "styles": "".join(f'<b style="color:#{number:06x}">x' for number in range(15_000)),
    "attributes": "<a " + "x=1 " * 250_000 + ">",
    "tables": "<table><td>" * 40_000,
    "sheets": "<style>" * 150_000,
    "sheets open": "<style " * 150_000,
    "rules": "<style>display:none" + "@a{" * 30_000,
    "links": "".join(f"<a href=http://x{number}.example/>y" for number in range(15_000)),
    "lists": "<li>" * 80_000,
    "raw": "<title>" * 150_000,
    "raw ends": "<textarea></x>" * 70_000,
    "ends far below": "<i>" + "<b>" * 60_000 + "</i>" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_cost_what_their_bytes_cost(name: str, cpu_seconds) -> None:
    with cpu_seconds(3):
        assert isinstance(read_page(HOSTILE[name]), Page)


def test_a_page_of_endless_tags_is_cut_and_says_so() -> None:
    page = read_page("<b>" * (TAGS_LIMIT - 2) + "seen" + "<i>" * 5 + "unread")
    assert page.cut
    assert page.visible == "seen"
    assert not read_page("<b>" * 1000 + "x").cut
