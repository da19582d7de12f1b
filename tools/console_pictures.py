"""Pictures of the console for docs/pictures: main pages in light, dark and phone width, before a gateway with an hour
of sample mail in it. Called by `make pictures` (tools/pictures.py).
"""

import io
import math
import random
import sys
import tempfile
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.support_gateway import RELAY, injected  # noqa: E402
from tests.support.browser import DESKTOP, PASSWORD, PHONE, Tab, open_browser  # noqa: E402
from tests.support.clock import MINUTE, SteppedClock  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from gatepost.cli.samples import build_samples  # noqa: E402

SIZE_LIMIT = 150 * 1024
"""Bytes of one picture: the repository keeps every version of it."""
COLOURS = 160
MINUTES = 60
WARM_UP = 3
"""Minutes before them, in which filters start."""
SEED = 7

LOOKS = {
    "light": (
        DESKTOP,
        False,
        (
            *("dashboard", "tracking", "mail", "queue", "quarantine", "policy", "settings", "service", "reports"),
            *("lists", "rules", "terms", "texts", "text", "databases"),
        ),
    ),
    "dark": (DESKTOP, True, ("dashboard", "tracking", "mail")),
    "phone": (PHONE, False, ("dashboard", "tracking", "mail", "quarantine")),
}
PATHS = {
    "dashboard": "/",
    "quarantine": "/quarantine?store=backup",
    "terms": "/rules/terms",
    "texts": "/rules/texts",
    "text": "/rules/texts/notify-admin/en",
}
"""Of pages that are not called as their path is."""

AS_INSTALLED = """(place) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(place, "/var/lib/gatepost");
}"""
"""Shows directories as an installed gateway has them, instead of a temporary one."""

LISTINGS = [
    {"list": "allow", "entry": "orders@partner.example", "note": "our paper supplier"},
    {"list": "allow", "entry": "*@harbour.example", "note": "they forward from many hosts"},
    {"list": "block", "entry": "*@cheap-pills.example", "note": ""},
    {"list": "block", "entry": "203.0.113.0/24", "note": "asked them twice to stop", "expires": "2030-12-31"},
]
OWN_TEXT = """<DEF NOTICE_SUBJECT = "Stopped: %SUBJECT%"/>
From %SENDER% to <FOR RECIPIENT == "*">%RECIPIENT% </FOR>
<FOR VIRUS == "*">Found: %VIRUS%%CRLF%</FOR>
Queue id: %QUEUE_ID%
"""
PEOPLE = ("anna.berg", "jonas.weber", "maria.silva", "lee", "office", "billing", "press")
PARTNERS = ("orders@partner.example", "k.olsen@nordic-paper.example", "team@harbour.example", "hr@city-clinic.example")
SUBJECTS = (
    "Minutes of Tuesday's meeting",
    "Offer 2214: paper and envelopes",
    "Re: dates for the visit",
    "Your invoice for October",
    "Draft of the contract, second version",
    "Photographs from the harbour",
    "Delivery is on its way",
    "Question about order 48113",
)


def make_console_pictures(folder: Path) -> list[Path]:
    """Make all of them; return their paths."""
    with tempfile.TemporaryDirectory() as place:
        clock = SteppedClock(Path(place))
        clock.step(-(MINUTES + WARM_UP) * MINUTE)
        sampled = injected(Path(place), RELAY, "import gatepost.relay.recording as r\nr.SAMPLE_S = 0.1")
        state = Path(place) / "state"
        with (
            Sink(script=_busy) as sink,
            Gateway(state, sink.port, env=clock.env | sampled, antispam=True, console=True) as gateway,
        ):
            gateway.ask("accounts.add", name="anna", role="admin", password=PASSWORD)
            gateway.ask("lists.add_many", entries=LISTINGS)
            which: dict[str, Any] = {"name": "notify-admin", "language": "en"}
            digest = gateway.ask("texts.show", **which)["digest"]
            gateway.ask("texts.save", **which, text=OWN_TEXT, digest=digest, comment="shorter")
            shown = _send_traffic(gateway, clock)
            wait_for(lambda: gateway.ask("tracking.mail", id=shown)["mail"], "the records of the last mail", 120)
            return _photograph(gateway, folder, PATHS | {"mail": f"/tracking/{shown}"})


