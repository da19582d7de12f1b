"""The classifier: what it sees of a message, how it scores, what one step of learning changes, and what it says."""

import math
import os

import numpy as np
import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.classifier.building import calibrate, held_out_scores, raw_score, train_base
from gatepost.antispam.classifier.check import ClassifierCheck, build_classifier, common_domain
from gatepost.antispam.classifier.features import (
    HEAD_LIMIT,
    TAIL_LIMIT,
    Features,
    distinct,
    extract,
    header_lines,
    reader_text,
    text_runs,
    text_units,
)
from gatepost.antispam.classifier.learned import (
    WEIGHT_LIMIT,
    Learned,
    LearnedState,
    blank,
    map_file,
)
from gatepost.antispam.classifier.lesson import Lesson, LessonError, digest_of, pack_lesson, parse_lesson
from gatepost.antispam.classifier.model import BaseModel, ModelError, build_model, parse_model
from gatepost.antispam.classifier.scoring import BASE_HAM_LIMIT, BASE_SPAM_LIMIT, LEARNED_HAM_LIMIT, judge
from gatepost.antispam.classifier.training import apply_state, apply_step, plan_step
from gatepost.antispam.rating import rate
from gatepost.antispam.view import MailView, build_view
from gatepost.mime.structure import parse
from gatepost.model.learned_weights import DOMAINS, FILE_SIZE, HEADER_BITS, MAGIC, TEXT_BITS
from gatepost.model.spam import Method, SpamOptions
from gatepost.storage.weights_file import Look, lay_blank, look_at

SPAM = "Congratulations, you have won a lottery prize of millions, send your bank details to claim the money now. "
HAM = "The minutes of the project meeting are attached, please tell me by Thursday whether I got anything wrong. "
MORE_HAM = (
    "I have corrected the second figure and asked Peter for the photographs of the bridge. The next meeting is on the ninth "
    "in the small room; the agenda will be as usual, and somebody ought to bring the old drawings from the archive."
)


def view(body: str, subject: str = "a subject", header: str = "", options: SpamOptions | None = None) -> MailView:
    text = f"{header}From: Ann <ann@example.org>\r\nSubject: {subject}\r\nMessage-ID: <1@example.org>\r\n\r\n{body}\r\n"
    return build_view(parse(text.encode()), options or SpamOptions())


def empty_base() -> BaseModel:
    return parse_model(build_model(np.zeros(1 << TEXT_BITS, np.float32), 1.0, 0.0, ("nothing",)))


def teach(learned: Learned, squares: np.ndarray, features: Features, spam: bool, base: BaseModel) -> None:
    step = plan_step(features, spam, base, learned, squares, "", 1.0)
    apply_step(step, features, learned.gateway, squares)
    learned.state = apply_state(step, learned.state)


def taught(count: int = 20) -> tuple[Learned, np.ndarray, BaseModel]:
    learned, squares, base = Learned(blank()), np.zeros(1 << HEADER_BITS, np.float32), empty_base()
    for number in range(count):
        teach(learned, squares, extract(view(f"{SPAM}{number}", f"prize {number}")), True, base)
        teach(learned, squares, extract(view(f"{HAM}{number}", f"minutes {number}")), False, base)
    return learned, squares, base


def test_case_and_digits_and_white_space_make_no_difference() -> None:
    one = text_runs(text_units(reader_text("Win 500 $", "Now\n\tor NEVER")))
    other = text_runs(text_units(reader_text("win 723 $", "now or never")))
    assert np.array_equal(one, other)


def test_slots_are_sorted_and_distinct_and_in_range() -> None:
    features = extract(view("abcde" * 300))
    for slots, bits in ((features.text, TEXT_BITS), (features.header, HEADER_BITS)):
        assert (np.diff(slots.astype(np.int64)) > 0).all()
        assert slots.max() < 1 << bits
    assert len(distinct(np.zeros(0, np.uint32))) == 0


def test_start_and_end_of_a_long_text_count() -> None:
    middle = "x" * (10 * HEAD_LIMIT)
    text = reader_text("s", f"{'a' * HEAD_LIMIT}{middle}{'z' * TAIL_LIMIT}")
    assert len(text) <= HEAD_LIMIT + TAIL_LIMIT + 3
    assert text.rstrip().endswith("z" * TAIL_LIMIT)


def test_a_million_characters_cost_no_more_than_the_limits() -> None:
    assert len(extract(view("ab cd" * 200_000)).text) <= HEAD_LIMIT + TAIL_LIMIT


