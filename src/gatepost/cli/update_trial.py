"""Databases on trial: a new set is loaded beside those in use, finds what it must find, and nothing in clean mail.

Used by `gatepost update` before a set is installed (row F-UPD-06). A filter template of its own does it, behind the
same walls as a gateway's; of the running gateway nothing is touched but its store of compiled databases.
"""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.antispam.rating import rate
from gatepost.cli.sample_trial import SPAM_RATE, Unfit, inspect_all, try_samples
from gatepost.cli.trial import TrialError
from gatepost.config.schema import Config
from gatepost.feeds.installed import numbers_of
from gatepost.feeds.manifest import Kind, read_set
from gatepost.feeds.pinned import SpamBases
from gatepost.feeds.updating import Wanted
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.master.bases import open_bases
from gatepost.master.paths import Paths
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions
from gatepost.model.spam import SpamOptions
from gatepost.relay.filters import filter_settings

DEADLINE_S: Final = 120.0
"""Of the tester that an administrator names."""
_HEADER: Final = "From: {0}@sender.example\r\nTo: user@recipient.example\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
_HEADER2: Final = "Message-ID: <{0}@sender.example>\r\nMIME-Version: 1.0\r\nSubject: {1}\r\n"
_PIECES: Final = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")
"""Of the test virus: joined at run time, so that no file of ours holds it."""
_CLEAN: Final = (
    (
        "minutes",
        "text/plain",
        "Dear all,\r\n\r\nthe minutes of Monday are in the usual place.\r\n\r\nAnna\r\n",
    ),
    (
        "invoice",
        "text/plain",
        "Hello,\r\n\r\nour invoice 4711 for February is in the portal.\r\n\r\nRegards\r\n",
    ),
    (
        "offer",
        "text/html",
        "<html><body><p>Guten Tag,</p><p>wie besprochen: <b>12 St&uuml;ck</b> zu 30 Euro.</p></body></html>\r\n",
    ),
    ("question", "text/plain", "Hi,\r\n\r\nis the room free on Thursday at ten?\r\n\r\nThanks\r\n"),
)
"""Mail as people write it: whoever finds something in it is not to be let in."""


def try_sets(config: Config, staged: Mapping[Wanted, Path], tester: str = "") -> None:
    """Try each new set with the samples it carries, then all together with the newest ones of the other names.
    `tester`: a program of the administrator's, which gets each directory as its argument, too. Unfit.
    """
    for directory in staged.values():
        _ask_tester(tester, directory)
        try:
            try_samples(config, read_set(directory, None))
        except Exception as error:
            raise Unfit(f"{directory.name}: {error}") from error
    with tempfile.TemporaryDirectory(prefix="gatepost-update-") as name:
        scratch = Path(name)
        tried = _lay_out(config, staged, scratch)
        try:
            _try(tried, scratch, antispam=any(one.kind is Kind.ANTISPAM for one in staged))
        except Unfit:
            raise
        except (TrialError, FilterFailed, FilterUnavailable) as error:
            raise Unfit(f"the databases cannot be loaded: {error}") from error
        except Exception as error:
            raise Unfit(f"the databases cannot be tried: {error}") from error


def _ask_tester(tester: str, directory: Path) -> None:
    if not tester:
        return
    try:
        done = subprocess.run(  # noqa: S603 - the administrator's own program
            [tester, str(directory)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unfit(f"{tester}: {error}") from error
    if done.returncode:
        told = (done.stderr or done.stdout).strip()[:500]
        raise Unfit(f"{tester} refuses {directory.name} with code {done.returncode}: {told}")


def _lay_out(config: Config, staged: Mapping[Wanted, Path], scratch: Path) -> Config:
    """Return the configuration with directories that hold what would be in use."""
    places = {Kind.ANTIVIRUS: Path(config.path.bases_path), Kind.ANTISPAM: Path(config.path.as_bases_path)}
    fresh = {(one.kind, one.name) for one in staged}
    for kind, place in places.items():
        target = scratch / kind
        target.mkdir()
        names = {each.name.rpartition("-")[0] for each in place.iterdir()} if place.is_dir() else set()
        for name in names:
            if numbers := [] if (kind, name) in fresh else numbers_of(place, name):
                (target / numbers[0][1].name).symlink_to(numbers[0][1].absolute())
    for one, directory in staged.items():
        (scratch / one.kind / directory.name).symlink_to(directory.absolute())
    path = msgspec.structs.replace(
        config.path, bases_path=str(scratch / Kind.ANTIVIRUS), as_bases_path=str(scratch / Kind.ANTISPAM)
    )
    return msgspec.structs.replace(config, path=path)


def _try(config: Config, scratch: Path, *, antispam: bool) -> None:
    """`antispam`: its databases are new, too; else they are not loaded, which takes seconds."""
    opened = open_bases(config)
    if opened.troubles:
        raise Unfit("\n".join(opened.troubles))
    databases = opened.databases
    settings = msgspec.structs.replace(
        filter_settings(config, 1),
        minimum=1,
        spare=1,
        antispam=antispam,
        bases=databases.antivirus,
        spam_bases=databases.spam if antispam else SpamBases(),
        # What is compiled here is named after its sources, and the gateway finds it: it is compiled once.
        bases_cache=str(Paths(config.relay.state_path).bases_cache),
    )
    mails = [_mail("test", "text/plain", "".join(_PIECES)), *(_mail(*each) for each in _CLEAN)]
    options = ScanOptions(spam=SpamOptions() if antispam else None)
    socket = scratch / "filters.sock"

    infected, *clean = inspect_all(settings, socket, mails, options)
    _judge(infected, clean)


def _judge(infected: Analysis, clean: Sequence[Analysis]) -> None:
    if not any(each.status is ObjectStatus.INFECTED for each in infected.objects):
        raise Unfit("with the new databases the test virus is not found")
    for (name, _, _), analysis in zip(_CLEAN, clean, strict=True):
        for each in analysis.objects:
            if each.status is not ObjectStatus.CLEAN:
                raise Unfit(f"the new databases find {each.threat or each.status} in a clean mail ({name})")
        if analysis.spam is not None and rate(analysis.spam.signs) >= SPAM_RATE:
            heaviest = max(analysis.spam.signs, key=lambda sign: sign.weight)
            raise Unfit(f"the new databases take a clean mail ({name}) for spam: {heaviest.name}")


def _mail(subject: str, kind: str, body: str) -> bytes:
    head = _HEADER.format("anna") + _HEADER2.format(subject, subject)
    return f"{head}Content-Type: {kind}; charset=us-ascii\r\n\r\n{body}".encode("ascii")
