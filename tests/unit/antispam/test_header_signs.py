"""Header and structure signs: a sample of each documented one, and mail that must stay without."""

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import Method, Sign, SpamOptions

NOW = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:10:00 +0000"
USUAL = {
    "From": "Anna Berg <anna.berg@firm.example>",
    "To": "Bob <bob@own.example>",
    "Subject": "Minutes of Tuesday",
    "Date": DATE,
    "Message-ID": "<20231114.221000.77@firm.example>",
    "MIME-Version": "1.0",
}
OPTIONS = SpamOptions(
    sender="anna.berg@firm.example",
    recipients=("bob@own.example",),
    client_ip="8.8.8.8",
    client_name="mail.firm.example",
    helo="mail.firm.example",
    now=NOW,
    own_domains=("own.example", "*.own.example", "northwind.test"),
    own_names=(("Clara Meyer", "clara.meyer@own.example"),),
    hostname="mx.own.example",
)


@pytest.fixture(scope="module")
def check():
    return build_header_check(shipped_knowledge())


def mail(body: str = "Dear Bob,\r\n\r\nhere they are.\r\n", **changes: str | None) -> bytes:
    """The usual mail with fields changed (`_` for `-`) or, None, left out."""
    fields = dict(USUAL) | {name.replace("_", "-"): value for name, value in changes.items()}
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{header}\r\n{body}".encode()


def signs(check, content: bytes, options: SpamOptions = OPTIONS) -> dict[str, Sign]:
    notes = Notes()
    check.inspect(build_view(parse(content), options), notes)
    return {sign.name: sign for sign in notes.signs}


def changed(**changes) -> SpamOptions:
    values = {field: getattr(OPTIONS, field) for field in OPTIONS.__struct_fields__}
    return SpamOptions(**(values | changes))


def test_an_ordinary_mail_has_no_sign(check):
    assert signs(check, mail()) == {}


M55 = [
    ("subject-noise", {"Subject": "Lower your rates today          kvwzx"}, "Headers: Spamware Subject"),
    ("to-missing", {"To": None}, "Headers: Suspicious To"),
    ("from-missing", {"From": None}, "Headers: Suspicious From"),
    ("to-invalid", {"To": "Bob <bob at own>"}, "Headers: Suspicious To"),
    ("from-invalid", {"From": "Anna <anna..@firm..example>"}, "Headers: Suspicious From"),
    ("from-odd-local", {"From": "<167nk46s76@firm.example>"}, "Headers: Suspicious From"),
    ("mailer-empty", {"X_Mailer": ""}, "Headers: Suspicious X-Mailer"),
]


@pytest.mark.feature("F-AS-11")
@pytest.mark.parametrize(("name", "changes", "detail"), M55, ids=[case[0] for case in M55])
def test_documented_signs_of_subject_and_addresses(check, name, changes, detail):
    found = signs(check, mail(**changes))
    assert found[name].detail == detail
    assert found[name].method is Method.HEADERS
    assert found[name].weight > 0
    assert found[name].evidence


A20 = [
    (
        "priority-of-another",
        {"X_MSMail_Priority": "High", "X_Mailer": "The Bat! (v1.52f)"},
        "Headers: Incompatible Headers",
    ),
    ("priority-without-client", {"X_MSMail_Priority": "High"}, "Headers: Incompatible Headers"),
    (
        "outlook-express-forged",
        {"X_Mailer": "Microsoft Outlook Express 6.00.2800.1106"},
        "Headers: Incompatible Headers",
    ),
    ("aol-forged", {"X_Mailer": "AOL 7.0 for Windows US sub 118"}, "Headers: Incompatible Headers"),
    ("mailer-of-masses", {"X_Mailer": "Advanced Mass Sender 4.3"}, "Headers: Spamware X-Mailer"),
    ("outlook-express-dm", {"X_Mailer": "Microsoft Outlook Express 5.00.2615.200 DM"}, "Headers: Spamware X-Mailer"),
    ("received-of-spamware", {"Received": "from [8.7.6.5] by 9.8.7.6 with SMTP; Tue"}, "Headers: Spamware Received"),
    ("reply-other-free-mail", {"From": "<a@gmail.com>", "Reply_To": "<b@yahoo.com>"}, "Headers: Suspicious Reply-To"),
    ("subject-exclamations", {"Subject": "Buy now!!!"}, "Headers: Suspicious Subject"),
    ("subject-gappy", {"Subject": "Cheap V I A G R A here"}, "Headers: Spamware Subject"),
]


