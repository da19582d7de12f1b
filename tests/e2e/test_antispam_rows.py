"""What content checks find, on one running gateway, as fields, labels, log lines and the quarantine show it."""

import email
import email.message
import io
import random
import re
from collections.abc import Iterator
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate

import pytest
from PIL import Image, ImageDraw
from tests.support.gateway import Gateway, run_here
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.storage.item import Item
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
BAD = "bad@spam.example"
HOUSES = (
    "Our company sells garden houses of spruce wood in five sizes, with a floor and a door that can be locked. We bring "
    "them to your garden and two of our carpenters put them up within a day. The price includes the roof, the windows "
    "and a coat of paint in a colour of your choice. Write to us for the list of prices.\r\n"
)
PILLS = "Buy cheap viagra and cialis online without prescription, lowest prices guaranteed."
SETTINGS = f"""
[antispam]
black_list = ["{BAD}"]

[[group]]
name = "kept"
recipients = ["*@kept.example.org"]
eastern_korean = "suspicious"
mark_obscene = true
action_spam = ["mark", "quarantine"]
action_probable_spam = ["mark", "quarantine"]
action_formal = ["mark", "quarantine"]
action_blacklisted = ["mark", "quarantine"]
"""


def picture() -> Image.Image:
    """Something with enough on it to be known again."""
    dice = random.Random(7)
    image = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        left, top = dice.randrange(280), dice.randrange(200)
        draw.rectangle(
            (left, top, left + dice.randrange(20, 90), top + dice.randrange(15, 70)), fill=dice.randrange(1 << 24)
        )
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rows")
    one = Gateway(
        folder / "gw",
        sink.port,
        settings=SETTINGS,
        replace={
            'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
            "server_max_filters = 0": "server_max_filters = 2",
        },
        antispam=True,
        spam_fields=True,
    )
    (folder / "houses.txt").write_text(HOUSES)
    (folder / "blocks.png").write_bytes(encoded(picture(), "PNG"))
    for arguments in (
        ("sample", "add", str(folder / "houses.txt")),
        ("image", "add", str(folder / "blocks.png")),
        ("sample", "compile"),
    ):
        done = run_here("spam", *arguments, "-c", str(one.config))
        assert done.returncode == 0, done.stderr
    with one:
        yield one


def mail(subject: str, text: str = "Dear Bob,\r\n\r\nhere they are.\r\n", **fields: str | None) -> bytes:
    usual: dict[str, str | None] = {
        "From": "Anna Berg <anna.berg@firm.example>",
        "To": "Bob <bob@kept.example.org>",
        "Subject": subject,
        "Date": formatdate(),
        "Message-ID": f"<{subject.replace(' ', '.')}@firm.example>",
        "MIME-Version": "1.0",
    }
    usual |= {name.replace("_", "-"): value for name, value in fields.items()}
    header = "".join(f"{name}: {value}\r\n" for name, value in usual.items() if value is not None)
    return f"{header}\r\n{text}".encode()


def arrived(sink: Sink, message_id: str) -> email.message.Message:
    def look() -> list[email.message.Message]:
        mails = [email.message_from_bytes(each.content) for each in list(sink.mails)]
        return [each for each in mails if message_id in str(each["Message-ID"])]

    return wait_for(look, f"mail {message_id}")[0]


def found_in(gateway: Gateway, sink: Sink, content: bytes, sender: str = "anna.berg@firm.example") -> tuple[
    email.message.Message, str
]:  # fmt: skip
    """Send a mail; return it as it arrived, and its line in the log."""
    queue_id = gateway.send(content, "bob@kept.example.org", sender)
    (line,) = wait_for(lambda: gateway.lines("SPAMCHECK", queue_id), "its line")
    return arrived(sink, str(email.message_from_bytes(content)["Message-ID"])), line


def kept(gateway: Gateway, subject: str) -> list[Item]:
    with Store(str(gateway.state / "quarantine-as")) as store:
        items = [store.container(row.id).item for row in store.page(ItemFilter(), 0.0)]
    return [item for item in items if item.subject == subject]


KOREAN = "안녕하세요 회의는 내일입니다\r\n"
STATUSES = [
    ("is spam", GTUBE, {}, "[!! SPAM] ", "spam", "SPM"),
    ("is probable", KOREAN, {}, "[?? Probable Spam] ", "probable_spam", "PSP"),
    ("Undeliverable: is formal", "x", {"From": "MAILER-DAEMON@firm.example"}, "[--Formal Message--] ", "formal", "FRM"),
    ("is blacklisted", "x", {"From": BAD}, "[!! Blacklisted] ", "blacklisted", "BLK"),
]


