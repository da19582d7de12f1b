"""The learner's memory: what it keeps, takes back, makes anew, folds, exports and mixes."""

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gatepost.master.learning_memory as memory_module
from gatepost.antispam.classifier.features import Features, extract
from gatepost.antispam.classifier.learned import map_file
from gatepost.antispam.classifier.lesson import Lesson, LessonError, digest_of, pack_lesson
from gatepost.antispam.classifier.model import BaseModel, build_model, parse_model
from gatepost.antispam.classifier.scoring import judge
from gatepost.antispam.view import MailView, build_view
from gatepost.filter.settings import NOBODY
from gatepost.master.learning import AUTO, WEIGHTS_FILE
from gatepost.master.learning_journal import Journal, JournalError
from gatepost.master.learning_memory import OPERATOR, Memory
from gatepost.mime.structure import parse
from gatepost.model.learned_weights import FILE_SIZE, TEXT_BITS
from gatepost.model.spam import SpamOptions
from gatepost.storage.weights_file import lay_blank, look_at

SPAM = "You have won a lottery prize, send bank details to claim the money now"
HAM = "The minutes of the meeting are attached, tell me by Thursday"


def view(body: str, number: int) -> MailView:
    text = f"From: a{number}@example.org\r\nMessage-ID: <{number}@example.org>\r\n\r\n{body} {chr(97 + number % 26) * 9}\r\n"
    return build_view(parse(text.encode()), SpamOptions())


def lesson(body: str, number: int) -> bytes:
    seen = view(body, number)
    return pack_lesson(Lesson(digest_of(seen), extract(seen)))


def base() -> BaseModel:
    return parse_model(build_model(np.zeros(1 << TEXT_BITS, np.float32), 1.0, 0.0, ()))


def teach(memory: Memory, body: str, number: int, spam: bool, **more: str) -> str:
    given = {"who": "admin", "source": OPERATOR, "domain": ""} | more
    return memory.learn(lesson(body, number), spam=spam, now=1000.0 + number, **given)


def weight(memory: Memory, body: str = SPAM, domain: str = "") -> float:
    features: Features = extract(view(body, 999))
    return judge(features, base(), memory.learned, domain).weight


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    made = Memory(tmp_path, base())
    for number in range(15):
        assert teach(made, SPAM, number, True) == "learned"
        assert teach(made, HAM, 100 + number, False) == "learned"
    return made


def test_it_learns(memory: Memory) -> None:
    assert weight(memory) > 2
    assert weight(memory, HAM) < -1
    assert memory.learned.state.spam == memory.learned.state.ham == 15


def test_the_same_message_counts_once(memory: Memory) -> None:
    before = memory.learned.gateway.text.copy()
    assert teach(memory, SPAM, 3, True) == "known"
    assert np.array_equal(before, memory.learned.gateway.text)
    assert memory.status()["spam"] == 15


def test_another_label_moves_it(memory: Memory) -> None:
    before = weight(memory)
    assert teach(memory, SPAM, 3, False) == "moved"
    assert (memory.learned.state.spam, memory.learned.state.ham) == (14, 16)
    assert weight(memory) < before


def test_forgetting_takes_all_of_it_back(tmp_path: Path) -> None:
    memory = Memory(tmp_path, base())
    assert teach(memory, SPAM, 1, True) == "learned"
    assert memory.forget(lesson(SPAM, 1), "") == "forgotten"
    assert memory.forget(lesson(SPAM, 1), "") == "unknown"
    np.testing.assert_allclose(memory.learned.gateway.text, 0, atol=1e-5)
    np.testing.assert_allclose(memory.learned.gateway.header, 0, atol=1e-5)
    assert memory.learned.state.spam == 0


def test_what_somebody_taught_is_taken_back(memory: Memory) -> None:
    before = weight(memory)
    for number in range(200, 220):
        teach(memory, SPAM, number, False, who="mallory", source="folder")
    assert weight(memory) < before
    assert memory.undo("mallory", 0) == 20
    assert weight(memory) == pytest.approx(before, abs=1e-3)
    assert memory.undo("mallory", 0) == 0


def test_a_source_that_teaches_much_counts_less_and_less(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "FULL_FORCE", 5)
    for number in range(300, 330):
        teach(memory, "an entirely different text about nothing", number, True, who="u", source="folder")
    sizes = [abs(entry.step.slopes[2]) + entry.step.squared for entry in memory._journal.of("u", 0)]
    assert memory._force("u", "folder", 1330.0) == pytest.approx(5 / 31)
    assert memory._force("u", OPERATOR, 1330.0) == 1
    assert sizes[0] < sizes[-1]