@pytest.mark.feature("F-AS-12")
@pytest.mark.parametrize(("name", "changes", "detail"), A20, ids=[case[0] for case in A20])
def test_impossible_combinations_and_programs_for_mass_mails(check, name, changes, detail):
    assert signs(check, mail(**changes))[name].detail == detail


@pytest.mark.feature("F-AS-13")
def test_envelope_and_header_that_disagree(check):
    assert "envelope-differs" in signs(check, mail(), changed(sender="office@other.example"))
    unnamed = signs(check, mail(), changed(recipients=("carl@own.example",)))["to-unnamed"]
    assert "carl" not in unnamed.evidence  # recipients of a blind copy may not know of one another
    free = mail(From="<anna1@gmail.com>")
    assert "envelope-free-mail" in signs(check, free, changed(sender="office@other.example"))


@pytest.mark.parametrize(
    "sender", ["bounce+77=bob@mail.service.example", "prvs=1=anna@x.example", "SRS0=aa=bb=c.example=d@f.example", ""]
)
def test_bounce_addresses_of_services_are_ordinary(check, sender):
    assert signs(check, mail(), changed(sender=sender)) == {}


@pytest.mark.feature("F-AS-13")
def test_structure(check):
    assert "html-only" in signs(check, mail("<p>x</p>", Content_Type="text/html; charset=utf-8"))
    assert "mime-version-missing" in signs(check, mail("<p>x</p>", Content_Type="text/html", MIME_Version=None))
    assert "body-nothing" in signs(check, mail(""))
    boundary = 'multipart/mixed; boundary="----123456789012345678"'
    assert "boundary-of-spamware" in signs(check, mail(Content_Type=boundary))


IMITATIONS = [
    ("from-shown-address", {"From": '"ceo@victim.example" <x@other.example>'}),
    ("from-shown-own", {"From": '"Helpdesk own.example" <x@other.example>'}),
    ("from-protected-name", {"From": "Meyer, Clara <clara@gmail.com>"}),
    ("from-protected-name", {"From": "=?utf-8?q?Cl=D0=B0ra?= MEYER <clara@gmail.com>"}),
    ("domain-like-own", {"From": "IT <it@northwlnd.test>"}),
    ("domain-like-own", {"From": "IT <it@northwinds.test>"}),
    ("domain-like-own", {"Reply_To": "<it@norhtwind.test>"}),
    ("domain-disguised", {"From": "<a@xn--80ak6aa92e.com>"}),
    ("from-brand", {"From": "PayPal Service <x@pay-secure.example>"}),
    ("from-brand-free-mail", {"From": "Netflix <netflix.billing77@gmail.com>"}),
    ("name-mixed-scripts", {"From": "=?utf-8?b?0YDQsNGDcGFs?= account <x@other.example>"}),
    ("name-invisible", {"From": "=?utf-8?q?Inv=E2=80=8Boice?= <x@other.example>"}),
    ("name-invisible", {"From": "=?utf-8?q?P=E2=80=8Dr=E2=80=8Dime?= <x@other.example>"}),
    ("from-brand", {"From": "Ledger Support <x@other.example>"}),
    ("from-brand", {"From": '"Amazon" <x@other.example>'}),
    ("from-brand", {"From": "UPS Delivery Team 20391 <x@other.example>"}),
    ("from-brand-free-mail", {"From": "Norton <n.billing77@gmail.com>"}),
    ("subject-underscores", {"Subject": "_Your_funds_are_waiting_"}),
    ("from-ambiguous", {"From": "<a@firm.example>, <b@other.example>"}),
    ("from-disguised", {"From": "<@x.example:a@firm.example>"}),
]