def test_our_label_in_a_subject_is_not_read() -> None:
    assert reader_text("[!! SPAM] [?? Probable Spam] hello", "x") == reader_text("hello", "x")
    assert reader_text("[list] hello", "x") != reader_text("hello", "x")


def test_fields_above_our_own_received_field_are_not_read() -> None:
    inner = "Received: from a by b; x\r\nX-Mailer: m\r\n"
    outer = (
        "Delivered-To: me\r\nReceived: from gate by store; x\r\nReceived: from c by mx.example.net with ESMTP; x\r\n"
    )
    options = SpamOptions(hostname="mx.example.net")
    assert header_lines(view("b", header=outer + inner, options=options)) == header_lines(view("b", header=inner))


def test_foreign_verdicts_in_the_header_are_not_read() -> None:
    verdicts = "X-Spam-Status: No\r\nX-SpamTest-Rate: 1\r\nAuthentication-Results: x; dmarc=pass\r\n"
    assert header_lines(view("b", header=verdicts)) == header_lines(view("b"))


def test_the_shipped_model_tells_plain_cases_apart() -> None:
    (check,) = build_classifier(shipped_knowledge(), None)
    weights = []
    for text in (5 * SPAM, HAM + MORE_HAM):
        notes = Notes()
        check.inspect(view(text), notes)
        weights.append(notes.signs[0].weight)
    assert weights[0] > 1
    assert weights[1] < 0
    assert all(-BASE_HAM_LIMIT <= weight <= BASE_SPAM_LIMIT for weight in weights)


def test_a_short_text_is_never_called_wanted() -> None:
    """What little stands beside the picture of spam says nothing for it."""
    (check,) = build_classifier(shipped_knowledge(), None)
    notes = Notes()
    check.inspect(view(HAM), notes)
    assert notes.signs == []


def test_untrained_it_never_decides_alone() -> None:
    """With the prior its heaviest sign stays below Spam at the default level."""
    base = parse_model(build_model(np.ones(1 << TEXT_BITS, np.float32), 100.0, 0.0, ()))
    notes = Notes()
    ClassifierCheck(base).inspect(view(5 * SPAM), notes)
    assert notes.signs[0].weight > BASE_SPAM_LIMIT - 0.1
    assert rate(notes.signs) < 90


def test_a_text_of_a_few_words_says_nothing_untrained() -> None:
    notes = Notes()
    ClassifierCheck(empty_base()).inspect(view("ok"), notes)
    assert not notes.signs


@pytest.mark.parametrize("parts", [(HAM, SPAM), (SPAM, HAM)], ids=["in front", "behind"])
def test_honest_words_do_not_hide_spam_untrained(parts: tuple[str, str]) -> None:
    (check,) = build_classifier(shipped_knowledge(), None)
    weights = []
    for body in (SPAM * 6, "".join(part * 6 for part in parts)):
        notes = Notes()
        check.inspect(view(body), notes)
        weights.append(sum(sign.weight for sign in notes.signs))
    assert weights[0] > 2.0
    assert weights[1] > 0.7 * weights[0]


def test_the_sign_names_the_words_that_weighed() -> None:
    learned, _, base = taught()
    notes = Notes()
    ClassifierCheck(base, learned).inspect(view(SPAM, "prize"), notes)
    (sign,) = notes.signs
    assert sign.method is Method.LEARNED
    assert sign.weight > 3
    assert any(word in sign.evidence for word in ("lottery", "prize", "claim", "money", "millions", "congratulations"))
    assert not any(word in sign.evidence for word in ("minutes", "meeting"))


def test_learning_generalises_to_a_changed_message() -> None:
    learned, _, base = taught()
    spam = judge(extract(view(SPAM.replace("lottery", "sweepstake").upper(), "PRIZE!")), base, learned)
    ham = judge(extract(view(HAM.replace("Thursday", "Monday"), "minutes again")), base, learned)
    assert spam.weight > 3
    assert ham.weight < -1


def test_only_one_kind_taught_counts_for_nothing() -> None:
    learned, squares, base = Learned(blank()), np.zeros(1 << HEADER_BITS, np.float32), empty_base()
    for number in range(50):
        teach(learned, squares, extract(view(f"{SPAM}{number}")), True, base)
    assert learned.state.trust == 0
    assert judge(extract(view(HAM)), base, learned).weight == pytest.approx(0)