def test_weights_are_made_anew_at_the_start(memory: Memory, tmp_path: Path) -> None:
    """A learner killed within a step, or a fall of power: the file may hold anything."""
    text, state, before = memory.learned.gateway.text.copy(), memory.learned.state, weight(memory)
    memory.learned.gateway.text[:] = 7
    memory.close()
    again = Memory(tmp_path, base())
    np.testing.assert_allclose(again.learned.gateway.text, text, atol=1e-5)
    assert again.learned.state.spam == state.spam
    assert weight(again) == pytest.approx(before, abs=1e-3)


def test_old_entries_are_folded_into_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "ENTRIES_LIMIT", 20)
    monkeypatch.setattr(memory_module, "FOLDED", 10)
    memory = Memory(tmp_path, base())
    for number in range(21):
        teach(memory, SPAM if number % 2 else HAM, number, bool(number % 2))
    assert memory.status()["journal"] == 11
    before = weight(memory)
    memory.close()
    again = Memory(tmp_path, base())
    assert weight(again) == pytest.approx(before, abs=1e-3)
    assert again.learned.state.spam == 10
    assert again.forget(lesson(HAM, 0), "") == "unknown"


def test_a_stop_between_snapshot_and_journal_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(tmp_path, base())
    for number in range(10):
        teach(memory, SPAM if number % 2 else HAM, number, bool(number % 2))
    before = weight(memory)
    monkeypatch.setattr(Journal, "drop_until", lambda *_: None)
    memory._fold()
    memory.close()
    again = Memory(tmp_path, base())
    assert again.learned.state.spam == 5
    assert weight(again) == pytest.approx(before, abs=1e-3)


def test_export_and_import(memory: Memory, tmp_path: Path) -> None:
    memory.export(tmp_path / "out.weights")
    other = Memory(_folder(tmp_path, "other"), base())
    other.take(tmp_path / "out.weights", merge=False)
    assert weight(other) == pytest.approx(weight(memory), abs=1e-3)
    assert other.learned.state.spam == 15
    teach(other, SPAM, 500, True)
    other.close()
    assert Memory(tmp_path / "other", base()).learned.state.spam == 16


def test_merging_mixes_by_numbers_of_messages(memory: Memory, tmp_path: Path) -> None:
    other = Memory(_folder(tmp_path, "other"), base())
    teach(other, "pills pills pills without any prescription", 700, True)
    teach(other, "dinner at eight on saturday with everybody", 701, False)
    other.export(tmp_path / "other.weights")
    memory.take(tmp_path / "other.weights", merge=True)
    assert (memory.learned.state.spam, memory.learned.state.ham) == (16, 16)
    assert weight(memory) > 2


def test_foreign_files_are_refused(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="not a file of `gatepost spam model export`"):
        memory.take(tmp_path / "bad", merge=False)
    with pytest.raises(OSError, match="No such file"):
        memory.take(tmp_path / "none", merge=True)
    assert memory.learned.state.spam == 15
    with pytest.raises(LessonError):
        memory.learn(b"junk", spam=True, who="", source=OPERATOR, domain="", now=0.0)


def test_domains_learn_apart(tmp_path: Path) -> None:
    memory = Memory(tmp_path, base())
    for number in range(15):
        teach(memory, SPAM, number, True, domain="one.example")
        teach(memory, HAM, 100 + number, False, domain="one.example")
    memory.close()
    again = Memory(tmp_path, base())
    assert weight(again, domain="one.example") > 1
    assert abs(weight(again, domain="two.example")) < 0.3
    assert again.status()["domains"] == ["one.example"]
    again.undo("admin", 0.0)
    assert again.status()["domains"] == [], "nothing of it is left"


def test_status_and_recent_tell_of_disagreement(memory: Memory) -> None:
    teach(memory, SPAM, 800, False, who="eve", source="quarantine")
    status = memory.status()
    assert status["recent_disagreed_ham"] >= 1
    assert status["teachers"]["operator: admin"] == 30
    latest = memory.recent(1)[0]
    assert (latest["who"], latest["spam"]) == ("eve", False)
    assert latest["opinion"] > 1


def test_reset_forgets_everything(memory: Memory) -> None:
    memory.reset()
    assert memory.learned.state.spam == 0
    assert not memory.learned.gateway.text.any()
    assert memory.recent(5) == []


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(JournalError):
        Memory(tmp_path, base())


