"""The audit log: entries in a chain that shows every tampering, without secrets, over files that are never rewritten."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.config.withheld import without_secrets
from gatepost.control import audit
from gatepost.control.rights import Caller, Right

ADA = Caller("ada", frozenset({Right.NONE}), via="console", address="192.0.2.1")


def filled(directory: Path, count: int, **arguments: Any) -> audit.AuditLog:
    log = audit.AuditLog(directory)
    for number in range(count):
        log.write(ADA, "queue.release", {"id": number, **arguments}, "")
    return log


def lines(directory: Path) -> list[bytes]:
    return (directory / "audit-000001.jsonl").read_bytes().splitlines(keepends=True)


def rewrite(directory: Path, changed: list[bytes]) -> None:
    (directory / "audit-000001.jsonl").write_bytes(b"".join(changed))


def test_entries_say_who_what_from_where_and_what_came_of_it(tmp_path: Path) -> None:
    log = filled(tmp_path, 1)
    log.write(ADA, "accounts.remove", {"name": "eve"}, "she is the last administrator")
    log.close()
    newest, oldest = audit.read(tmp_path)
    assert (newest.number, newest.who, newest.via, newest.address) == (2, "ada", "console", "192.0.2.1")
    assert (newest.call, newest.arguments, newest.outcome) == (
        "accounts.remove",
        {"name": "eve"},
        "she is the last administrator",
    )
    assert oldest.outcome == ""
    assert (tmp_path / "audit-000001.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_whole_log_is_whole_also_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path, 5).close()
    log = filled(tmp_path, 5)
    assert audit.verify(tmp_path, log.head) == audit.Verified(10, 1, 10)
    log.close()


@pytest.mark.parametrize("place", [0, 2, 8])
def test_every_tampering_breaks_the_chain(tmp_path: Path, place: int) -> None:
    log = filled(tmp_path, 9)
    whole = lines(tmp_path)
    cases = {
        "changed": [*whole[:place], whole[place].replace(b"ada", b"eve"), *whole[place + 1 :]],
        "left out": [*whole[:place], *whole[place + 1 :]],
        "doubled": [*whole[: place + 1], *whole[place:]],
        "made unreadable": [*whole[:place], b"{}\n", *whole[place + 1 :]],
        "cut off": whole[:place],
        "begun anew": [
            msgspec.json.encode({**msgspec.json.decode(whole[place]), "number": 1, "former": "0" * 64}) + b"\n",
            *whole[place + 1 :],
        ],
    }
    if place < 8:
        cases["moved"] = [*whole[:place], whole[place + 1], whole[place], *whole[place + 2 :]]
    for name, changed in cases.items():
        if changed == whole:
            continue
        rewrite(tmp_path, changed)
        assert audit.verify(tmp_path, log.head).trouble, name
    rewrite(tmp_path, whole)
    assert not audit.verify(tmp_path, log.head).trouble
    log.close()


def test_a_torn_last_line_is_kept_and_vouched_for(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    whole = lines(tmp_path)
    rewrite(tmp_path, [*whole[:2], whole[2][:40]])
    log = filled(tmp_path, 2)
    assert audit.verify(tmp_path, log.head).trouble == ""
    assert [entry.number for entry in audit.read(tmp_path)] == [5, 4, 2, 1]
    torn = lines(tmp_path)
    rewrite(tmp_path, [*torn[:2], b"something else\n", *torn[3:]])
    assert audit.verify(tmp_path, log.head).trouble
    log.close()


def test_a_full_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FILE_LIMIT", 2000)
    monkeypatch.setattr(audit, "FILES_LIMIT", 3)
    log = filled(tmp_path, 60)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert files[0].name != "audit-000001.jsonl", "the oldest has gone"
    found = audit.verify(tmp_path, log.head)
    assert found.trouble == ""
    assert found.last == log.head[0]
    assert found.first > 1
    assert [entry.number for entry in audit.read(tmp_path, limit=3, before=50) if entry.call != audit.NEW_FILE][:2] == [
        49,
        48,
    ]
    log.close()
    again = filled(tmp_path, 1)
    assert audit.verify(tmp_path, again.head).last == found.last + 1
    again.close()
    first = files[0].read_bytes()
    files[0].write_bytes(first.partition(b"\n")[2])
    assert audit.verify(tmp_path).trouble, "the first entry of the oldest file"
    files[0].write_bytes(first)
    files[1].unlink()
    assert audit.verify(tmp_path).trouble


def test_entries_are_found_by_person_act_and_text(tmp_path: Path) -> None:
    log = filled(tmp_path, 2)
    log.write(Caller("eve", frozenset()), "queue.remove", {"id": "needle"}, "")
    log.write(ADA, "queued", {}, "")
    assert [entry.number for entry in audit.read(tmp_path, who="eve")] == [3]
    assert [entry.number for entry in audit.read(tmp_path, call="queue")] == [3, 2, 1]
    assert [entry.number for entry in audit.read(tmp_path, call="queue.remove")] == [3]
    assert [entry.number for entry in audit.read(tmp_path, text="needle")] == [3]
    log.close()


def test_secrets_are_not_written_and_the_rest_is_cut(tmp_path: Path) -> None:
    kept = audit.conceal(
        {
            "password": "hidden",
            "new_password": "hidden",
            "code": "hidden",
            "ticket": "hidden",
            "nested": {"client_secret": "hidden", "plain": "shown"},
            "rows": [{"Password": "hidden"}] * 30,
            "empty_secret": "",
        }
    )
    assert "hidden" not in str(kept)
    assert kept["nested"]["plain"] == "shown"
    assert kept["empty_secret"] == ""
    assert len(kept["rows"]) == audit.ITEMS_LIMIT + 1

    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    log = filled(
        tmp_path,
        1,
        text="x" * 100_000,
        many=list(range(100_000)),
        deep=deep,
        more={str(n): "y" * 300 for n in range(500)},
    )
    log.close()
    (raw,) = lines(tmp_path)
    assert len(raw) < audit.LINE_LIMIT
    assert audit.verify(tmp_path).trouble == ""


def test_hostile_text_stays_one_line(tmp_path: Path) -> None:
    log = filled(tmp_path, 1, text='a\nb","number":99}\r\u2028', broken="\ud800".encode("utf-8", "replace").decode())
    log.close()
    assert len(lines(tmp_path)) == 1
    assert audit.read(tmp_path)[0].number == 1


def test_secret_parameters_of_a_changed_configuration_are_not_written() -> None:
    secret = {"section": "ave", "name": "archive_passwords", "value": ["hidden"], "verb": "set"}
    assert "hidden" not in str(without_secrets(secret))
    assert without_secrets({**secret, "name": "ArchivePasswords"})["value"] != ["hidden"]
    plain = {"section": "limits", "name": "maximal_incoming_sessions", "value": 7}
    assert without_secrets(plain) == plain