@pytest.mark.feature("F-AS-23", "F-ASR-04", "F-ASR-05", "F-ASR-06", "F-ASR-12")
@pytest.mark.parametrize(("subject", "text", "fields", "label", "status", "code"), STATUSES)
def test_each_status_has_its_label_and_one_copy_in_the_quarantine(
    gateway: Gateway, sink: Sink, subject: str, text: str, fields: dict[str, str], label: str, status: str, code: str
) -> None:
    content = mail(subject, text, **fields)
    if text is KOREAN:
        content = mail(subject, "", Content_Type="text/plain; charset=euc-kr") + text.encode("euc-kr")
    got, line = found_in(gateway, sink, content, BAD if status == "blacklisted" else "anna.berg@firm.example")
    assert got.get_all("Subject") == [label + subject]
    assert got["X-SpamTest-Status-Extended"] == status
    methods = {"spam": "content", "formal": "none", "blacklisted": "black email list"}
    assert methods.get(status, "headers") in got.get_all("X-SpamTest-Method", [])
    assert got["X-SpamTest-Rate"] == ("100" if status in {"spam", "blacklisted"} else str(int(got["X-SpamTest-Rate"])))
    assert got["X-SpamTest-Info"]
    assert re.fullmatch(r"\d{8}", got["X-SpamTest-Group-ID"])
    assert f'status="{status}"' in line
    (item,) = kept(gateway, subject)
    assert item.code == code
    listed = gateway.command("quarantine", "list", "--spam", "--subject", subject)
    assert f" {code} " in listed.stdout
    assert f"“{subject}”" in listed.stdout
    shown = gateway.command("quarantine", "show", "--spam", item.id)
    assert f"  rating:      {item.rate}, by {', '.join(item.methods) or 'no method'}\n" in shown.stdout


@pytest.mark.feature("F-ASR-04")
def test_the_label_of_obscene_mail(gateway: Gateway, sink: Sink) -> None:
    got, _ = found_in(gateway, sink, mail("to a friend", "What the fuck, this fucking shit is broken, you cunt."))
    assert got["Subject"] == "[--Obscene--] to a friend"
    assert not kept(gateway, "to a friend")


DOCUMENTED = [
    ("subject-noise", {"Subject": "Lower your rates today          kvwzx"}, "Headers: Spamware Subject"),
    ("to-missing", {"To": None}, "Headers: Suspicious To"),
    ("from-missing", {"From": None}, "Headers: Suspicious From"),
    ("from-invalid", {"From": "Anna <anna..@firm..example>"}, "Headers: Suspicious From"),
    ("from-odd-local", {"From": "<167nk46s76@firm.example>"}, "Headers: Suspicious From"),
    ("mailer-empty", {"X_Mailer": ""}, "Headers: Suspicious X-Mailer"),
]
COMBINED = [
    ("priority-without-client", {"X_MSMail_Priority": "High"}, "Headers: Incompatible Headers"),
    ("mailer-of-masses", {"X_Mailer": "Advanced Mass Sender 4.3"}, "Headers: Spamware X-Mailer"),
    ("received-of-spamware", {"Received": "from [8.7.6.5] by 9.8.7.6 with SMTP; Tue"}, "Headers: Spamware Received"),
]


@pytest.mark.feature("F-AS-11", "F-AS-12")
@pytest.mark.parametrize(("sign", "fields", "detail"), DOCUMENTED + COMBINED)
def test_documented_header_signs_show_in_log_and_method(
    gateway: Gateway, sink: Sink, sign: str, fields: dict[str, str | None], detail: str
) -> None:
    got, line = found_in(gateway, sink, mail(f"sign {sign}", **fields))
    assert detail in got.get_all("X-SpamTest-Method", [])
    assert sign in line


@pytest.mark.feature("F-AS-13")
def test_an_envelope_of_somebody_else_is_a_sign(gateway: Gateway, sink: Sink) -> None:
    _, usual = found_in(gateway, sink, mail("envelope as author"))
    _, other = found_in(gateway, sink, mail("envelope of another"), "office@other.example")
    assert "envelope-differs" in other
    assert "envelope-differs" not in usual


HTML = "<p>Buy cheap via<!-- x -->gr<b></b>a and ci<span></span>alis online without prescription, lowest prices guaranteed.</p>"
RTF = "{\\rtf1 Buy cheap via{\\b gra} and cialis online without prescription, lowest prices guaranteed.}"


@pytest.mark.feature("F-AS-14", "F-AS-17")
@pytest.mark.parametrize(
    ("kind", "text"),
    [("text/plain", PILLS), ("text/html", HTML), ("application/rtf", RTF)],
    ids=["plain", "html", "rtf"],
)
def test_terms_give_categories_in_each_format(gateway: Gateway, sink: Sink, kind: str, text: str) -> None:
    got, line = found_in(gateway, sink, mail(f"format {kind}", text, Content_Type=kind))
    assert "spam/health/pharma" in str(got["X-SpamTest-Categories"])
    assert "terms-pharma" in line


@pytest.mark.feature("F-AS-15")
def test_an_edited_sample_is_found(gateway: Gateway, sink: Sink) -> None:
    edited = HOUSES.replace("five sizes", "three sizes").replace("two of our carpenters", "our men") + "See you.\r\n"
    got, _ = found_in(gateway, sink, mail("houses again", edited))
    assert got["X-SpamTest-Status"] == "SPAM"
    assert "content" in got.get_all("X-SpamTest-Method", [])


@pytest.mark.feature("F-AS-18")
def test_a_known_image_is_found_in_another_size_and_format(gateway: Gateway, sink: Sink) -> None:
    letter = MIMEMultipart()
    for name, value in (("From", "anna.berg@firm.example"), ("To", "bob@kept.example.org"), ("Subject", "a picture"),
                        ("Date", formatdate()), ("Message-ID", "<a.picture@firm.example>")):  # fmt: skip
        letter[name] = value
    letter.attach(MIMEText("See the picture.\n"))
    letter.attach(MIMEImage(encoded(picture().resize((256, 192)), "JPEG"), "jpeg"))
    got, _ = found_in(gateway, sink, letter.as_bytes(policy=email.policy.SMTP))
    assert "GSG" in got.get_all("X-SpamTest-Method", [])
    assert got["X-SpamTest-Status"] == "SPAM"