def _folder(place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    return folder


def test_what_is_learned_by_itself_is_bounded_and_taken_back_as_one(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "AUTO_A_DAY", 3)
    monkeypatch.setattr(memory_module, "AUTO_OF_ONE", 2)
    before = memory.status()

    def auto(number: int, who: str, *, spam: bool = True) -> str:
        return teach(memory, SPAM if spam else HAM, number, spam, who=who, source=AUTO)

    assert auto(3, "192.0.2.1") == "known"
    assert teach(memory, HAM, 101, True, who="192.0.2.1", source=AUTO) == "known", "what people taught stays"
    assert [auto(number, "192.0.2.1") for number in (200, 201, 202)] == ["learned", "learned", "enough"]
    assert [auto(number, f"192.0.2.{number}") for number in (3, 203, 204)] == ["known", "learned", "enough"]
    assert auto(300, "one.example", spam=False) == "learned", "each kind by itself"
    day_later = 1000.0 + 86_400 + 400
    assert memory.learn(lesson(SPAM, 205), spam=True, who="x", source=AUTO, domain="", now=day_later) == "learned"
    assert memory.status()["teachers"]["auto: 192.0.2.1"] == 2
    assert memory.undo("auto", 0.0) == 5
    assert [memory.status()[key] for key in ("spam", "ham")] == [before["spam"], before["ham"]]


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    os.truncate(path, FILE_SIZE - 4096)


def overwritten(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(FILE_SIZE))


def of_another_version(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"GPLEARN0")


def replaced(path: Path) -> None:
    other = path.with_name("other")
    lay_blank(other)
    other.rename(path)


def linked_away(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


BREAKS = (removed, emptied, cut_off, overwritten, of_another_version, replaced, linked_away)


@pytest.mark.parametrize("destroy", BREAKS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_weights_that_break_are_made_anew_of_what_was_taught(
    tmp_path: Path, memory: Memory, running: bool, destroy: Callable[[Path], None]
) -> None:
    path = tmp_path / WEIGHTS_FILE
    assert teach(memory, SPAM, 50, True, domain="one.example") == "learned"
    before = (memory.learned.gateway.text.copy(), memory.learned.state, weight(memory, domain="one.example"))
    assert memory.mend() == ""
    with path.open("rb"):  # as a filter maps it: its inode is not used again
        if not running:
            memory.close()
        destroy(path)
        if running:
            assert memory.mend()
        else:
            memory = Memory(tmp_path, base())
            assert bool(memory.mended) == (destroy is not replaced), "a sound file is written in place"
    assert memory.mend() == ""
    assert not path.is_symlink()
    seen = map_file(path)
    np.testing.assert_allclose(seen.gateway.text, before[0], atol=1e-5)
    assert seen.state.spam == before[1].spam
    assert judge(extract(view(SPAM, 999)), base(), seen, "one.example").weight == pytest.approx(before[2], abs=1e-3)
    assert teach(memory, HAM, 300, False) == "learned"
    assert seen.state.ham == before[1].ham + 1, "what is taught afterwards is seen, too"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_tables_in_disorder_are_made_anew(tmp_path: Path, memory: Memory) -> None:
    spam = memory.learned.state.spam
    memory.learned.domain(5).text[9] = 1
    memory.close()
    again = Memory(tmp_path, base())
    assert "disorder" in again.mended
    assert not again.learned.domain(5).text.any()
    assert again.learned.state.spam == spam


def test_weights_that_cannot_be_replaced_stay_and_are_replaced_later(tmp_path: Path, memory: Memory) -> None:
    path, spam = tmp_path / WEIGHTS_FILE, memory.learned.state.spam
    path.unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(OSError, match=WEIGHTS_FILE):
            memory.mend()
    path.rmdir()
    assert "there is none" in memory.mend()
    assert map_file(path).state.spam == spam


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_weights_of_somebody_else_are_replaced_by_the_gateways_user() -> None:
    with tempfile.TemporaryDirectory(prefix="gatepost-test-") as name:
        folder = Path(name)
        Memory(folder, base()).close()
        (folder / WEIGHTS_FILE).chmod(0)
        for path in (folder, folder / "journal.db"):
            os.chown(path, NOBODY, NOBODY)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                assert "Permission denied" in look_at(folder / WEIGHTS_FILE).trouble
                memory = Memory(folder, base())
                assert "Permission denied" in memory.mended
                assert look_at(folder / WEIGHTS_FILE).inode
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