@pytest.mark.parametrize(("name", "changes"), IMITATIONS)
def test_names_and_domains_that_imitate_others(check, name, changes):
    assert signs(check, mail(**changes))[name].weight > 0


HONEST = [
    {"From": "Clara Meyer <clara.meyer@own.example>"},
    {"From": "Clara Meyer <clara@mail.own.example>"},
    {"From": "PayPal <service@paypal.de>"},
    {"From": "PayPal <service@e.paypal.com>"},
    {"From": "Jörg Müller <jm@bücher.example>"},
    {"From": '"anna@firm.example" <anna@mail.firm.example>'},
    {
        "From": '"Anna via Forum" <forum@lists.example>',
        "Reply_To": "anna@gmail.com",
        "List_Id": "<forum.lists.example>",
    },
    {"Subject": "Привет, как дела в IT-отделе?"},
    {"Subject": "=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?="},
    {"Subject": "Re: Minutes", "In_Reply_To": "<1@own.example>", "References": "<1@own.example>"},
    {"Subject": "Invoice 2023-11-0077, due 30 November"},
    {"Subject": "Your order #4711 has shipped"},
    {"Subject": "[Forum] a very long subject that is folded over\r\n        lines"},
    {"From": '"=?utf-8?q?anna=40firm.example?=" <anna@firm.example>'},
    {"X_PHP_Script": "firm.example/wp-admin/admin-ajax.php for 8.8.8.8"},
    {"X_Mailer": "8.2.12"},
    {"From": "root@host7", "To": "root@host7", "Subject": "Cron <root@host7> run-parts"},
    {"X_Mailer": "Apple Mail (2.3774.200.91.1.1)"},
    {"X_Mailer": "PHPMailer 6.8.0 (https://github.com/PHPMailer/PHPMailer)"},
    {"Received": "from 10.118.28.239 by 10.119.0.16 with http; 14 Nov 2023 22:10:00 +0000"},
    {"X_Message_Info": "added by the recipient's former provider"},
]


@pytest.mark.parametrize("changes", HONEST)
def test_honest_mail_collects_no_weight(check, changes):
    found = signs(check, mail(**changes), changed(recipients=()))
    assert sum(max(0.0, sign.weight) for sign in found.values()) <= 0.5, found


def test_a_protected_person_with_the_right_address_is_no_imitation(check):
    assert "from-protected-name" not in signs(check, mail(From="clara meyer <Clara.Meyer@own.example>"))


def test_clients_that_call_themselves_by_our_name(check):
    assert "helo-ours" in signs(check, mail(), changed(helo="MX.own.example."))
    assert "helo-ours" in signs(check, mail(), changed(helo="own.example"))
    assert "helo-number" in signs(check, mail(), changed(helo="8.8.8.8"))
    assert signs(check, mail(), changed(helo="own.example", client_ip="10.0.0.7")) == {}
    assert signs(check, mail(), changed(helo="[8.8.8.8]")) == {}


def test_dates(check):
    assert "date-past" in signs(check, mail(Date="Tue, 7 Nov 2023 22:10:00 +0000"))
    assert "date-future" in signs(check, mail(Date="Wed, 15 Nov 2023 22:10:00 +0000"))
    assert "date-invalid" in signs(check, mail(Date="yesterday"))
    assert signs(check, mail(Date="Tue, 14 Nov 2023 23:10:00 +0100")) == {}
    assert signs(check, mail(Date="Sat, 11 Nov 2023 22:10:00 +0000")) == {}


def test_a_relay_that_had_the_mail_before_it_was_sent(check):
    hops = "from a.example (a.example [8.8.4.4]) by b.example with ESMTP; Tue, 14 Nov 2023 {} +0000"
    late, early = hops.format("10:00:00"), hops.format("22:00:00")
    assert "received-backwards" in signs(check, f"Received: {late}\r\nReceived: {early}\r\n".encode() + mail())
    assert signs(check, f"Received: {early}\r\nReceived: {late}\r\n".encode() + mail()) == {}


