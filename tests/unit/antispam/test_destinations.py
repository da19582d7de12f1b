"""Where links lead beside who wrote, and who lures whom never written to: signs, and mail that must stay without."""

import base64
import io

import pikepdf
import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.headers.destinations import HOSTS_LIMIT, link_hosts
from gatepost.antispam.headers.picture import Picture
from gatepost.antispam.headers.reference import Reference
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import Sign, SpamOptions

FIELDS = {
    "From": "Anna Berg <anna.berg@firm.example>",
    "To": "Bob <bob@own.example>",
    "Subject": "Minutes of Tuesday",
    "Date": "Tue, 14 Nov 2023 22:10:00 +0000",
    "Message-ID": "<20231114.221000.77@firm.example>",
    "MIME-Version": "1.0",
    "Content-Type": "text/html; charset=utf-8",
}
PAGE = '<p>Here they are, as said: <a href="https://{}/page">the minutes</a>. See you on Friday.</p>'
UNSUBSCRIBE = {"List-Unsubscribe": "<https://news.example/stop>"}
LIST = {"List-Id": "<users.lists.example>", "List-Post": "<mailto:users@lists.example>", "Precedence": "list"}
OURS = {
    "links-elsewhere",
    "links-elsewhere-page",
    "links-elsewhere-bulk",
    "links-elsewhere-single",
    "answer-forged",
    "list-forged",
    "links-of-nobody",
    "sender-throwaway-bulk",
    "picture-of-nobody",
    "call-about-money",
    "link-to-hosting",
    "link-to-hosting-alone",
    "link-cheap-suffix",
    "from-cheap-suffix",
    "sender-throwaway",
    "subject-brand-elsewhere",
    "subject-lure",
    "subject-address",
    "subject-token",
    "subject-template",
    "from-local-generated",
    "link-to-line",
    "link-to-form",
    "link-names-recipient",
    "office-elsewhere",
    "from-shown-recipient",
    "from-brand-unlinked",
}


@pytest.fixture(scope="module")
def check():
    return build_header_check(shipped_knowledge())


def mail(host: str, **changes: str | None) -> bytes:
    """A page with one link to `host`; fields changed (`_` for `-`) or, None, left out."""
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changes.items()}
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{header}\r\n{PAGE.format(host)}\r\n".encode()


def signs(check, content: bytes, sender: str = "anna.berg@firm.example") -> dict[str, Sign]:
    notes = Notes()
    check.inspect(build_view(parse(content), SpamOptions(sender=sender, recipients=("bob@own.example",))), notes)
    return {sign.name: sign for sign in notes.signs}


FOUND = [
    ("links-elsewhere", "other.example", {}),
    ("links-elsewhere-page", "other.example", {}),
    ("links-elsewhere-bulk", "other.example", UNSUBSCRIBE),
    ("answer-forged", "other.example", {"In-Reply-To": "<1@x.example>", "References": "<1@x.example>"}),
    ("list-forged", "other.example", {"List-Id": "<a.b.example>"}),
    ("links-of-nobody", "other.example", {"From": "Post <notice@post>"}),
    ("link-to-hosting", "a-b-77.web.app", {}),
    ("link-to-hosting-alone", "storage.googleapis.com", {}),
    ("link-to-form", "forms.gle", {}),
    ("link-cheap-suffix", "prize.cyou", {}),
    ("from-cheap-suffix", "other.example", {"From": "Prize <x@prize.icu>"}),
    ("sender-throwaway", "prize.icu", {"From": "Prize <x@prize.icu>"}),
    ("subject-brand-elsewhere", "other.example", {"Subject": "Your Netflix membership"}),
    ("subject-lure", "other.example", {"Subject": "Final notice: your parcel could not be delivered"}),
    ("subject-lure", "other.example", {"Subject": "Ihr Paket wartet"}),
    ("subject-lure", "other.example", {"Subject": "Vous avez gagné un bon d'achat"}),
    ("subject-lure", "other.example", {"Subject": "Su paquete está retenido"}),
    ("subject-lure", "other.example", {"Subject": "Sua conta foi bloqueada"}),
    ("subject-lure", "other.example", {"Subject": "Вам одобрена выплата"}),
    ("subject-address", "other.example", {"Subject": "bob@own.example, open this"}),
    ("subject-token", "other.example", {"Subject": "Your bill - 8dSHbu0oHKXsxJE"}),
    ("subject-template", "other.example", {"Subject": "A phone for {firstname}"}),
    ("link-to-line", "154-189-202-64.host.example", {}),
    ("link-to-line", "vmi118220.contaboserver.net", {}),
    ("link-names-recipient", "firm.example/#bob@own.example?", {}),
    ("link-names-recipient", "firm.example/#Bob%40own.example", {}),
    ("link-names-recipient", "firm.example/in#Ym9iQG93bi5leGFtcGxl", {}),
    ("office-elsewhere", "other.example", {"From": "Mail Administrator <info@firm.example>"}),
    ("office-elsewhere", "other.example", {"From": "IT Helpdesk <info@firm.example>"} | UNSUBSCRIBE),
    ("office-elsewhere", "other.example", {"From": "Postfach Support <info@firm.example>"}),
    ("from-shown-recipient", "firm.example", {"From": "Voice own.example <info@firm.example>"}),
    ("from-shown-recipient", "firm.example", {"From": "<own.example@firm.example>"}),
    ("from-brand-unlinked", "firm.example", {"From": "Netflix <info@firm.example>"}),
    ("from-local-generated", "other.example", {"From": "<news_offer_30943@firm.example>"}),
]


