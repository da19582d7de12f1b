"""Real template, real filters, real misbehaviour. Nothing sleeps: every wait is on a future, a pipe or a pidfd."""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop
from tests.faults.support_template import Template, run

from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.filter.settings import INLINE_LIMIT, FilterSettings
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions

ROGUES = ("filter_rogues:Rogue",)
QUICK = ScanOptions(deadline_s=0.3)
"""A deadline that a misbehaving filter reaches soon."""
PATIENT = ScanOptions(deadline_s=30)


@pytest.fixture
def templates(tmp_path: Path) -> Iterator[Callable[[FilterSettings], Template]]:
    made: list[Template] = []

    def make(settings: FilterSettings) -> Template:
        made.append(Template(tmp_path / "filters", settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


def settings(**changes: object) -> FilterSettings:
    return FilterSettings(**{"maximum": 2, "minimum": 0, "grace_s": 0.3, "wait_s": 20.0, "engines": ROGUES, **changes})


def mail(text: str) -> bytes:
    return b"Subject: x\r\n\r\n" + text.encode() + b"\r\n"


async def scan(pool: FilterPool, text: str, options: ScanOptions = PATIENT) -> Analysis:
    content = mail(text)
    return await pool.inspect("lie", content, len(content), options)


async def is_clean(pool: FilterPool) -> bool:
    return {r.status for r in (await scan(pool, "harmless")).objects} == {ObjectStatus.CLEAN}


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ended(pid_or_fd: int, *, is_fd: bool = False) -> bool:
    """Wait, bounded, for a process to end."""
    try:
        fd = pid_or_fd if is_fd else os.pidfd_open(pid_or_fd)
    except ProcessLookupError:
        return True
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    result = bool(poller.poll(20_000))
    os.close(fd)
    return result


@pytest.mark.parametrize("word", ["DIE", "GARBAGE", "HUGE", "LIE", "OTHER", "TWICE", "PESTER", "STRANGER", "CLAIM"])
def test_a_filter_that_dies_or_speaks_nonsense_is_replaced_and_the_second_time_told(word: str, templates) -> None:
    chosen = settings()

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        before = pool.pids()
        with pytest.raises(FilterFailed, match="two filters were lost"):
            await scan(pool, word)
        stats = pool.stats()
        assert (stats.crashed, stats.retried, stats.failed) == (2, 1, 1)
        assert await is_clean(pool)
        assert not set(before) & set(pool.pids())

    run(templates(chosen), chosen, scenario)


def test_an_engine_out_of_memory_or_with_a_bug_makes_an_error_of_its_object(templates) -> None:
    chosen = settings()

    async def scenario(pool: FilterPool) -> None:
        for word in ("MEMORY", "RAISE"):
            analysis = await scan(pool, word)
            assert [r.status for r in analysis.objects] == [ObjectStatus.CLEAN, ObjectStatus.ERROR]
        assert await is_clean(pool)
        assert pool.stats().crashed == 0

    run(templates(chosen), chosen, scenario)


@pytest.mark.parametrize("nth", [1, 300])
def test_a_loop_ends_at_its_deadline_in_the_first_and_in_the_300th_mail(nth: int, templates) -> None:
    chosen = settings(quota=1000, maximum=1, grace_s=20.0)

    async def scenario(pool: FilterPool) -> None:
        for _ in range(nth - 1):
            assert await is_clean(pool)
        analysis = await scan(pool, "LOOP", QUICK)
        assert analysis.objects[-1].status is ObjectStatus.ERROR
        assert "did not end within 0.3 s" in analysis.objects[-1].evidence
        assert pool.stats().started == 1  # ended from inside: the same filter goes on
        assert await is_clean(pool)

    run(templates(chosen), chosen, scenario)


@pytest.mark.parametrize("nth", [1, 300])
def test_a_rule_that_loops_in_the_native_scanner_ends_at_its_deadline(nth: int, templates) -> None:
    chosen = settings(quota=1000, maximum=1, grace_s=5.0, engines=("filter_rogues:Looping",))

    async def scenario(pool: FilterPool) -> None:
        for _ in range(nth - 1):
            assert await is_clean(pool)
        analysis = await scan(pool, "LOOPRULE", ScanOptions(deadline_s=1.0))
        assert ObjectStatus.ERROR in {r.status for r in analysis.objects}
        assert pool.stats().started == 1
        assert await is_clean(pool)

    run(templates(chosen), chosen, scenario)


@pytest.mark.feature("F-AV-07")
def test_one_object_over_its_time_is_an_error_and_the_message_goes_on(templates) -> None:
    chosen = settings()
    parts = b"--b\r\n\r\nLOOP\r\n--b\r\n\r\nharmless\r\n--b--\r\n"
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts

    async def scenario(pool: FilterPool) -> None:
        analysis = await pool.inspect("m", content, len(content), ScanOptions(timeout_s=1.0, deadline_s=60))
        assert [r.status for r in analysis.objects] == [ObjectStatus.CLEAN, ObjectStatus.ERROR, ObjectStatus.CLEAN]

    run(templates(chosen), chosen, scenario)


@pytest.mark.parametrize("word", ["NATIVE", "SWALLOW"])
@pytest.mark.parametrize("nth", [1, 300])
def test_what_no_alarm_reaches_is_killed_from_outside(word: str, nth: int, templates) -> None:
    chosen = settings(quota=1000, maximum=1)

    async def scenario(pool: FilterPool) -> None:
        for _ in range(nth - 1):
            assert await is_clean(pool)
        with pytest.raises(FilterFailed, match="no answer within"):
            await scan(pool, word, QUICK)
        stats = pool.stats()
        assert (stats.killed, stats.retried, stats.failed) == (2, 1, 1)
        assert await is_clean(pool)

    run(templates(chosen), chosen, scenario)


def test_one_bad_message_harms_no_other(templates) -> None:
    chosen = settings(maximum=2)

    async def scenario(pool: FilterPool) -> None:
        bad = asyncio.ensure_future(scan(pool, "DIE"))
        assert all(await asyncio.gather(*(is_clean(pool) for _ in range(100))))
        with pytest.raises(FilterFailed):
            await bad

    run(templates(chosen), chosen, scenario)


def test_a_filter_killed_in_the_middle_of_a_scan_is_replaced_and_the_message_scanned(templates) -> None:
    """The first filter hangs in the scan and is killed by -9; the second one gets a deadline of its own."""
    chosen = settings(maximum=1)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGSTOP)  # it will not answer: the job is in its hands, and stays there
        job = asyncio.ensure_future(is_clean(pool))
        await asyncio.sleep(0)
        assert pool.stats().busy == 1
        os.kill(pid, signal.SIGKILL)
        assert await job
        stats = pool.stats()
        assert (stats.crashed, stats.retried, stats.failed) == (1, 1, 0)
        assert pool.pids() != [pid]

    run(templates(chosen), chosen, scenario)


@pytest.mark.feature("F-ASD-02")
def test_a_filter_ends_after_its_quota_and_no_message_notices(templates) -> None:
    chosen = settings(maximum=1, quota=300, quota_random=30)

    async def scenario(pool: FilterPool) -> None:
        lives: dict[int, int] = {}
        for _ in range(1000):
            assert await is_clean(pool)
            pids = pool.pids()
            if pids:  # the answer and the farewell come together: with the last message of a life it has gone
                lives[pids[0]] = lives.get(pids[0], 0) + 1
        assert 3 <= len(lives) <= 4
        for count in list(lives.values())[:-1]:
            assert 300 <= count + 1 < 330
        assert pool.stats().crashed == 0
        assert pool.stats().retried == 0

    run(templates(chosen), chosen, scenario)


@pytest.mark.feature("F-ASD-03")
def test_a_filter_ends_after_its_idle_time(templates) -> None:
    chosen = settings(idle_s=0.05)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        assert await asyncio.to_thread(ended, pid)
        assert await is_clean(pool)
        assert pool.stats().crashed == 0

    run(templates(chosen), chosen, scenario)


@pytest.mark.feature("F-ASD-01")
def test_filters_are_started_on_demand_up_to_the_maximum_and_kept_ready(templates) -> None:
    chosen = settings(minimum=1, maximum=3, spare=1, surplus_s=0.5)

    async def scenario(pool: FilterPool) -> None:
        async with asyncio.timeout(100):
            while pool.stats().idle != 1:  # noqa: ASYNC110 - ready before any mail has come
                await asyncio.sleep(0.02)
        await asyncio.gather(*(is_clean(pool) for _ in range(50)))
        stats = pool.stats()
        assert 1 <= stats.started <= 3, "none was ended between two mails"
        assert len(pool.pids()) <= 3
        assert pool.stats().busy == 0
        async with asyncio.timeout(100):
            while pool.stats().starting or pool.stats().idle != 1:  # noqa: ASYNC110 - the surplus ends by and by
                await asyncio.sleep(0.02)
        await asyncio.sleep(2 * chosen.surplus_s)
        assert pool.stats().idle == 1

    run(templates(chosen), chosen, scenario)


def test_two_pools_share_the_templates_maximum(templates) -> None:
    chosen = settings(maximum=1, wait_s=0.5)
    template = templates(chosen)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = (FilterPool(chosen, template.path, loop) for _ in range(2))
        first.start()
        second.start()
        assert await is_clean(first)
        with pytest.raises(FilterUnavailable, match="filters run already"):
            await scan(second, "x")
        await first.close()
        await second.close()

    uvloop.run(main())


def test_large_content_goes_by_descriptor_from_memory_and_from_a_file(templates, tmp_path: Path) -> None:
    chosen = settings()
    template = templates(chosen)

    async def scenario(pool: FilterPool) -> None:
        for size in (INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1, 5_000_000):
            content = mail("a" + " " * (size - len(mail("a"))))
            assert len(content) == size
            stored = tmp_path / "content"
            stored.write_bytes(content)
            for form in (content, stored):
                analysis = await pool.inspect("m", form, size, PATIENT)
                assert analysis.objects[-1].whole.end == size
            bad = content[:-10] + b"RAISE" + content[-5:]
            assert (await pool.inspect("m", bad, size, PATIENT)).objects[-1].status is ObjectStatus.ERROR

    run(template, chosen, scenario)


def test_a_large_message_that_kills_is_retried_with_its_content(templates) -> None:
    chosen = settings()
    content = mail("DIE " * 100_000)

    async def scenario(pool: FilterPool) -> None:
        with pytest.raises(FilterFailed):
            await pool.inspect("m", content, len(content), PATIENT)
        assert pool.stats().retried == 1
        before = count_descriptors()
        for _ in range(5):
            with pytest.raises(FilterFailed):
                await pool.inspect("m", content, len(content), PATIENT)
        assert count_descriptors() <= before

    run(templates(chosen), chosen, scenario)


def test_a_caller_that_gives_up_leaves_the_pool_sound(templates) -> None:
    chosen = settings(maximum=1)

    async def scenario(pool: FilterPool) -> None:
        for _ in range(3):
            job = asyncio.ensure_future(scan(pool, "x" * 100_000))
            waiting = asyncio.ensure_future(scan(pool, "y"))
            await asyncio.sleep(0)
            job.cancel()
            waiting.cancel()
            assert await is_clean(pool)
        assert pool.stats().crashed == 0

    run(templates(chosen), chosen, scenario)


def test_a_new_template_takes_over_while_the_old_one_drains(templates) -> None:
    chosen = settings(maximum=1)
    old = templates(chosen)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        new = await asyncio.to_thread(templates, msgspec.structs.replace(chosen, generation=1))
        assert new.ready
        old.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(ended, pid)  # the pool met the new template and retired the old idle filter
        assert await asyncio.to_thread(old.process.wait, 20) == 0
        assert await is_clean(pool)
        assert pool.pids() != [pid]
        assert pool.stats().crashed == 0

    run(old, chosen, scenario)


def test_no_job_goes_to_former_filters_once_the_new_template_is_met(templates) -> None:
    chosen = settings(maximum=1)
    old = templates(chosen)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        former = pool.pids()
        old.process.send_signal(signal.SIGSTOP)  # it tells nobody that it has been replaced
        try:
            await asyncio.to_thread(templates, msgspec.structs.replace(chosen, generation=1))
            await pool.meet(1)
            assert not set(pool.pids()) & set(former)
            await pool.meet(1)
            assert await is_clean(pool)
        finally:
            old.process.send_signal(signal.SIGCONT)
        assert pool.stats().crashed == 0

    run(old, chosen, scenario)


def test_filters_die_with_their_template_and_work_goes_on_with_the_next(templates) -> None:
    chosen = settings(maximum=2)
    first = templates(chosen)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        first.process.kill()
        assert await asyncio.to_thread(ended, pid)
        job = asyncio.ensure_future(is_clean(pool))
        await asyncio.to_thread(templates, chosen)
        assert await job

    run(first, chosen, scenario)


def test_without_a_template_the_caller_is_told_and_the_message_is_not_blamed(tmp_path: Path) -> None:
    chosen = settings(wait_s=0.3)

    async def main() -> None:
        pool = FilterPool(chosen, tmp_path / "nothing", asyncio.get_running_loop())
        pool.start()
        with pytest.raises(FilterUnavailable, match="no template"):
            await scan(pool, "x")
        await pool.close()
        with pytest.raises(FilterUnavailable, match="closed"):
            await scan(pool, "x")

    uvloop.run(main())


def test_the_template_ends_with_its_master_and_its_filters_with_it(templates) -> None:
    chosen = settings()
    template = templates(chosen)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        template.stdin.close()
        assert await asyncio.to_thread(template.process.wait, 20) == 0
        assert await asyncio.to_thread(ended, pid)

    run(template, chosen, scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_loses_no_message(number: signal.Signals, templates) -> None:
    chosen = settings(maximum=1)

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)
        (pid,) = pool.pids()
        os.kill(pid, number)
        assert await is_clean(pool)
        assert pool.pids() == [pid]

    run(templates(chosen), chosen, scenario)


def test_the_socket_is_for_its_owner_only(templates, tmp_path: Path) -> None:
    templates(settings())
    assert (tmp_path / "filters").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["filters"]


@pytest.mark.parametrize("engines", [("filter_rogues:Threaded",), ("no-such-engine",), ()])
def test_a_template_that_could_not_work_does_not_come_up(engines: tuple[str, ...], templates) -> None:
    template = templates(settings(engines=engines))
    assert not template.ready
    assert template.process.wait(120) != 0
    assert not template.path.exists()


def test_nonsense_from_a_relay_costs_it_its_connection_only(templates) -> None:
    chosen = settings()
    template = templates(chosen)
    for garbage in (b"\xff" * 100, b"\0\0\0\1\xc1"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(template.path))
            connection.recv(100)
            connection.sendall(garbage)
            assert connection.recv(100) == b""

    async def scenario(pool: FilterPool) -> None:
        assert await is_clean(pool)

    run(template, chosen, scenario)
