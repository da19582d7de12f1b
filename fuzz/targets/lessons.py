"""The classifier: whatever a message holds is scored within bounds and can be taught and forgotten; no lesson or model
file, whatever it holds, does more than be refused.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from gatepost.antispam.check import Notes
from gatepost.antispam.classifier.check import ClassifierCheck
from gatepost.antispam.classifier.learned import Learned, LearnedState, blank
from gatepost.antispam.classifier.lesson import LESSON_LIMIT, LessonError, pack_lesson, parse_lesson
from gatepost.antispam.classifier.model import ModelError, build_model, parse_model
from gatepost.antispam.classifier.scoring import LEARNED_HAM_LIMIT, LEARNED_SPAM_LIMIT
from gatepost.antispam.classifier.training import apply_state, apply_step, plan_step
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.learned_weights import HEADER_BITS, TEXT_BITS
from gatepost.model.spam import SpamOptions

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 6_000
WORDS: Final = (
    b"Subject: ",
    b"From: ",
    b"Received: by gw.example.org",
    b"[!! SPAM] ",
    b"\r\n\r\n",
    b"=?utf-8?q?",
    b"\x94",
)

_BASE: Final = parse_model(
    build_model(np.linspace(-1, 1, 1 << TEXT_BITS, dtype=np.float32), 1.0, 0.0, ("even",))
)  # fmt: skip
_LEARNED: Final = Learned(blank())
_LEARNED.state = LearnedState(100, 100)
_SQUARES: Final = np.zeros(1 << HEADER_BITS, np.float32)
_CHECK: Final = ClassifierCheck(_BASE, _LEARNED)
_OPTIONS: Final = SpamOptions(learn=True, hostname="gw.example.org")


def execute(data: bytes) -> None:
    """Take the input as a message, a lesson or a model."""
    if not data:
        return
    rest = data[1:]
    match data[0] % 3:
        case 0:
            _message(rest)
        case 1:
            _lesson(rest)
        case 2:
            try:
                parse_model(rest)
            except ModelError:
                return


def _message(content: bytes) -> None:
    notes = Notes()
    _CHECK.inspect(build_view(parse(content), _OPTIONS), notes)
    assert all(-LEARNED_HAM_LIMIT <= sign.weight <= LEARNED_SPAM_LIMIT for sign in notes.signs)
    assert len(notes.lesson) <= LESSON_LIMIT
    _lesson(notes.lesson)


def _lesson(raw: bytes) -> None:
    try:
        lesson = parse_lesson(raw)
    except LessonError:
        return
    again = parse_lesson(pack_lesson(lesson))
    assert np.array_equal(again.features.text, lesson.features.text)
    before = _LEARNED.state
    step = plan_step(lesson.features, True, _BASE, _LEARNED, _SQUARES, "", 1.0)
    for sign in (1, -1):
        apply_step(step, lesson.features, _LEARNED.gateway, _SQUARES, sign)
        _LEARNED.state = apply_state(step, _LEARNED.state, sign)
    assert _LEARNED.state.spam == before.spam
    assert float(np.abs(_LEARNED.gateway.text.take(lesson.features.text)).max(initial=0)) < 1


def seeds() -> Iterator[bytes]:
    """Give a message, a lesson and a model."""
    message = b"From: a@b.example\r\nSubject: [!! SPAM] win\r\n\r\nClick here to claim your prize of 1,000,000 now\r\n"
    notes = Notes()
    _CHECK.inspect(build_view(parse(message), _OPTIONS), notes)
    yield b"\0" + message
    yield b"\1" + notes.lesson
    yield b"\2" + build_model(np.zeros(1 << TEXT_BITS, np.float32), 1.0, 0.0, ())