def test_a_step_can_be_taken_back() -> None:
    learned, squares, base = taught(5)
    text, header, state = learned.gateway.text.copy(), learned.gateway.header.copy(), learned.state
    features = extract(view("something else entirely, a third text", "third"))
    step = plan_step(features, True, base, learned, squares, "", 1.0)
    apply_step(step, features, learned.gateway, squares)
    learned.state = apply_state(step, state)
    assert not np.array_equal(text, learned.gateway.text)
    apply_step(step, features, learned.gateway, squares, -1)
    learned.state = apply_state(step, learned.state, -1)
    np.testing.assert_allclose(learned.gateway.text, text, atol=1e-5)
    np.testing.assert_allclose(learned.gateway.header, header, atol=1e-5)
    assert learned.state.spam == state.spam
    assert learned.state.bias == pytest.approx(state.bias)


def test_no_weight_counts_beyond_its_bound() -> None:
    learned, base = Learned(blank()), empty_base()
    learned.state = LearnedState(1000, 1000)
    learned.gateway.text[:] = -1e6
    features = extract(view(SPAM))
    opinion = judge(features, base, learned)
    assert opinion.text == pytest.approx(-WEIGHT_LIMIT * len(features.text) ** 0.5)
    assert opinion.weight >= -LEARNED_HAM_LIMIT


def test_two_hundred_poisoned_lessons_do_bounded_damage() -> None:
    """One source teaches spam as wanted mail: signs of others still win, and other spam is still recognised."""
    learned, squares, base = taught(100)
    other = extract(view("Cheap pills without prescription, order viagra online today with discreet shipping", "pills"))
    for number in range(100):
        teach(
            learned, squares, extract(view(f"cheap pills viagra order online discreet {number}", "pills")), True, base
        )
    before = judge(other, base, learned).weight
    for number in range(200):
        features = extract(view(f"{SPAM}{number}", f"poison {number}"))
        step = plan_step(features, False, base, learned, squares, "", min(1.0, 50 / (number + 1)))
        apply_step(step, features, learned.gateway, squares)
        learned.state = apply_state(step, learned.state)
    assert before > 3
    assert judge(other, base, learned).weight > before / 3  # though it has the same header as the poison
    poisoned = judge(extract(view(SPAM, "prize")), base, learned)
    assert poisoned.weight >= -LEARNED_HAM_LIMIT  # a decisive sign (+6) and one clear one still make it Probable Spam
    for number in range(10):
        teach(learned, squares, extract(view(f"{SPAM}{number}", f"prize {number}")), True, base)
    assert judge(extract(view(SPAM, "prize")), base, learned).weight > 1


def test_domains_have_weights_of_their_own() -> None:
    learned, squares, base = Learned(blank()), np.zeros(1 << HEADER_BITS - 2, np.float32), empty_base()
    number = learned.add_domain("one.example")
    assert number == learned.add_domain("one.example") == 0
    for count in range(30):
        for text, spam in ((SPAM, True), (HAM, False)):
            features = extract(view(f"{text}{count}"))
            step = plan_step(features, spam, base, learned, squares, "one.example", 1.0)
            apply_step(step, features, learned.domain(0), squares)
            learned.state = apply_state(step, learned.state)
    features = extract(view(SPAM))
    assert judge(features, base, learned, "one.example").weight > 2
    assert abs(judge(features, base, learned, "two.example").weight) < 0.5


def test_there_are_tables_for_so_many_domains() -> None:
    learned = Learned(blank())
    assert all(learned.add_domain(f"d{number}.example") == number for number in range(DOMAINS))
    assert learned.add_domain("late.example") is None
    assert learned.add_domain("d3.example") == 3


def test_what_the_learner_writes_is_seen_at_once(tmp_path) -> None:
    path = tmp_path / "weights.bin"
    lay_blank(path)
    reader = map_file(path)
    writer = map_file(path, writable=True)
    writer.gateway.text[17] = 2.5
    writer.state = LearnedState(3, 4)
    assert reader.gateway.text[17] == 2.5
    assert reader.state == LearnedState(3, 4)
    with pytest.raises((ValueError, RuntimeError)):
        reader.gateway.text[17] = 0


def test_reading_a_broken_file_leaves_it_as_it_is(tmp_path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="version"):
        map_file(path)
    assert path.read_bytes() == b"something else"


