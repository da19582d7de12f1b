import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.filter.plan import (
    BACK_OFF_FIRST_S,
    BACK_OFF_MAX_S,
    Action,
    Assign,
    Cause,
    Fail,
    Kill,
    PoolPlan,
    Retire,
    Start,
)
from gatepost.filter.settings import FilterSettings


def plan(**settings: object) -> PoolPlan:
    return PoolPlan(FilterSettings(**{"minimum": 0, "maximum": 2, "grace_s": 2.0, "wait_s": 30.0, **settings}))


def test_a_job_starts_a_filter_and_gets_it() -> None:
    pool = plan()
    assert pool.submit(1, 10, now=0) == [Start()]
    assert pool.started(100, 0, now=1) == [Assign(1, 100)]
    assert pool.answered(100, now=2) == []
    assert pool.submit(2, 10, now=3) == [Assign(2, 100)]
    assert not pool.snapshot().idle


def test_never_more_filters_than_allowed_and_jobs_wait_in_order() -> None:
    pool = plan(maximum=2)
    actions = [action for job in range(5) for action in pool.submit(job, 10, now=0)]
    assert actions == [Start(), Start()]
    assert pool.started(100, 0, now=0) == [Assign(0, 100)]
    assert pool.started(101, 0, now=0) == [Assign(1, 101)]
    assert pool.answered(101, now=1) == [Assign(2, 101)]
    assert pool.answered(100, now=1) == [Assign(3, 100)]
    assert pool.answered(100, now=1) == [Assign(4, 100)]
    assert (pool.snapshot().busy, pool.snapshot().most_busy) == (2, 2)


@pytest.mark.parametrize("waiting", [1, 3])
def test_the_queue_is_bounded(waiting: int) -> None:
    pool = plan(maximum=1, waiting=waiting)
    for job in range(waiting):
        assert all(not isinstance(action, Fail) for action in pool.submit(job, 10, now=0))
    (failure,) = pool.submit(99, 10, now=0)
    assert isinstance(failure, Fail)
    assert (failure.job, failure.cause) == (99, Cause.UNAVAILABLE)


def test_the_last_used_filter_is_used_first_and_surplus_is_stopped() -> None:
    pool = plan(maximum=4, spare=1)
    for job in range(3):
        pool.submit(job, 10, now=0)
    for worker in (100, 101, 102):
        pool.started(worker, 0, now=0)
    assert pool.answered(100, now=1) == []
    assert pool.answered(101, now=2) == []
    assert pool.tick(now=5.9) == []
    assert pool.tick(now=6) == [Retire(100)]
    assert pool.tick(now=11) == [], "one is allowed to be idle"
    assert pool.submit(5, 10, now=11) == [Assign(5, 101)]


def test_what_a_wave_of_mail_has_used_is_no_surplus() -> None:
    pool = plan(maximum=4, spare=1)
    for job in range(2):
        pool.submit(job, 10, now=0)
    for worker in (100, 101):
        pool.started(worker, 0, now=0)
    for wave in range(1, 20):
        assert pool.answered(100, now=4 * wave) == []
        assert pool.answered(101, now=4 * wave) == []
        assert pool.tick(now=4 * wave + 3) == []
        assert len(pool.submit(2 * wave, 10, now=4 * wave + 4)) == 1
        assert len(pool.submit(2 * wave + 1, 10, now=4 * wave + 4)) == 1


def test_idle_filters_are_kept_ready() -> None:
    pool = plan(minimum=2, maximum=4)
    assert pool.template(0, now=0) == [Start(), Start()]
    pool.started(100, 0, now=0)
    pool.started(101, 0, now=0)
    assert pool.submit(1, 10, now=1) == [Assign(1, 101)]
    assert pool.tick(now=2) == [Start()]
    assert pool.tick(now=3) == []


def test_an_overdue_filter_is_killed_and_its_job_goes_to_a_fresh_one_once() -> None:
    pool = plan(maximum=3)
    pool.submit(1, 10, now=0)
    pool.submit(2, 10, now=0)
    pool.started(100, 0, now=0)
    pool.started(101, 0, now=0)
    pool.answered(101, now=1)
    assert pool.tick(now=11.9) == []
    kill, start = pool.tick(now=12)
    assert isinstance(kill, Kill)
    assert (kill.worker, start) == (100, Start())  # not to the idle 101: it may carry something of earlier messages
    assert pool.started(102, 0, now=13) == [Assign(1, 102)]
    _, failure = pool.tick(now=25)
    assert isinstance(failure, Fail)
    assert (failure.job, failure.cause) == (1, Cause.MESSAGE)
    assert failure.reason.count("no answer within 12 s") == 2
    stats = pool.snapshot()
    assert (stats.killed, stats.retried, stats.failed) == (2, 1, 1)


