"""A real Exim asks our doors as it asks SpamAssassin, ClamAV and rspamd: its content scanning, unchanged."""

import contextlib
import smtplib
from collections.abc import Iterator

import pytest
from tests.peers.conftest import UNPACKED, root_program
from tests.peers.exim_program import Exim
from tests.support.certificates import shared_authority
from tests.support.mails import plain
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.client.setup.exim import plan_exim
from gatepost.client.setup.journal import apply_plan
from gatepost.client.setup.values import Wanted
from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Deed, Mark, Request, Ruling, Threat
from gatepost.model.reply import reply
from gatepost.service import clamd_door, rspamd_door, spamd_door
from gatepost.service.judge import Unjudged

HEAVY = UNPACKED.parents[1] / "heavy/usr/sbin/exim4"
BOB = "bob@in.example"
BY_SCORE = """\
  deny message = This message contains malware ($malware_name)
       malware = *
  deny message = This message was classified as spam
       spam = nobody:true
       condition = ${if >{$spam_score_int}{50}}
  warn spam = nobody:true
       add_header = X-Spam-Score: $spam_score ($spam_bar)
"""
"""With a door of kind spamd; for one of kind rspamd set-up writes it."""
CLEAN = ruling(status="not_detected", rate=10, objects=("clean",))
REFUSED = ruling(
    deed=Deed.REJECT,
    reply=reply(550, "5.7.1", "no"),
    status="spam",
    rate=140,
    marks=(Mark("BAD_WORDS", 90.0, "words of spam"),),
)
VIRUS = ruling(objects=("infected",), threats=(Threat("Test.Virus", "infected", "a.exe"),))


def spam(request: Request, _content: bytes) -> Ruling:
    """To the door for malware it is clean."""
    return CLEAN if request.bare else REFUSED


class Site:
    def __init__(self, variant: str) -> None:
        self.judge = ScriptedJudge(CLEAN)
        make, kind = (rspamd_door.make, DoorKind.RSPAMD) if variant == "rspamd" else (spamd_door.make, DoorKind.SPAMD)
        self.spam = ListeningDoor(make, self.judge, Door(name="spam", kind=kind))
        self.virus = ListeningDoor(clamd_door.make, self.judge, Door(name="virus", kind=DoorKind.CLAMD))
        self.exim = Exim(str(HEAVY), "mail.in.example", shared_authority().issue("mail.in.example"))
        self.doors = contextlib.ExitStack()
        if variant == "rspamd":
            self.exim.adapt = self.set_up
        else:
            self.exim.main = (
                f"spamd_address = 127.0.0.1 {self.spam.port}\nav_scanner = clamd:127.0.0.1 {self.virus.port}"
            )
            self.exim.look_at_content = BY_SCORE

    def set_up(self) -> None:
        """Do what `gatepost client setup exim` does."""
        door, clamd = (f"tcp:127.0.0.1:{each.port}" for each in (self.spam, self.virus))
        apply_plan(plan_exim(Wanted(config=self.exim.base, door=door, clamd=clamd)), self.exim.base / "state", 0)

    def submit(self, subject: str, fields: bytes = b"") -> None:
        with smtplib.SMTP("127.0.0.1", self.exim.plain, "far.example", timeout=120) as client:
            client.sendmail("s@out.example", [BOB], fields + plain(subject))


@pytest.fixture(scope="module", params=["spamd", "rspamd"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    root_program("exim4")
    if not HEAVY.exists():
        pytest.skip("no Exim with content scanning: make peers")
    made = Site(request.param)
    with made.doors, made.virus, made.exim:
        made.doors.enter_context(made.spam)
        yield made


def test_what_is_clean_passes_with_its_score(site: Site) -> None:
    site.judge.answer = CLEAN
    site.submit("clean mail")
    mail = site.exim.arrived("clean mail")
    assert b"\nX-Spam-Score: 0.5 (" in mail
    if site.spam._door.kind is DoorKind.RSPAMD:
        assert b"\nX-Spam-Action: no action\n" in mail
        assert site.judge.last.request.recipients == (BOB,)


def test_what_a_stranger_says_of_his_mail_does_not_stand_beside_it(site: Site) -> None:
    if site.spam._door.kind is not DoorKind.RSPAMD:
        pytest.skip("its lines are the test's own, not set-up's")
    site.judge.answer = CLEAN
    site.submit("praised mail", b"X-Spam-Score: -99\r\nX-Spam-Action: trusted\r\n")
    mail = site.exim.arrived("praised mail")
    assert (mail.count(b"X-Spam-Score:"), mail.count(b"X-Spam-Action:")) == (1, 1)
    assert b"\nX-Spam-Action: no action\n" in mail


@pytest.mark.parametrize(("answer", "said"), [(spam, b"classified as spam"), (VIRUS, b"contains malware (Test.Virus)")])
def test_what_is_not_is_refused_in_the_session(site: Site, answer, said: bytes) -> None:
    site.judge.answer = answer
    with pytest.raises(smtplib.SMTPDataError) as refused:
        site.submit("bad mail")
    assert refused.value.smtp_code == 550
    assert said in refused.value.smtp_error


def test_what_cannot_be_judged_waits(site: Site) -> None:
    site.judge.answer = Unjudged("no filter")
    with pytest.raises(smtplib.SMTPResponseException) as deferred:
        site.submit("not judged")
    assert deferred.value.smtp_code == 451


def test_while_the_door_is_away_mail_waits(site: Site) -> None:
    """The last one: it is gone for good."""
    site.judge.answer = CLEAN
    site.doors.close()
    with pytest.raises(smtplib.SMTPResponseException) as deferred:
        site.submit("nobody listens")
    assert deferred.value.smtp_code == 451