@pytest.mark.parametrize(("name", "host", "changes"), FOUND)
def test_what_fraud_does(check, name, host, changes):
    sign = signs(check, mail(host, **changes))[name]
    assert sign.weight > 0
    assert sign.evidence


SPARED = [
    ("www.firm.example", {}),
    ("www.firm.test", {}),
    ("click.firm.example", UNSUBSCRIBE),
    ("other.example", LIST),
    ("other.example", {"Subject": "Re: Minutes", "In-Reply-To": "<1@own.example>", "References": "<1@own.example>"}),
    ("www.netflix.com", {"From": "Netflix <info@account.netflix.com>", "Subject": "Your Netflix membership"}),
    ("www.firm.example", {"Subject": "Invoice 2023-11-0077, due 30 November"}),
    ("www.firm.example", {"From": "<anna_berg@firm.example>", "Subject": "Flight LH1234 to Berlin"}),
    ("candle.shop", {"From": "Candle <hello@candle.shop>", "Subject": "Order #1182 confirmed"}),
    ("app.tably.online", {"From": "Tably <no-reply@tably.online>", "Subject": "Reset your password"}),
    ("praxis.online", {"From": "Praxis <termin@praxis.online>", "Subject": "Ihr Termin am Mittwoch"}),
    ("app.firm.example/#/join?for=bob@own.example", {}),
    ("www.firm.example", {"From": "Firm Security Team <security@firm.example>"}),
    (
        "www.firm.example",
        {"From": "Mail Delivery System <mailer-daemon@firm.example>", "Auto-Submitted": "auto-replied"},
    ),
    ("www.own.example", {"From": "own.example <shop@own.example>"}),
    ("www.own.example", {"From": "own.example team <team@mail.own.example>"}),
    ("www.netflix.com/browse", {"From": "Netflix <info@members.netflix.com>"}),
    ("prize.shop", UNSUBSCRIBE | {"From": "The shop <hello@mail.prize.shop>"}),
]


@pytest.mark.parametrize(("host", "changes"), SPARED)
def test_what_honest_senders_do(check, host, changes):
    found = signs(check, mail(host, **changes), sender="")
    assert sum(found[name].weight for name in OURS & set(found)) <= 0.8, found


def test_a_link_to_where_the_envelope_sender_is_at_home_is_not_elsewhere(check):
    assert "links-elsewhere" in signs(check, mail("click.service.example"))
    assert "links-elsewhere" not in signs(check, mail("click.service.example"), sender="bounce@service.example")


def test_plain_text_with_links_is_talk(check):
    plain = mail("other.example", Content_Type="text/plain; charset=utf-8")
    assert not OURS & set(signs(check, plain))


def test_all_signs_of_targets_together_stay_short_of_spam_without_another(check):
    worst = mail("other.example")
    assert sum(sign.weight for sign in signs(check, worst).values()) < 5.2


VERP = "77-bob=own.example@mail.prize.shop"


def test_mail_to_many_from_a_throwaway_domain(check):
    prize = {"From": "Prize <x@prize.shop>"}
    assert "sender-throwaway-bulk" in signs(check, mail("prize.shop", **prize), sender=VERP)
    assert "sender-throwaway-bulk" not in signs(check, mail("prize.shop", **prize), sender="x@prize.shop")
    order = mail("prize.shop", **prize, Subject="Thank you for your order")
    assert {"from-cheap-suffix"} == {"from-cheap-suffix", "sender-throwaway", "link-cheap-suffix"} & set(
        signs(check, order, sender=VERP)
    )
    assert "sender-throwaway-bulk" not in signs(check, mail("prize.shop", **prize, **UNSUBSCRIBE), sender=VERP)


@pytest.mark.parametrize(
    ("host", "changes", "found"),
    [("other.example", {}, True), ("firm.example", {}, False), ("other.example", UNSUBSCRIBE, False)],
)
def test_a_picture_that_leads_to_a_site_of_others(check, host, changes, found):
    header = mail(host, **changes).partition(b"\r\n\r\n")[0]
    content = header + f'\r\n\r\n<a href="https://{host}/x"><img src="https://{host}/x.png"></a>'.encode()
    assert ("picture-of-nobody" in signs(check, content)) is found