def test_a_look_at_the_file_says_what_is_wrong_with_it(tmp_path) -> None:
    path = tmp_path / "weights.bin"
    assert look_at(path) == Look(trouble="there is none")
    lay_blank(path)
    assert look_at(path) == Look(path.stat().st_ino)
    with path.open("r+b") as stream:
        stream.write(MAGIC[:-1] + b"0")
    assert "another version" in look_at(path).trouble
    lay_blank(path)
    for size in (0, FILE_SIZE - 1, FILE_SIZE + 1):
        os.truncate(path, size)
        assert look_at(path) == Look(trouble=f"it has {size} bytes, not {FILE_SIZE}")
    path.unlink()
    os.mkfifo(path)
    assert "not a file" in look_at(path).trouble
    path.unlink()
    path.mkdir()
    assert "not a file" in look_at(path).trouble


def test_weights_that_are_no_numbers_leave_the_base_model_alone() -> None:
    learned, base = Learned(blank()), empty_base()
    features = extract(view("words of no weight at all"))
    learned.state = LearnedState(50, 50)
    untouched = judge(features, base, None)
    learned.gateway.text[:] = np.nan
    assert judge(features, base, learned) == untouched
    learned.gateway.text[:] = 0
    learned.state = LearnedState(50, 50, bias=math.inf)
    assert judge(features, base, learned) == untouched


def test_tables_that_belong_to_no_domain_are_empty_in_an_orderly_file() -> None:
    learned = Learned(blank())
    assert learned.orderly
    number = learned.add_domain("one.example")
    assert number == 0
    learned.domain(0).text[3] = 1
    assert learned.orderly
    learned.domain(7).header[3] = 1
    assert not learned.orderly


@pytest.mark.parametrize("data", [b"", b"\x80", b"nonsense" * 30, build_model(np.ones(10, np.float32), 1, 0, ())])
def test_a_damaged_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        parse_model(data)


def test_a_lesson_goes_through_its_bytes() -> None:
    seen = view(SPAM)
    lesson = Lesson(digest_of(seen), extract(seen))
    read = parse_lesson(pack_lesson(lesson))
    assert read.digest == lesson.digest
    assert np.array_equal(read.features.text, lesson.features.text)
    assert np.array_equal(read.features.header, lesson.features.header)


def test_the_digest_stays_when_fields_and_labels_are_added() -> None:
    assert digest_of(view(SPAM)) == digest_of(view(SPAM, "[!! SPAM] a subject", "X-Added: 1\r\n"))
    assert digest_of(view(SPAM)) != digest_of(view(HAM))


def test_hostile_lessons_are_refused() -> None:
    good = Lesson(b"0" * 16, extract(view(SPAM)))
    far = Features(np.array([5, 1 << TEXT_BITS], np.uint32), good.features.header)
    twice = Features(np.array([5, 5], np.uint32), good.features.header)
    many = Features(np.arange(20_000, dtype=np.uint32), good.features.header)
    for lesson in (Lesson(b"short", good.features), *(Lesson(b"0" * 16, each) for each in (far, twice, many))):
        with pytest.raises(LessonError):
            parse_lesson(pack_lesson(lesson))
    for raw in (b"", b"x" * 100, pack_lesson(good)[:-9], b"x" * 100_000):
        with pytest.raises(LessonError):
            parse_lesson(raw)


def test_a_lesson_is_made_only_when_asked_for() -> None:
    check = ClassifierCheck(empty_base())
    for learn in (False, True):
        notes = Notes()
        check.inspect(view(SPAM, options=SpamOptions(learn=learn)), notes)
        assert bool(notes.lesson) is learn


def test_common_domain() -> None:
    assert common_domain(("a@One.example", "b@one.example")) == "one.example"
    assert common_domain(("a@one.example", "b@two.example")) == ""
    assert common_domain(()) == ""


def test_training_a_base_is_reproducible_and_calibrated() -> None:
    chance = np.random.default_rng(5)
    texts, spam = [], []
    for number in range(200):
        words = chance.choice(np.arange(1000) + (400 if number % 2 else 0), 60, replace=False)
        texts.append(np.sort(words).astype(np.uint32))
        spam.append(bool(number % 2))
    weights = [1.0] * len(texts)
    table = train_base(texts, spam, weights)
    assert np.array_equal(table, train_base(texts, spam, weights))
    held_out = held_out_scores(texts, spam, weights, ["a" if number < 100 else "b" for number in range(200)])
    slope, intercept = calibrate(held_out, spam, weights)
    odds = slope * held_out + intercept
    likely = odds > 1
    assert np.mean(np.array(spam)[likely]) > 0.7
    assert raw_score(table, texts[1]) > raw_score(table, texts[0])