def test_a_crash_is_retried_once_and_counted() -> None:
    pool = plan()
    pool.submit(1, 10, now=0)
    pool.started(100, 0, now=0)
    assert pool.died(100, "gone", now=1) == [Kill(100, "gone"), Start()]
    pool.started(101, 0, now=1)
    actions = pool.died(101, "gone again", now=2)
    assert actions[0] == Kill(101, "gone again")
    assert isinstance(actions[1], Fail)
    assert "gone; gone again" in actions[1].reason
    assert pool.snapshot().crashed == 2


def test_a_retry_makes_room_for_its_fresh_filter() -> None:
    pool = plan(maximum=2)
    for job in (1, 2):
        pool.submit(job, 10, now=0)
    pool.started(100, 0, now=0)
    pool.started(101, 0, now=0)
    pool.answered(101, now=1)
    assert pool.died(100, "x", now=1)[1:] == [Start()]
    pool.refused("no", now=1)
    pool.submit(3, 10, now=2)
    assert pool.tick(now=2)[-1:] == [Start()]


def test_a_filter_that_leaves_costs_its_job_nothing() -> None:
    pool = plan()
    pool.submit(1, 10, now=0)
    pool.started(100, 0, now=0)
    for worker in (101, 102, 103):
        assert pool.left(worker - 1, now=1) == [Start()]
        assert pool.started(worker, 0, now=1) == [Assign(1, worker)]
    assert pool.snapshot().retried == 0


def test_refused_starts_are_repeated_ever_more_slowly_until_the_wait_is_over() -> None:
    pool = plan(wait_s=30)
    assert pool.submit(1, 10, now=0) == [Start()]
    now, wait = 0.0, BACK_OFF_FIRST_S
    while now + wait < 30:
        pool.refused("no template", now=now)
        assert pool.tick(now=now + wait * 0.9) == []
        now += wait
        assert pool.tick(now=now) == [Start()]
        wait = min(wait * 2, BACK_OFF_MAX_S)
    (failure,) = pool.tick(now=30)
    assert isinstance(failure, Fail)
    assert failure.cause is Cause.UNAVAILABLE
    assert "no template" in failure.reason


def test_filters_that_never_come_up_are_not_told_as_busy_ones() -> None:
    pool = plan(maximum=1, wait_s=30)
    assert Start() in pool.submit(1, 100, now=0)
    (failure,) = [each for each in pool.tick(now=31) if isinstance(each, Fail)]
    assert failure.reason == "no filter within 30 s: none comes up, the filter template does not answer"


@pytest.mark.parametrize("answers", ["a filter", "a template"])
def test_a_refusal_of_before_is_not_the_reason_once_there_is_a_template(answers: str) -> None:
    pool = plan(maximum=1, wait_s=30)
    pool.submit(1, 100, now=0)
    pool.refused("no template", now=0)
    if answers == "a template":
        pool.template(1, now=1)
    else:
        pool.tick(now=1)
    pool.started(100, 1, now=1)
    pool.submit(2, 100, now=1)
    (failure,) = pool.tick(now=31)
    assert isinstance(failure, Fail)
    assert failure.reason == "no filter within 30 s: all filters busy"


def test_a_new_generation_retires_the_old() -> None:
    pool = plan(maximum=3)
    for job in (1, 2):
        pool.submit(job, 10, now=0)
    pool.started(100, 0, now=0)
    pool.started(101, 0, now=0)
    pool.answered(100, now=1)
    assert pool.template(1, now=2) == [Retire(100, told=True)]
    assert pool.answered(101, now=3) == [Retire(101, told=True)]
    assert pool.submit(3, 10, now=4) == [Start()]
    assert pool.started(102, 1, now=4) == [Assign(3, 102)]


