"""Signs of tricks: each is found in a sample of its own, and none in mail as honest senders write it."""

# ruff: noqa: RUF001 - letters that look like others are the matter

import io

import pytest
import zxingcpp
from PIL import Image
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.tricks import TricksCheck
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import Sign, SpamOptions

CHECK = TricksCheck(shipped_knowledge())
WORDS = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}".replace("word", "w") for n in range(200))
TEXT = "<p>" + "This is an honest letter about our meeting next week, with plenty of words to read. " * 4 + "</p>"


def signs(content: str | bytes) -> dict[str, Sign]:
    raw = content if isinstance(content, bytes) else content.encode()
    notes = Notes()
    CHECK.inspect(build_view(parse(raw), SpamOptions()), notes)
    return {sign.name: sign for sign in notes.signs}


def page(body: str) -> str:
    return f"Subject: s\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{body}"


def attach(name: str, body: str) -> str:
    return (
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee the file\r\n--b\r\nContent-Type: text/html; "
        f'name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n{body}\r\n--b--\r\n'
    )


FOUND = [
    (
        "look-alike-letters",
        "Subject: Вuy nоw\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nget Viаgrа",
        "вuy (buy)",
    ),
    ("invisible-in-words", page("vi\u200bag\u200bra ci\u200ba\u200blis"), "invisible"),
    ("direction-override", page("exe.\u202egpj"), "direction"),
    ("spaced-words", page("get v i a g r a"), "viagra"),
    ("styled-letters", page("\U0001d401\U0001d42e\U0001d432 \U0001d427\U0001d428\U0001d430"), "mathematical"),
    ("split-words", page("v<!--x-->iagra ci<i></i>alis le<!--y-->vitra"), "viagra"),
    ("invented-elements", page("a<kqx>b<zzt>c<qpw>d<vvv>e<xyq>"), "5 elements"),
    ("form-secrets", page(f"{TEXT}<form action=http://x.example><input type=password></form>"), "password"),
    ("form", page(f"{TEXT}<form action=http://x.example><input name=age></form>"), "form"),
    ("page-redirects", page(f"{TEXT}<meta http-equiv=refresh content='0;url=http://x.example/'>"), "sends"),
    ("hidden-text", page(f"{TEXT}<div style='font-size:0'>{WORDS}</div>"), "font of no size"),
    ("attached-form", attach("invoice.html", "<form><input type=password></form>"), "invoice.html"),
    ("attached-redirect", attach("a.htm", "<meta http-equiv=refresh content='0;url=http://x.example/'>"), "a.htm"),
    ("attached-script", attach("a.html", "<script>location='x'</script>"), "scripts"),
    ("attached-page", attach("a.html", TEXT), "attached"),
    ("picture-only", page("<a href=http://x.example/><img src=http://x.example/a.png></a>"), "1 pictures"),
    ("picture-to-address", page("<a href=http://198.51.100.9/a><img src=cid:a></a>"), "198.51.100.9"),
    ("tracker-only", page("<img src=http://x.example/a.gif width=1 height=1>"), "shows nothing"),
    ("link-address", page(f"{TEXT}<a href=http://198.51.100.9/a>x</a>"), "198.51.100.9"),
    ("link-disguised-host", page(f"{TEXT}<a href=http://3325256713/a>x</a>"), "198.51.100.9"),
    ("link-user", page(f"{TEXT}<a href=http://bank.example@x.example/>x</a>"), "x.example"),
    ("link-look-alike", page(f"{TEXT}<a href=http://pаypal.com/>x</a>"), "xn--"),
    ("link-inline", page(f"{TEXT}<a href=data:text/html,x>x</a>"), "itself"),
    ("link-other-name", page(f"{TEXT}<a href=http://www.bank.com.verify.example/>x</a>"), "bank.com.verify"),
    ("link-short-only", page(f"{TEXT}<a href=https://bit.ly/x>x</a>"), "bit.ly"),
    (
        "link-redirector",
        page(f"{TEXT}<a href='https://www.google.com/url?q=http://evil.example/'>x</a>"),
        "evil.example",
    ),
    ("link-other-than-shown", page(f"{TEXT}<a href=http://evil.example/>www.paypal.com</a>"), "paypal.com"),
    ("wrapped-text", "Content-Transfer-Encoding: base64\r\n\r\nQnV5IG5vdywgYnV5IGNoZWFwLCBidXkgaGVyZQ==", "encoded"),
]


@pytest.mark.parametrize(("name", "content", "evidence"), FOUND, ids=[each[0] for each in FOUND])
def test_each_trick_is_found_and_shown(name: str, content: str, evidence: str) -> None:
    found = signs(content)
    assert name in found
    assert evidence in found[name].evidence
    assert found[name].weight > 0


def test_a_code_in_a_picture_leads_somewhere() -> None:
    picture = Image.fromarray(
        zxingcpp.create_barcode("https://evil.example/", zxingcpp.BarcodeFormat.QRCode).to_image(scale=4)
    )
    target = io.BytesIO()
    picture.save(target, "PNG")
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nscan me\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: "
    content = head + b"binary\r\n\r\n" + target.getvalue() + b"\r\n--b--\r\n"
    assert "evil.example" in signs(content)["qr-link"].evidence
    assert [link.source for link in build_view(parse(content), SpamOptions()).links] == ["qr"]
    assert build_view(parse(content), SpamOptions(images=False)).links == ()