def _busy(step: str, argument: str, _: Sink) -> str | None:
    return "450 4.2.1 mailbox busy" if step == "rcpt" and "press@" in argument else None


def _send_traffic(gateway: Gateway, clock: SteppedClock) -> str:
    """Send an hour of mail; return the queue id of one with much to tell."""
    chance = random.Random(SEED)
    samples = [sample for sample in build_samples() if len(sample.content) < 100_000]
    told = ""
    gateway.send(_mail(chance, clock.now(), "office@example.org"), "office@example.org", PARTNERS[0])
    wait_for(lambda: _settled(gateway), "filters to be warm", 120)
    clock.step(WARM_UP * MINUTE)
    for minute in range(MINUTES):
        for _ in range(int(3 + 2 * math.sin(minute / 9) + chance.random() * 2)):
            recipient = f"{chance.choice(PEOPLE)}@example.org"
            gateway.send(_mail(chance, clock.now(), recipient), recipient, chance.choice(PARTNERS))
        if minute % 4 == 0:
            sample = samples[minute // 4 % len(samples)]
            sent = gateway.send(sample.content, f"{chance.choice(PEOPLE[:5])}@example.org", "sender@partner.example")
            told = sent if sample.status == "infected" else told
        wait_for(lambda: _settled(gateway), "a minute's mail to be through", 120)
        clock.step(MINUTE)
    return told


def _settled(gateway: Gateway) -> bool:
    """Tell whether all mail is inspected, and all that can be delivered is."""
    status = gateway.status()
    return not status["queue"]["waiting"] and not any(sum(relay["in_work"].values()) for relay in status["relays"])


def _mail(chance: random.Random, now: float, recipient: str) -> bytes:
    mail = EmailMessage()
    mail["From"] = chance.choice(PARTNERS)
    mail["To"] = recipient
    mail["Subject"] = chance.choice(SUBJECTS)
    mail["Date"] = formatdate(now)
    mail["Message-ID"] = make_msgid(domain="partner.example")
    mail.set_content(
        "Good morning,\n\nplease see below. We look forward to your answer.\n\nKind regards\n" * chance.randint(1, 30)
    )
    return mail.as_bytes().replace(b"\n", b"\r\n")


def _photograph(gateway: Gateway, folder: Path, paths: dict[str, str]) -> list[Path]:
    made: list[Path] = []
    address = f"http://127.0.0.1:{gateway.console_port}"
    with open_browser() as browser:
        with Tab(browser, address) as tab:
            tab.sign_in("anna")
            signed_in = tab.state()
        for look, (size, dark, pages) in LOOKS.items():
            with Tab(browser, address, size=size, dark=dark, state=signed_in) as tab:
                for name in pages:
                    tab.go(paths.get(name, f"/{name}"))
                    tab.page.wait_for_load_state("networkidle")
                    tab.page.evaluate(AS_INSTALLED, str(gateway.state))
                    target = folder / f"console-{name}-{look}.png"
                    _keep(tab.page.screenshot(full_page=name == "dashboard" and size == DESKTOP), target)
                    made.append(target)
    return made


def _keep(png: bytes, target: Path) -> None:
    """Keep a picture with few colours: pages have few, and the file is a third."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)
    assert target.stat().st_size <= SIZE_LIMIT, f"{target} is too large"


if __name__ == "__main__":
    begun = time.monotonic()
    for path in make_console_pictures(ROOT / "docs" / "pictures"):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB")
    print(f"{time.monotonic() - begun:.0f} s")
