"""Which stored message a command means: by item id, by the queue id that texts and the log name; where else it may be."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.storage.store_items import NOW, new

from gatepost.cli.store import pick
from gatepost.cli.store_apps import quarantine
from gatepost.cli.store_choice import Stores
from gatepost.config.default import build_default_config
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.storage.container import Event
from gatepost.storage.item import StoreKind
from gatepost.storage.query import ItemFilter
from gatepost.storage.release import begin_release, end_release
from gatepost.storage.store import New, Store, StoreError

QUARANTINE = (StoreKind.QUARANTINE,)
BACKUP = (StoreKind.BACKUP,)
ARCHIVES = (StoreKind.INCOMING, StoreKind.OUTGOING)


@pytest.fixture
def conf_file(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.toml"
    path.write_text(build_default_config(state_path=str(tmp_path)))
    return path


def stores(conf_file: Path, kinds: tuple[StoreKind, ...]) -> Stores:
    return Stores(kinds, conf_file, None)


def keep(conf_file: Path, name: str, *news: New) -> None:
    store = Store(str(conf_file.parent / name), create=True)
    assert store.put(news) == [None] * len(news)


def copy_of(original: New, number: int, group: str) -> New:
    """What was saved of the copy that became of a message for one of several groups."""
    source = original.item.source
    split = new(message=parse_queue_id(source), group=group, store=original.item.store)
    return New(msgspec.structs.replace(split.item, queue_id=format_queue_id(number)), split.content)


def test_a_queue_id_names_the_item_of_its_message(conf_file: Path) -> None:
    wanted, other = new(), new()
    # Strangers write subjects: one that names another message is not that message.
    liar = new(subject=f"see {wanted.item.queue_id}")
    keep(conf_file, "quarantine", wanted, other, liar)
    for text in (wanted.item.queue_id, wanted.item.queue_id.lower(), f" {wanted.item.id} "):
        assert stores(conf_file, QUARANTINE).find(text)[1] == wanted.item.id


def test_the_queue_id_of_a_copy_names_its_item_and_that_of_the_message_all_of_them(conf_file: Path) -> None:
    original = new()
    number = parse_queue_id(original.item.source)
    first, second = (copy_of(original, number + step, f"group{step}") for step in (1, 2))
    keep(conf_file, "quarantine", first, second)
    assert stores(conf_file, QUARANTINE).find(second.item.queue_id)[1] == second.item.id
    with pytest.raises(ValueError, match="2 stored messages, name one") as error:
        stores(conf_file, QUARANTINE).find(original.item.source)
    assert first.item.id in str(error.value)
    assert second.item.id in str(error.value)


def test_a_message_that_lies_elsewhere_is_pointed_at(conf_file: Path) -> None:
    wanted = new(store=StoreKind.BACKUP)
    keep(conf_file, "backup", wanted)
    keep(conf_file, "quarantine", new())
    for text in (wanted.item.queue_id, wanted.item.id):
        with pytest.raises(StoreError, match=f"try `gatepost backup show {text}`"):
            stores(conf_file, QUARANTINE).find(text)
    with pytest.raises(StoreError, match=r"no such message here$"):
        stores(conf_file, BACKUP).find(new().item.id)


def test_a_message_that_is_listed_and_whose_file_is_gone_says_what_takes_it_off(conf_file: Path) -> None:
    lost = new(store=StoreKind.BACKUP)
    keep(conf_file, "backup", lost, new(store=StoreKind.BACKUP))
    [file] = (conf_file.parent / "backup").rglob(f"{lost.item.id}*")
    file.unlink()
    for text in (lost.item.id, lost.item.queue_id):
        with pytest.raises(StoreError, match=rf"its file is gone: {file}; `gatepost backup reindex`"):
            stores(conf_file, BACKUP).find(text)
    assert Store(str(conf_file.parent / "backup")).reindex() == 1
    with pytest.raises(StoreError, match="no such message here"):
        stores(conf_file, BACKUP).find(lost.item.id)


def test_what_is_no_id_is_told_as_such(conf_file: Path) -> None:
    with pytest.raises(ValueError, match=r"looks like .* not 'nope'"):
        stores(conf_file, QUARANTINE).find("nope")


def test_an_empty_store_says_why(conf_file: Path) -> None:
    assert "path.incoming_archive_path" in stores(conf_file, ARCHIVES).explain_empty()
    assert stores(conf_file, QUARANTINE).explain_empty() == ""
    keep(conf_file, "backup", new(store=StoreKind.BACKUP))
    assert stores(conf_file, QUARANTINE).explain_empty() == "1 in `gatepost backup list`"


def test_a_filter_that_finds_nothing_here_names_the_store_where_it_does(
    conf_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(conf_file, "quarantine-as", *(new(store=StoreKind.SPAM_QUARANTINE, subject=f"order {n}") for n in range(2)))
    keep(conf_file, "backup", new(store=StoreKind.BACKUP, subject="another matter"))
    for command in ("release", "delete"):
        words = [command, "--subject", "order", "--conf-file", str(conf_file), "--yes"]
        assert quarantine(words, result_action="return_value") == 4
        assert capsys.readouterr().err == "no message matches: 2 in `gatepost quarantine list --spam`\n"
        assert quarantine([*words, "--dry-run"], result_action="return_value") == 4
        told = capsys.readouterr()
        assert (told.out, told.err) == (f"0 message(s) to {command}\n", "2 in `gatepost quarantine list --spam`\n")


def test_a_second_release_by_filter_says_that_all_went_out_before(
    conf_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = new()
    keep(conf_file, "quarantine", wanted)
    store = Store(str(conf_file.parent / "quarantine"))
    claim, _ = begin_release(store, wanted.item.id, Event("releasing", NOW, shard=0, who="me"))
    end_release(store, wanted.item.id, claim, "0AMGN58M00000", NOW)
    words = ["release", "--all", "--conf-file", str(conf_file), "--yes"]
    assert quarantine(words, result_action="return_value") == 4
    assert capsys.readouterr().err == "no message matches: 1 released before; --again releases once more\n"


def test_what_is_released_by_filter_is_what_was_not_before(conf_file: Path) -> None:
    first, second = new(sender="a@partner.example"), new(sender="b@partner.example")
    keep(conf_file, "quarantine", first, second)
    store = Store(str(conf_file.parent / "quarantine"))
    claim, _ = begin_release(store, first.item.id, Event("releasing", NOW, shard=0, who="me"))
    end_release(store, first.item.id, claim, "0AMGN58M00000", NOW)

    def chosen(unreleased: bool, *states: str) -> set[str]:
        wanted = ItemFilter(senders=("partner.example",), states=states)
        picked = pick(stores(conf_file, QUARANTINE), (), wanted, everything=False, unreleased=unreleased)
        return {item_id for _, item_id in picked}

    both = {first.item.id, second.item.id}
    assert chosen(True) == {second.item.id}
    assert chosen(False) == both
    assert chosen(True, "released") == {first.item.id}  # said so: told who was first
    named = pick(stores(conf_file, QUARANTINE), list(both), ItemFilter(), everything=False, unreleased=True)
    assert {item_id for _, item_id in named} == both
