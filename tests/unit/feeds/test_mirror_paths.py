"""A mirror writes below its directory, whatever paths a feed names."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tuf.api.metadata import TargetFile, Targets

from gatepost.feeds.mirroring import mirror
from gatepost.feeds.updating import UpdateError


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("path", ["../../away/x", "antivirus/../../../away/x", "a\r\nb/c", "ABSOLUTE/x"])
def test_a_path_that_leads_elsewhere(tmp_path: Path, path: str, outside: bool) -> None:
    away = tmp_path / "away"
    if outside:
        away.mkdir()
    path = path.replace("ABSOLUTE", str(away))
    offered = Targets(targets={path: TargetFile.from_data(path, b"data", ["sha256"])})
    update = SimpleNamespace(
        refresh=lambda _: offered, fetch_target=lambda *_: b"data", fetcher=SimpleNamespace(close=lambda: None)
    )
    with pytest.raises(UpdateError, match="no path"):
        mirror(update, "http://127.0.0.1", tmp_path / "copy")  # type: ignore[arg-type]
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