def test_forms_that_differ() -> None:
    other = " ".join(f"x{word}" for word in WORDS.split())
    both = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n{0}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>{1}\r\n--b--\r\n"
    assert "forms-differ" in signs(both.format(WORDS, other))
    assert signs(both.format(WORDS, WORDS)) == {}


def test_a_long_plain_form_that_nobody_is_shown() -> None:
    salad = " ".join(
        f"{first}{second}"
        for first in ("harbour", "meadow", "chimney", "sailor")
        for second in map(chr, range(97, 117))
    )
    both = (
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n{0}\r\n--b\r\n"
        "Content-Type: text/html\r\n\r\n<a href=https://x.example/1>See it</a>\r\n--b--\r\n"
    )
    assert signs(both.format(salad + " " + salad))["forms-differ"].weight >= 1
    assert "forms-differ" not in signs(both.format("A short text, as some have it."))
    assert "forms-differ" not in signs("List-Unsubscribe: <https://x.example/u>\r\n" + both.format(salad + " " + salad))


def test_soft_hyphens_in_a_subject() -> None:
    assert "soft-hyphens" in signs("Subject: =?utf-8?q?R=C2=ADe=C2=ADa=C2=ADl=C2=AD_?=\r\n\r\nhello")
    assert "soft-hyphens" not in signs("Subject: =?utf-8?q?Donau=C2=ADdampf=C2=ADschiff?=\r\n\r\nhello")


LINKED = '<a href="https://{}/x"><img src="https://img.example/a.jpg" width=600></a>'


def test_a_picture_behind_a_short_address_weighs_more_than_both() -> None:
    alone = signs(page(f'{TEXT}<a href="https://tinyurl.com/x">see</a>'))["link-short-only"]
    shown = signs(page(LINKED.format("tinyurl.com")))
    assert shown["link-short-only"].weight > alone.weight
    assert shown["picture-only"].weight > alone.weight
    assert "link-short-only" not in signs(page(f'{TEXT}<a href="https://photos.app.goo.gl/AbC">photos</a>'))


def test_a_picture_that_leads_to_an_address_of_ones_own_is_a_cameras() -> None:
    assert "picture-to-address" not in signs(page(LINKED.format("192.168.1.20")))
    assert "picture-to-address" not in signs(page(f"<p>{TEXT}</p>{LINKED.format('198.51.100.9')}"))
    assert "picture-to-address" not in signs(page(LINKED.format("shop.example")))


def test_a_short_notice_beside_a_logo_is_less_than_a_picture_alone() -> None:
    notice = "<p>Your parcel waits at the locker by the station until Wednesday. The code to open it is 118220.</p>"
    alone, beside = (signs(page(text + LINKED.format("post.example")))["picture-only"] for text in ("", notice))
    assert beside.weight < alone.weight


def test_a_picture_within_a_page_says_more_than_an_attached_one() -> None:
    attached = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--b--\r\n"
    within, beside = signs(page("<img src=cid:a width=600>"))["picture-only"], signs(attached)["picture-only"]
    assert beside.weight < within.weight <= 1.0  # a pasted screenshot has no word either


@pytest.mark.parametrize(
    "text",
    [
        "주문해 주셔서 감사합니다. 주문하신 책은 내일 발송될 예정이며 결제 금액은 만 원입니다.",
        "ご注文いただき誠にありがとうございます。商品は明日発送し、水曜日にお届けする予定です。またのご利用を。",
    ],
)
def test_a_text_without_blanks_needs_fewer_characters(text: str) -> None:
    assert len(text) < 60
    assert "picture-only" not in signs(page(f"<p>{text}</p>{LINKED.format('shop.example')}"))


HONEST = [
    page(
        "<style>@media screen{.m{display:none}}.b{background:#05f}</style><div style='display:none;font-size:1px;color:#fff'>"
         "The best of this week, just for you" + "&zwnj;&nbsp;" * 100 + f"</div>{TEXT}"
        "<a class=b style='color:#fff' href='https://click.news.example.com/t?u=https%3A%2F%2Fwww.example.com%2F'>www.example.com</a>"
        "<td style='font-size:0'><img src=https://open.news.example.com/o.gif width=1 height=1></td><o:p></o:p>"
    ),
    page(f"{TEXT}<p>Visit https://www.paypal.com/x</p><a href=https://www.paypal.com/x>paypal.com</a> <a href=http://192.168.0.1/>router</a>"),
    page(f"{TEXT}<b>B</b>old and <i>i</i>nitial letters, H<sub>2</sub>O, x<sup>2</sup>"),
    "Subject: Привет\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nНаша SMSка о Windows и iPhone: https://пример.рф/ — ждём вас!",
    "Subject: =?utf-8?B?w5xiZXI=?=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nÜber die Donau\u00addampf\u00adschifffahrt nach Łódź.",
    "Subject: patch\r\n\r\n> quoted text\r\nsee http://example.com:8080/x and int a[10] = {0}; b0 = a0 + 1; J. R. R. T.",
    "Subject: scan\r\n\r\nThe scan you asked for is attached.",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HONEST)))
def test_honest_mail_has_no_signs(number: int) -> None:
    assert signs(HONEST[number]) == {}


def test_a_list_that_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"links/shorteners\.list"):
        TricksCheck(Knowledge({"links/shorteners.list": b"\xff"}))
