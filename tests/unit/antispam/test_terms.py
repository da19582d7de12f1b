# ruff: noqa: RUF001, ISC004 - Russian is meant, and texts of tables are long
"""Terms: how their files are read, what they match, what they are worth, and what they leave alone."""

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.terms.check import TermsCheck
from gatepost.antispam.terms.scoring import STRONG
from gatepost.antispam.terms.term import parse_terms
from gatepost.antispam.terms.wording import build_wording
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

OWN = b"""
# what nobody sells here
= test/flowers | an offer of flowers
1.5 blue roses
1.5 tulip*
1.5 transfer ... million
1.5 subject: Big Sale
0.5 garden
0.5 soil
"""


def inspect(check: TermsCheck, body: str, subject: str = "hello") -> Notes:
    mail = f"From: a@example.org\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    notes = Notes()
    check.inspect(build_view(parse(mail.encode()), SpamOptions()), notes)
    return notes


@pytest.fixture(scope="module")
def own() -> TermsCheck:
    return TermsCheck(Knowledge({"terms/test.terms": OWN}))


@pytest.fixture(scope="module")
def shipped() -> TermsCheck:
    return TermsCheck(shipped_knowledge())


@pytest.mark.feature("F-AS-14")
def test_a_list_of_terms_gives_its_category_and_says_which_words(own: TermsCheck) -> None:
    notes = inspect(own, "We have BLUE  roses,\r\nand tulips too!")
    assert list(notes.categories) == ["test/flowers"]
    (sign,) = notes.signs
    assert (sign.method.value, sign.name) == ("content", "terms-flowers")
    assert sign.weight == pytest.approx(2.0)
    assert "an offer of flowers" in sign.evidence
    assert "“blue roses”" in sign.evidence
    assert "“tulip*”" in sign.evidence


@pytest.mark.parametrize(
    ("body", "subject", "found"),
    [
        ("blue roses. Blue roses! blue roses", "", False),  # one term, however often
        ("blue rosestock, tulips", "", False),  # words are whole
        ("bluish roses, tulips", "", False),
        ("blue, roses; tulipomania", "", True),  # signs between words are none, a prefix is one
        ("transfer of 12 a b million, tulips", "", True),
        ("transfer one two three four five million, tulips", "", False),
        ("tulips", "big sale", True),
        ("tulips in a big sale", "", False),  # a term of the subject
        ("garden soil", "", False),  # weak terms only support
        ("blue", "roses tulips", False),  # no term reaches from the subject into the body
    ],
)
def test_what_matches(own: TermsCheck, body: str, subject: str, found: bool) -> None:
    assert bool(inspect(own, body, subject).signs) is found


def test_long_texts_are_not_punished_for_chance_words(own: TermsCheck) -> None:
    short = inspect(own, "blue roses, tulips, garden").signs[0].weight
    assert not inspect(own, "blue roses, tulips, garden " + "and so on " * 3000).signs
    assert short > 2