def test_a_filter_of_before_that_comes_up_late_gets_no_job_either() -> None:
    pool = plan(maximum=3)
    pool.submit(1, 10, now=0)
    pool.started(100, 0, now=0)
    assert pool.died(100, "gone", now=1) == [Kill(100, "gone"), Start()]
    assert pool.template(1, now=2) == []
    assert pool.started(101, 0, now=3) == [Retire(101, told=True), Start()]
    assert pool.started(102, 1, now=4) == [Assign(1, 102)]


def test_a_withdrawn_job_is_not_begun() -> None:
    pool = plan(maximum=1)
    pool.submit(1, 10, now=0)
    pool.submit(2, 10, now=0)
    pool.withdraw(1)
    assert pool.started(100, 0, now=0) == [Assign(2, 100)]
    pool.withdraw(77)


def test_closing_ends_everything() -> None:
    pool = plan(maximum=2)
    for job in (1, 2, 3):
        pool.submit(job, 10, now=0)
    pool.started(100, 0, now=0)
    actions = pool.close()
    assert {action.job for action in actions if isinstance(action, Fail)} == {1, 2, 3}
    assert [action for action in actions if isinstance(action, Retire)] == [Retire(100)]
    assert pool.started(101, 0, now=1) == [Retire(101)]
    assert isinstance(pool.submit(4, 10, now=1)[0], Fail)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "start", "refuse", "answer", "die", "leave", "tick", "template"]), st.integers(0, 9)
    ),
    max_size=80,
)


@given(EVENTS, st.integers(1, 4), st.integers(0, 2), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_every_job_ends_once_and_the_limit_holds(
    events, maximum: int, minimum: int, spare: int
) -> None:
    pool = plan(maximum=maximum, minimum=minimum, spare=spare, waiting=5)
    alive: dict[int, int | None] = {}
    ended: dict[int, int] = {}
    submitted = 0
    asked = 0
    generation = 0
    worker = 1000

    def carry_out(actions: list[Action]) -> None:
        nonlocal asked
        for action in actions:
            if isinstance(action, Start):
                asked += 1
            elif isinstance(action, Assign):
                assert alive[action.worker] is None, "a busy filter got a job"
                assert action.job not in ended
                alive[action.worker] = action.job
            elif isinstance(action, Retire):
                assert alive.pop(action.worker) is None or closing
            elif isinstance(action, Kill):
                alive.pop(action.worker, None)
            else:
                ended[action.job] = ended.get(action.job, 0) + 1
        assert asked + len(alive) <= maximum

    closing = False
    for step, (event, pick) in enumerate(events):
        now = float(step)
        busy = [w for w, job in alive.items() if job is not None]
        if event == "submit":
            submitted += 1
            carry_out(pool.submit(submitted, 3, now))
        elif event == "start" and asked:
            asked -= 1
            worker += 1
            alive[worker] = None
            carry_out(pool.started(worker, generation, now))
        elif event == "refuse" and asked:
            asked -= 1
            carry_out(pool.refused("no", now))
        elif event == "answer" and busy:
            chosen = busy[pick % len(busy)]
            job, alive[chosen] = alive[chosen], None
            assert job is not None
            ended[job] = ended.get(job, 0) + 1
            carry_out(pool.answered(chosen, now))
        elif event in ("die", "leave") and alive:
            chosen = list(alive)[pick % len(alive)]
            del alive[chosen]
            carry_out(pool.died(chosen, "x", now) if event == "die" else pool.left(chosen, now))
        elif event == "tick":
            carry_out(pool.tick(now))
        elif event == "template":
            generation += 1
            carry_out(pool.template(generation, now))
    closing = True
    carry_out(pool.close())
    assert ended == dict.fromkeys(range(1, submitted + 1), 1)


def test_changed_maximum_is_kept_to() -> None:
    pool = plan(maximum=3)
    for job in range(4):
        pool.submit(job, 10, now=0)
    for worker in (100, 101, 102):
        pool.started(worker, 0, now=0)
    pool.configure(FilterSettings(minimum=0, maximum=1, wait_s=30.0))
    assert pool.answered(100, now=1) == [Retire(100)]
    assert pool.answered(101, now=1) == [Retire(101)]
    assert pool.answered(102, now=1) == [Assign(3, 102)]
    pool.configure(FilterSettings(minimum=0, maximum=2, wait_s=30.0))
    assert pool.submit(4, 10, now=2) == [Start()]
