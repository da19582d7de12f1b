"""Control files: known names are wishes, deleted before they are carried out; all others are left alone."""

from pathlib import Path

from gatepost.master.control_files import WISHES, take_files


def test_known_files_are_taken_once_and_others_left(tmp_path: Path) -> None:
    for name in (".c_send_off", ".c_db_reload", ".c_unknown", "c_db_reload"):
        (tmp_path / name).touch()
    assert take_files(str(tmp_path)) == [".c_db_reload", ".c_send_off"]
    assert take_files(str(tmp_path)) == []
    assert {path.name for path in tmp_path.iterdir()} == {".c_unknown", "c_db_reload"}


def test_a_directory_of_such_a_name_and_a_missing_place_are_nothing(tmp_path: Path) -> None:
    (tmp_path / ".c_db_reload").mkdir()
    assert take_files(str(tmp_path)) == []
    assert take_files(str(tmp_path / "nowhere")) == []


def test_each_wish_is_a_call_with_what_it_needs() -> None:
    assert WISHES[".c_db_reload"].call == "reloadbases"
    assert WISHES[".c_recv_off"].arguments == {"module": "recv", "on": False}
    assert {request.call for request in WISHES.values()} == {"reloadbases", "stats", "switch"}
