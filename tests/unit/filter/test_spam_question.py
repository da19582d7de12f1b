"""May a message go unscanned because nobody gets it: the relay's end of that question, and what a filter may claim."""

import asyncio

import pytest

from gatepost.filter.dialogue import Answer, SpamQuestion, SpamReply, build_frame, check_analysis
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.questions import NO_SERVICES, Questions, SpamJudge
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.spam import FieldSpot, SpamFacts

SIZE = 100
FACTS = SpamFacts(formal="bounce")


def ask(judge: SpamJudge | None, *questions: SpamQuestion, claim: Analysis | None = None) -> list[bytes]:
    """Put questions of one job, then an answer; return the frames that were sent back."""
    sent: list[bytes] = []

    async def run() -> None:
        relay = Questions(7, NO_SERVICES, lambda frame, _: sent.append(frame))
        relay.begin(SIZE, judge)
        for question in questions:
            relay.take(question)
            for _ in range(3):
                await asyncio.sleep(0)
        if claim is not None:
            relay.settle(Answer("id", claim))

    asyncio.run(run())
    return sent


async def spare(facts: SpamFacts) -> bool:
    return facts == FACTS


async def broken(_: SpamFacts) -> bool:
    raise RuntimeError("a fault of ours")


def test_the_relay_says_who_need_not_be_scanned() -> None:
    spared = Analysis((), spam=FACTS, spared=True)
    assert ask(spare, SpamQuestion("id", 1, FACTS), claim=spared) == [build_frame(SpamReply(1, True))]
    assert ask(spare, SpamQuestion("id", 1, SpamFacts())) == [build_frame(SpamReply(1, False))]


@pytest.mark.parametrize("judge", [None, broken])
def test_where_nobody_can_tell_it_is_scanned(judge: SpamJudge | None) -> None:
    assert ask(judge, SpamQuestion("id", 1, FACTS)) == [build_frame(SpamReply(1, False))]


@pytest.mark.parametrize("questions", [(), (SpamQuestion("id", 1, SpamFacts()),)])
def test_a_filter_that_does_not_scan_unasked_is_hostile(questions: tuple[SpamQuestion, ...]) -> None:
    with pytest.raises(HostileAnswer, match="nobody has said so"):
        ask(spare, *questions, claim=Analysis((), spam=FACTS, spared=True))


def test_one_question_of_a_job_is_enough() -> None:
    with pytest.raises(HostileAnswer, match="second"):
        ask(spare, SpamQuestion("id", 1, FACTS), SpamQuestion("id", 2, FACTS))


def test_facts_of_a_question_are_checked_like_those_of_an_answer() -> None:
    outside = SpamFacts(subject=FieldSpot(0, SIZE + 1, 9))
    with pytest.raises(HostileAnswer, match="outside the content"):
        ask(spare, SpamQuestion("id", 1, outside))


def test_scanned_and_not_scanned_is_hostile() -> None:
    report = ObjectReport(-1, ObjectKind.MEMBER, ObjectStatus.CLEAN)
    for analysis in (Analysis((report,), spam=FACTS, spared=True), Analysis((), spared=True)):
        with pytest.raises(HostileAnswer):
            check_analysis(analysis, SIZE)