def test_evidence_tells_what_was_seen_in_one_clean_line(check):
    found = signs(check, mail(X_Mailer="Advanced Mass Sender\r\n \x07 4.3" + "x" * 500))
    evidence = found["mailer-of-masses"].evidence
    assert "Advanced Mass Sender" in evidence
    assert evidence.isprintable()
    assert len(evidence) < 200


def test_combined_signs_add_and_covering_signs_replace(check):
    found = signs(check, mail(From="DHL Express <x@parcels.example>", Reply_To="<y@else.example>"))
    assert {"from-brand", "brand-unlikely"} <= set(found)
    found = signs(check, mail(X_MSMail_Priority="High", X_Mailer="The Bat! (v3)"))
    assert "priority-without-client" not in found


def test_what_honest_mail_has_weighs_little(check):
    assert all(rule.weight >= -0.3 for rule in check._rules)


def test_the_check_rests_when_header_signs_are_off(check):
    assert signs(check, mail(From=None, To=None), changed(headers=False)) == {}


@pytest.mark.parametrize(
    "unit", [b"To: a@b.example,\r\n", b"Received: ((((\r\n", b"Subject: " + b"a " * 400 + b"\r\n", b"X-A: b\r\n"]
)
def test_hostile_headers_are_read_in_bounded_steps(check, unit):
    content = b"From: a@b.example\r\n" + unit * (900_000 // len(unit)) + b"\r\n"
    assert len(signs(check, content)) < 30


def test_missing_fields_say_nothing_of_a_mail_whose_way_is_not_known(check):
    bare = {"Message_ID": None, "To": None, "Subject": "Re: the figures"}
    missing = {"id-missing", "to-missing", "subject-answer-alone"}
    assert missing <= signs(check, mail(**bare)).keys()
    unknown = changed(client_ip="", client_name="", helo="")
    assert not missing & signs(check, mail(**bare), unknown).keys()
    way = b"Received: from mail.firm.example (mail.firm.example [8.8.8.8]) by mx.own.example with ESMTP\r\n"
    assert missing <= signs(check, way + mail(**bare), unknown).keys()


@pytest.mark.parametrize(
    "author",
    [
        "Dein Gutschein , <service@shop.example>",
        "=?UTF-8?Q?Gewinner?= , <service@shop.example>",
        "Voucher,(<service@shop.example>)",
        "Darty, <info@shop.example.>, Darty,\r\n\t<info@shop.example>",
    ],
)
def test_a_comma_between_name_and_address(check, author):
    assert "from-comma" in signs(check, mail(From=author))


@pytest.mark.parametrize(
    "author",
    [
        '"Berg, Anna" <anna.berg@firm.example>',
        '"Berg, Inc.," <anna.berg@firm.example>',
        "Anna Berg <anna.berg@firm.example>, <carl@firm.example>",
        "<anna.berg@firm.example>, <carl@firm.example>",
        "anna.berg@firm.example, <carl@firm.example>",
    ],
)
def test_commas_that_part_authors_or_stand_in_names(check, author):
    assert "from-comma" not in signs(check, mail(From=author))


def test_a_brand_whose_links_or_answers_lead_elsewhere(check):
    page = '<html><body><p>Your account.</p><a href="https://{}/x">Sign in</a></body></html>'
    fields = {"From": "PayPal <service@limits.example>", "Content-Type": "text/html; charset=utf-8"}
    strange = signs(check, mail(page.format("resolve.example"), **fields))
    assert {"from-brand", "from-brand-elsewhere"} <= strange.keys()
    own = signs(check, mail(page.format("limits.example"), **fields))
    assert "from-brand" in own
    assert "from-brand-elsewhere" not in own


@pytest.mark.parametrize(
    "changes",
    [
        {"From": "Heath Ledger <heath@other.example>"},
        {"From": "Edward Norton <ed.norton@other.example>"},
        {"From": "Amazon <news@amazon.pl>"},
        {"From": "Support Team <help@other.example>"},
        {"From": "=?utf-8?q?=F0=9F=91=A9=E2=80=8D=F0=9F=92=BB_Lena?= <lena@other.example>"},
        {"Subject": "Backup of db_main_old_copy.zip"},
        {"Subject": "snake_case or camelCase?"},
        {"Subject": "quarterly_report_final_v2.pdf"},
    ],
)
def test_names_that_people_bear_and_files_that_are_named_are_none_of_these(check, changes):
    found = signs(check, mail(**changes))
    assert not {"from-brand", "from-brand-free-mail", "name-invisible", "subject-underscores"} & set(found)


@pytest.mark.parametrize(
    "author",
    [
        "Sparkasse KölnBonn <info@sparkasse-koelnbonn.de>",
        "Volksbank Mittelhessen <service@vb-mittelhessen.de>",
        "Vodafone <info@email.vodafone.ro>",
        "IRS Newswire <irs@service.govdelivery.com>",
        "HMRC <hmrc@public.govdelivery.com>",
        "Microsoft Teams <no-reply@teams.mail.microsoft>",
        "Marriott Bonvoy <news@email-marriott.com>",
        "Mercado Libre <info@mercadolibre.com.co>",
        "MediaMarkt <news@mediamarkt.pl>",
        "Detran <aviso@detran.rj.gov.br>",
        "Wells Fargo <alerts@notify.wellsfargoemail.com>",
    ],
)
def test_brands_write_from_their_countries_and_services(check, author):
    found = signs(check, mail(From=author))
    assert not {"from-brand", "brand-unlikely"} & set(found)


@pytest.mark.parametrize(
    "author", ["Microsoft Account Team <x@contoso77.onmicrosoft.com>", "Amazon Support <x@eu.amazonses.com>"]
)
def test_a_domain_in_which_anybody_gets_a_name_is_no_brands_own(check, author):
    assert "from-brand" in signs(check, mail(From=author))


@pytest.mark.parametrize("author", ["Sparkasse <x@konto.example>", "Volksbank Kundenservice <x@konto.example>"])
def test_a_bank_of_many_places_that_names_none(check, author):
    assert "from-brand" in signs(check, mail(From=author))


@pytest.mark.parametrize(
    "author",
    [
        "Anna Rossmann <anna@architekten.example>",
        "Charles Leclerc <c.leclerc@ecole.example>",
        "John Lowes <john@lowes-garage.example>",
        "Aldi Rahman <aldi@universitas.example>",
        "Universidad Industrial de Santander <info@uis.example>",
        "Türk Telekom <fatura@tt.example>",
        "Correos de Chile <aviso@correos-chile.example>",
        "Prime <news@primegroup.example>",
        "Vivo <contato@vivo-moveis.example>",
        "Phantom Films Team <crew@phantom-films.example>",
        "AAA <office@aaa-lock.example>",
    ],
)
def test_people_and_places_that_share_a_brand_s_name(check, author):
    assert not {"from-brand", "brand-unlikely"} & set(signs(check, mail(From=author)))


@pytest.mark.parametrize(
    "author",
    [
        "Aldi <x@gewinn.example>",
        "Telekom Rechnung <x@konto.example>",
        "Banco Santander Aviso <x@conta.example>",
        "Prime Support <x@konto.example>",
        "Phantom Wallet Security <x@konto.example>",
        "Prime Video <x@konto.example>",
    ],
)
def test_such_brands_still_count_alone_or_with_more_of_their_name(check, author):
    assert "from-brand" in signs(check, mail(From=author))


EXCHANGE = "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@contoso.example>"


def test_reports_of_exchange_bear_its_maker_s_name(check):
    assert "from-brand" not in signs(check, mail(From=EXCHANGE), changed(sender=""))
    assert "from-brand" in signs(check, mail(From=EXCHANGE), changed(sender="x@contoso.example"))
    assert "from-brand" in signs(check, mail(From="Microsoft Outlook <x@contoso.example>"), changed(sender=""))