def test_a_linked_logo_below_a_letter_is_no_picture_alone(check):
    letter = mail("other.example") + b"<p>" + b"As we said on Tuesday. " * 10 + b"</p>"
    content = letter + b'<a href="https://other.example/"><img src="https://other.example/x.png"></a>'
    assert "picture-of-nobody" not in signs(check, content)


CALL = "Thank you for the order. $389.99 is taken from your account today. Wrong? Call our desk: {}."
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


def call(phone: str, text: str = "", **changes: str | None) -> bytes:
    head = mail("x.example", **(PLAIN | changes)).partition(b"\r\n\r\n")[0]
    return head + f"\r\n\r\n{text} {CALL.format(phone)}\r\n".encode()


@pytest.mark.parametrize(
    "phone", ["(888) 555-0134", "+1 888 555 0134", "1-888-555-0134", "888.555.0134", "+44 20 7946 0018"]
)
def test_a_sum_and_a_number_to_call(check, phone):
    for content in (call(phone, To="undisclosed-recipients:;"), call(phone, "Geek Squad"), call(phone, "Your PayPal")):
        assert "call-about-money" in signs(check, content)


@pytest.mark.parametrize(
    "content",
    [
        call("(888) 555-0134"),
        call("(888) 555-0134", "Your PayPal", From="PayPal <service@paypal.com>"),
        call("(888) 555-0134", "https://shop.example/order Your PayPal"),
        call("order 8885550", "Your PayPal"),
        call("(888) 555-0134", "Your PayPal", Subject="Re: Order", In_Reply_To="<1@own.example>"),
    ],
    ids=["a firm", "the brand", "with a link", "no telephone", "an answer"],
)
def test_a_bill_with_a_telephone_number_is_none_of_these(check, content):
    assert "call-about-money" not in signs(check, content)


def with_pdf(url: str, **changes: str | None) -> bytes:
    document = pikepdf.new()
    action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=url)
    document.add_blank_page().obj.Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])
    target = io.BytesIO()
    document.save(target)
    head = mail("x.example", Content_Type="multipart/mixed; boundary=b", **changes).partition(b"\r\n\r\n")[0]
    part = b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    text = b"--b\r\nContent-Type: text/html\r\n\r\n<p>The bill is attached.\r\n"
    return head + b"\r\n\r\n" + text + part + base64.encodebytes(target.getvalue()) + b"\r\n--b--\r\n"


def test_a_document_that_leads_to_others(check):
    assert "document-of-nobody" in signs(check, with_pdf("https://other.example/x"))
    assert "document-to-hosting" in signs(check, with_pdf("https://a-b.web.app/x"))
    assert "document-to-hosting" in signs(check, with_pdf("https://script.google.com/x"))
    bill = signs(check, with_pdf("https://pay.other.example/bill"))
    assert not {"document-to-hosting", "links-elsewhere"} & set(bill)  # a bill may lead to who collects it
    for content in (with_pdf("https://www.firm.example/"), with_pdf("https://other.example/", **LIST)):
        assert "document-of-nobody" not in signs(check, content)


@pytest.mark.parametrize("host", ["ec2-3-118-22-4.eu-west-1.compute.amazonaws.com", "10-0-0-4.build.internal"])
def test_a_machine_of_ones_own_may_be_linked_to(check, host):
    assert "link-to-line" not in signs(check, mail(host))


def test_a_newsletter_may_call_its_reader_by_name(check):
    named = {"Subject": "Robert, your week", "To": "<robert@own.example>"}
    assert "subject-names-recipient" in signs(check, mail("firm.example", **named))
    assert "subject-names-recipient" not in signs(check, mail("firm.example", **named, **UNSUBSCRIBE))


def test_a_group_that_meets_about_a_brand_is_none(check):
    assert "from-brand" in signs(check, mail("other.example", From="Microsoft Azure Billing <a@azure.example>"))
    group = signs(check, mail("other.example", From="Microsoft Azure User Group Leeds <a@azure.example>"))
    assert not {"from-brand", "from-brand-elsewhere", "brand-unlikely"} & set(group)


def test_a_free_mail_domain_in_a_name_is_nobodys(check):
    content = mail("firm.example", From="Ann at gmail.com <ann@firm.example>", To="<bob@gmail.com>")
    notes = Notes()
    check.inspect(build_view(parse(content), SpamOptions(recipients=("bob@gmail.com",))), notes)
    assert "from-shown-recipient" not in {sign.name for sign in notes.signs}


def test_hosts_are_bounded_and_told_once():
    page = "".join(f'<a href="https://h{number}.example/">x</a>' * 2 for number in range(100))
    view = build_view(parse(b"From: <a@b.example>\r\nContent-Type: text/html\r\n\r\n" + page.encode()), SpamOptions())
    hosts = link_hosts(Picture(view, Reference()))
    assert len(hosts) == len(set(hosts)) == HOSTS_LIMIT
