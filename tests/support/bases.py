"""The compiled form of the shipped databases, kept between gateways of the tests: compiling is 0.2 s of CPU for each."""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

_SHARED = Path(__file__).resolve().parents[2] / "build" / "test-bases-cache"
_NAME = "bases-cache"
"""Of the cache in a state directory."""


@functools.cache
def _shared(antispam: bool) -> Path:
    """Return the place for the databases as they are shipped now, of gateways with anti-spam or without."""
    digest = hashlib.sha256()
    for package in ("antivirus", "antispam"):
        manifest = files(f"gatepost.{package}") / "rules" / "manifest.json"
        digest.update(manifest.read_bytes() if manifest.is_file() else b"")
    return _SHARED / f"{digest.hexdigest()[:16]}{'-antispam' if antispam else ''}"


def bring_compiled(state: Path, *, antispam: bool) -> None:
    """Give a new gateway what an earlier one has compiled. It trusts it no more than what it finds anywhere else."""
    if not (state / _NAME).exists() and _shared(antispam).exists():
        shutil.copytree(_shared(antispam), state / _NAME)
        (state / _NAME).chmod(0o700)


def keep_compiled(state: Path, *, antispam: bool) -> None:
    """Keep what the first gateway has compiled, unless somebody was faster."""
    if _shared(antispam).exists() or not (state / _NAME / "index.json").exists():
        return
    _SHARED.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=_SHARED, prefix=".new"))
    with contextlib.suppress(OSError):  # another worker's rename was first, or the gateway's files are going
        shutil.copytree(state / _NAME, temporary / "cache")
        os.rename(temporary / "cache", _shared(antispam))  # noqa: PTH104 - fails when the target is there and not empty
    shutil.rmtree(temporary, ignore_errors=True)