def test_a_term_that_is_part_of_another_says_nothing_more() -> None:
    text = b"= a | a\n2 blue roses\n2 red blue roses\n2 blue roses today\n2 tulips\n"
    check = TermsCheck(Knowledge({"a.terms": text}))
    assert inspect(check, "red blue roses, tulips").signs[0].weight == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"1 word", "a.terms:1: a term before any category"),
        (b"= a\n\nx word", "a.terms:3: 'x' is no weight"),
        (b"= a\n7 word", "weight 7"),
        (b"= a\n0 word", "weight 0"),
        (b"= a\nnan word", "weight nan"),
        (b"= A/b\n", "is no category"),
        (b"= a | b | max=3\n", "only cap=N"),
        (b"= a\n1 wo*rd x", "a * behind the last"),
        (b"= a\n1 !", "words of two letters or more"),
        (b"= a\n1 " + b"long " * 40, "longer than 120 bytes"),
        (b"= a\n1 \xff", "a.terms: not UTF-8"),
    ],
)
def test_faulty_files_are_told_with_their_line(text: bytes, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_terms([("a.terms", text)])
    assert words in str(caught.value)


def test_a_category_never_adds_more_than_its_cap() -> None:
    terms = "\n".join(f"2 word{number}" for number in range(20))
    for cap, most in (("", 6.5), ("| cap=3", 3.0)):
        check = TermsCheck(Knowledge({"a.terms": f"= a | a {cap}\n{terms}\n".encode()}))
        body = " ".join(f"word{number}" for number in range(20))
        assert inspect(check, body).signs[0].weight == pytest.approx(most)


def test_wording_is_words_with_one_space_between() -> None:
    assert build_wording("«it’s»\u00a0 100% -- été, ёлка 👍️ ok") == " it s 100 ete елка ok ".encode()
    assert build_wording("Çok ŞIK ığne, İyi łódź żółć đak".casefold()) == b" cok sik igne iyi lodz zolc dak "
    assert build_wording("cafe\u0301 βάση".casefold()) == " cafe βάση ".encode()
    assert build_wording("代 开发票ok 대출상담") == " 代 开 发 票 ok 대 출 상 담 ".encode()
    assert build_wording("x" * 700 + "発票。") == f" {'x' * 700} 発 票 ".encode()
    assert build_wording("") == b" "
    assert build_wording(" " * 1_000_000) == b" "


SPAM = {
    "english advance fee": (
        "spam/fraud/advance-fee",
        "I am Barrister John Kofi, attorney to a deceased client who died in a plane crash with his entire family and "
        "left the sum of US$ 12 Million United States Dollars. I seek your consent to stand as the next of kin, so that "
        "we can transfer this fund. This transaction is 100% risk free. Send me your full names and private telephone.",
    ),
    "english extortion": (
        "spam/fraud/extortion",
        "I hacked your device and recorded you through your webcam while you visited adult websites. Send $900 in "
        "bitcoin to my bitcoin wallet, or I send this video to all your contacts. You have 48 hours.",
    ),
    "english pharmacy": (
        "spam/health/pharma",
        "Canadian pharmacy: generic viagra and cialis soft without prescription, discreet packaging, lowest prices!",
    ),
    "russian credit": (
        "spam/finance/loans",
        "Кредит наличными без справок и поручителей! Поможем с плохой кредитной историей, рефинансирование, без залога.",
    ),
    "russian dating": (
        "spam/adult/dating",
        "Девушки по вызову, интим услуги, секс знакомства без обязательств, смотри порно видео.",
    ),
    "german pills": (
        "spam/health/pharma",
        "Viagra und Cialis rezeptfrei in der Online Apotheke, diskret: Potenzmittel für eine starke Erektion.",
    ),
    "french will": (
        "spam/fraud/advance-fee",
        "Je souffre d'un cancer de la gorge en phase terminale et je veux faire don de ma fortune à des orphelinats. "
        "Mon défunt mari a laissé un compte bloqué en Côte d'Ivoire. Je cherche une personne de confiance. Que Dieu vous "
        "bénisse.",
    ),
    "spanish lottery": (
        "spam/fraud/advance-fee",
        "¡Felicidades! Usted ha ganado la lotería nacional. Para reclamar su premio escriba al agente de reclamaciones "
        "con el número de boleto y el número de referencia.",
    ),
    "portuguese income": (
        "spam/finance/investment",
        "Ganhe dinheiro com renda extra e renda passiva: trabalhe em casa, fique rico e tenha liberdade financeira!",
    ),
}


@pytest.mark.parametrize("name", SPAM)
def test_shipped_terms_know_the_usual_spam(shipped: TermsCheck, name: str) -> None:
    category, body = SPAM[name]
    notes = inspect(shipped, body)
    assert next(iter(notes.categories)) == category
    assert notes.signs[0].weight > 3.4


HAM = {
    "password reset": "Hello Anna, we received a request to reset your password. Click here to choose a new password. "
    "The link expires in 24 hours. If you did not ask for it, you can ignore this message; your account is safe. "
    "The security team",
    "invoice": "Dear customer, please find attached your invoice 2024-113 for March. The amount will be debited from "
    "your account within 14 days. If you have questions, call our billing department. Thank you for your order.",
    "shop": "Spring sale: 50% off all shoes and handbags until Sunday. Order now, free shipping for orders over 40 "
    "euros. Shop now. You receive this newsletter because you have subscribed. Unsubscribe here.",
    "parcel": "Your parcel will be delivered tomorrow between 10 and 12. Delivery address: High Street 1. You can "
    "reschedule your delivery or choose a drop-off. Tracking number 1234567.",
    "bank": "Dear customer, our interest rates are changing. The new rate of your home loan is 3.1 % from July. Your "
    "monthly payment stays the same. See the letter in your online banking for details.",
    "doctor": "Dear Mr Smith, your prescription is ready at the pharmacy. Please take the tablets twice a day. Your "
    "doctor wants to see you again about your weight and blood pressure.",
    "colleague": "I talked to the bank about the transfer. They need the contract and a power of attorney before the "
    "funds are deposited. Could you send the documents? This is urgent. Best regards",
    "death": "It is with great sadness that I tell you that my father died of cancer last week. He left his house to "
    "my brother; the lawyer will contact you about the inheritance.",
    "russian": "Добрый день! Высылаем счет и договор на аренду. Стоимость доставки указана в прайсе. С уважением, "
    "главный бухгалтер. Тел. 123-45-67",
    "german": "Sehr geehrte Kundin, Ihr Paket ist unterwegs. Ihre Sendung wird morgen zugestellt. Mit freundlichen "
    "Grüßen, Ihr Kundendienst",
    "conference": "The call for papers of the workshop is open. Important dates: paper submission on May 1. The "
    "organizing committee hopes to see you. Registration fee for students: 50 euros.",
}


@pytest.mark.parametrize("name", HAM)
def test_shipped_terms_leave_ordinary_mail_alone(shipped: TermsCheck, name: str) -> None:
    notes = inspect(shipped, HAM[name])
    assert not [sign for sign in notes.signs if sign.weight > 2.1]
    assert not notes.obscene


@pytest.mark.parametrize(
    ("text", "obscene"),
    [
        ("what the fuck is this", True),
        ("You ASSHOLE!", True),
        ("иди на хуй", True),
        ("Ёбаный стыд", True),
        ("какой пиздец", True),
        ("Scunthorpe, Penistone, Lightwater, Clitheroe and Cockermouth", False),
        ("Mr Dick Cockburn of Sussex and Essex", False),
        ("shiitake mushrooms, cocktails, the bass class passed; a titled analyst", False),
        ("оскорблять, потреблять, корабли, требовать, хулиган, мандарины, скипидар, ребят, хлебать", False),
        ("Хуан и Хуэй застрахуйте небо, учебу и мебель", False),
    ],
)
def test_obscene_words_are_whole_words(shipped: TermsCheck, text: str, obscene: bool) -> None:
    notes = inspect(shipped, text)
    assert notes.obscene is obscene
    assert not notes.signs


ORDINARY = """活动将于3月31日结束 / 您的红包过期未领取 / 基金股票债券 / 请核对以下款项 / 请携带单据原件 / 由老师带领同学参观 / 附原单号以便查询
收到骚扰电话 / 历代考古发现 / 飞机延时起飞 / 款到发货 / 投资有风险 / 原定于今日赚取的积分 / 请扫描下方二维码关注我们 / 成人高考报名通知
フェラーリの新型車 / 毎月利用料のお知らせ / 社員全員に送付してください / 問題を放置できない / 今月収支報告 / エッチング加工 / ピエロのショー
会議を録画しました / それ以外の場合は次へ / レプリカサーバーの同期 / メモリースロットの交換 / 億円規模の投資 / お薬手帳 / 人気の動画が見放題
1일당 근무 시간 / 오피스텔 관리비 / 포커스 그룹 인터뷰 / 발기인 총회 / 대출 도서 반납 / 토토로 영화 상영 / 자위대 관련 뉴스 / 회의 일수 계산
원금이 보장되지 않습니다 / 환전 수수료 우대 / 슬롯이 비어 있습니다 / 카카오톡 채널 추가 / 성인 건강검진 안내 / 어린이 놀이터 점검""".replace(
    chr(10), " / "
).split(" / ")


@pytest.mark.parametrize("text", ORDINARY)
def test_no_strong_eastern_term_is_a_piece_of_ordinary_words(text: str) -> None:
    """Where no blank ends a word a term is found inside of longer ones."""
    files = shipped_knowledge().by_suffix(".terms")
    base = parse_terms([each for each in files if each[0].endswith(("zh.terms", "ja.terms", "ko.terms"))])
    assert base.terms
    wording = build_wording(text.casefold())
    assert [term.shown for term in base.terms if term.weight >= STRONG and term.expression in wording] == []
