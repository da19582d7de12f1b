"""Files of the program against the digests that the installer wrote."""

import base64
import hashlib
from pathlib import Path

from gatepost.master.installation import SHOWN, find_damage


def installed(place: Path, files: int) -> Path:
    package = place / "gatepost"
    package.mkdir()
    record = place / "gatepost-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    lines = ["gatepost-1.0.dist-info/RECORD,,", "../../bin/gatepost,sha256=x,1"]
    for number in range(files):
        path = package / f"m{number}.py"
        path.write_text(f"x = {number}\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        lines.append(f"gatepost/m{number}.py,sha256={digest},6")
    record.write_text("\n".join(lines) + "\n")
    return package


def test_whole_changed_and_missing(tmp_path: Path) -> None:
    package = installed(tmp_path, 3)
    assert find_damage(package) == ()
    (package / "m1.py").write_text("x = 9\n")
    (package / "m2.py").unlink()
    assert find_damage(package) == ("gatepost/m1.py", "gatepost/m2.py")


def test_only_the_first_are_named(tmp_path: Path) -> None:
    package = installed(tmp_path, SHOWN + 3)
    for path in package.iterdir():
        path.unlink()
    assert len(find_damage(package)) == SHOWN


def test_a_source_tree_has_nothing_to_compare_with() -> None:
    assert find_damage() == ()
