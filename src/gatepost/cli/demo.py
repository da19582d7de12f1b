"""`gatepost demo` (behind `make run`): the gateway with an embedded downstream server and sample mails, at once.

Everything is real: a default configuration is written, a gateway started from it as its own processes, the samples are
sent over SMTP, and the table is made from the gateway's own log and from what arrived.
"""

import asyncio
import re
import signal
import smtplib
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gatepost.cli.downstream import serve
from gatepost.cli.samples import RECIPIENT, SENDER, Sample, build_samples
from gatepost.config.default import build_default_config
from gatepost.control.socket import ControlError, call
from gatepost.master.paths import Paths

START_TIMEOUT_S = 30.0
OUTCOME_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05

_LINE = re.compile(r"^\[[^\]]*\] ([0-9A-Z]{13}): ([A-Z]+), (.*)$")
_SPAM = re.compile(r'status="([^"]*)".* rate=(\d+)')
_STATUS = re.compile(r'status="([^"]*)".*names="([^"]*)"')
_QUEUED = re.compile(r"queued as ([0-9A-Z]{13})")
_TRACE = re.compile(rb"\AReceived: .*?\r\n(?![ \t])", re.DOTALL)
_ADDED = re.compile(rb"(?:(?:X-SpamTest-[\w-]+|Authentication-Results):[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")
"""Fields in front of a message that tell what was found in it."""


class Progress:
    """What is known of one sample so far."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.queue_id = ""
        self.status = ""
        self.names = ""
        self.spam = ""
        self.rate = ""
        self.blocked = False
        self.arrived: bytes | None = None
        self.trouble = ""

    @property
    def disposition(self) -> str:
        """What became of it, "" while unknown."""
        if self.trouble:
            return self.trouble
        if self.blocked:
            return "blocked"
        if self.arrived is None:
            return ""
        return (
            "delivered"
            if self.arrived == self.sample.content
            else "cured"
            if self.status == "disinfected"
            else "labelled"
            if self.spam == "spam"
            else "changed"
        )

    @property
    def done(self) -> bool:
        """Its outcome is known."""
        return bool(self.trouble or (self.status and self.spam and self.disposition))

    @property
    def right(self) -> bool:
        """The outcome is the one it must have."""
        sample = self.sample
        found = (self.status, self.spam, self.disposition)
        if found != (sample.status, sample.spam, sample.disposition):
            return False
        return self.arrived is None if sample.disposition == "blocked" else sample.arrived_well(self.arrived or b"")


def demo(
    *,
    state: Annotated[Path, cyclopts.Parameter(help="directory for configuration, queue, log, arrivals")] = Path("var"),
    once: Annotated[bool, cyclopts.Parameter(negative="", help="end by itself; exit 0 if all is right")] = False,
    port: Annotated[int, cyclopts.Parameter(help="port of the gateway on 127.0.0.1")] = 2525,
    downstream_port: Annotated[int, cyclopts.Parameter(help="port of the embedded downstream server")] = 2526,
) -> int:
    """Start a gateway on an embedded default and show what it does with sample mails."""
    return asyncio.run(Demo(state.resolve(), port, downstream_port).run(once=once))


class Demo:
    """One demonstration: a state directory, two ports, what became of each sample."""

    def __init__(self, state: Path, port: int, downstream_port: int) -> None:
        self._state = state
        self._port = port
        self._downstream_port = downstream_port
        self._config = state / "gatepost.toml"
        self._log = state / "log" / "gatepost.log"
        self._folder = state / "downstream"
        self._console = Console()
        self._progress = [Progress(sample) for sample in build_samples()]
        self._unclaimed: list[bytes] = []

    async def run(self, *, once: bool) -> int:
        """Run it; return the exit status."""
        self._write_config()
        try:
            downstream = await serve(self._folder, self._downstream_port, self._unclaimed.append)
        except OSError as error:
            self._console.print(
                f"cannot listen on 127.0.0.1:{self._downstream_port}: {error.strerror}; end what uses the port, or "
                "give another with --downstream-port (and a fresh --state)"
            )
            return 1
        log_start = self._log.stat().st_size if self._log.exists() else 0
        gateway = subprocess.Popen(  # noqa: ASYNC220, S603 - started once, before there is anything to wait for
            [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(self._config)]
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            if not await self._wait_for_gateway(gateway):
                return gateway.poll() or 1
            await self._send_and_show(log_start)
            self._tell()
            if not once:
                await self._stay(gateway, stop)
        finally:
            gateway.terminate()
            downstream.close()
            await asyncio.to_thread(gateway.wait, STOP_TIMEOUT_S)
        return 0 if all(progress.right for progress in self._progress) else 1

    def _write_config(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        if self._config.exists():
            self._console.print(f"configuration: {self._config} (kept; remove it for a fresh default)")
            return
        text = build_default_config(
            state_path=str(self._state),
            hostname="gatepost.localdomain",
            listen=f"127.0.0.1:{self._port}",
            next_hop=f"[127.0.0.1:{self._downstream_port}]",
            protected_domains=("example.org",),
            log_filename=str(self._log),
        )
        self._config.write_text(text)
        self._console.print(f"configuration: {self._config} (written)")

    async def _wait_for_gateway(self, gateway: "subprocess.Popen[bytes]") -> bool:
        end = time.monotonic() + START_TIMEOUT_S
        control = Paths(str(self._state)).control
        while time.monotonic() < end and gateway.poll() is None:
            try:
                answer = await asyncio.to_thread(call, control, "status")
            except ControlError:
                pass
            else:
                if answer["pid"] == gateway.pid and all("error" not in relay for relay in answer["relays"]):
                    return True
            await asyncio.sleep(_POLL_S)
        self._console.print("the gateway did not start; its reason stands above or in " + str(self._log))
        return False

    async def _send_and_show(self, log_start: int) -> None:
        with Live(self.table(), console=self._console, refresh_per_second=10) as live:
            sending = asyncio.create_task(asyncio.to_thread(self._send_all))
            end = time.monotonic() + OUTCOME_TIMEOUT_S
            while time.monotonic() < end:
                self._look(log_start)
                live.update(self.table())
                if sending.done() and all(progress.done for progress in self._progress):
                    break
                await asyncio.sleep(_POLL_S)
            await sending
            self._look(log_start)
            live.update(self.table())

    def _send_all(self) -> None:
        for progress in self._progress:
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=OUTCOME_TIMEOUT_S) as client:
                    client.ehlo("sample.localdomain")
                    client.mail(SENDER, ["BODY=8BITMIME"])
                    client.rcpt(RECIPIENT)
                    code, text = client.data(progress.sample.content)
                found = _QUEUED.search(text.decode("ascii", "replace"))
                if code == 250 and found:
                    progress.queue_id = found.group(1)
                else:
                    progress.trouble = f"refused: {code} {text.decode('ascii', 'replace')}"
            except (OSError, smtplib.SMTPException) as error:
                progress.trouble = f"not sent: {error}"

    def _look(self, log_start: int) -> None:
        """Take in what the log and the downstream server have to say."""
        by_id = {progress.queue_id: progress for progress in self._progress if progress.queue_id}
        with self._log.open("rb") as log:
            log.seek(log_start)
            for line in log.read().decode("utf-8", "replace").splitlines():
                found = _LINE.match(line)
                progress = by_id.get(found.group(1)) if found else None
                if found is None or progress is None:
                    continue
                if found.group(2) == "SCANNED" and (fields := _STATUS.search(found.group(3))):
                    progress.status, progress.names = fields.groups()
                elif found.group(2) == "SPAMCHECK" and (fields := _SPAM.search(found.group(3))):
                    progress.spam, progress.rate = fields.groups()
                elif found.group(2) == "BLOCKED":
                    progress.blocked = True
        for content in list(self._unclaimed):
            trace = _TRACE.match(content)
            for queue_id, progress in by_id.items():
                if trace and f" id {queue_id};".encode() in trace.group():
                    added = _ADDED.match(content, trace.end())
                    progress.arrived = content[added.end() if added else trace.end() :]
                    self._unclaimed.remove(content)
                    break

    def table(self) -> Table:
        """Return the table as it stands now."""
        table = Table("sample", "findings", "spam rating", "disposition", "what arrived", "")
        for progress in self._progress:
            findings = progress.status + (f": {progress.names}" if progress.names else "")
            rating = progress.rate + (": spam" if progress.spam == "spam" else "")
            if progress.arrived is not None:
                arrived = f"{len(progress.arrived):,} bytes" + (
                    ", identical" if progress.arrived == progress.sample.content else ", edited"
                )
            else:
                arrived = "nothing" if progress.blocked else "…"
            verdict = ("[green]right[/]" if progress.right else "[red]wrong[/]") if progress.done else ""
            table.add_row(progress.sample.name, findings, rating, progress.disposition, arrived, verdict)
        return table

    def _console_line(self) -> str:
        """Return where the console is and how to get in, "" while it is not open."""
        control = Paths(str(self._state)).control
        try:
            addresses = call(control, "console.status")["addresses"]
            code = call(control, "session.first_code")["code"]
        except ControlError:
            return ""
        first = f" (code for the first sign-in: {code})" if code else ""
        return "".join(f"\n  {address}{first}" for address in addresses)

    def _tell(self) -> None:
        port = self._port
        one_liner = (
            f"""python3 -c 'import smtplib; smtplib.SMTP("127.0.0.1", {port}).sendmail("{SENDER}", """
            f""""{RECIPIENT}", "Subject: hi\\n\\nhello")'"""
        )
        console = self._console_line()
        self._console.print(
            f"""
Listening on 127.0.0.1:{port}; what passes arrives in {self._folder}; log: {self._log}
Send more:
  swaks --server 127.0.0.1:{port} --from {SENDER} --to {RECIPIENT} --attach @FILE
  {one_liner}
Look at it:{console}
  .venv/bin/gatepost trace {RECIPIENT} -c {self._config}
  .venv/bin/gatepost status -c {self._config}
  .venv/bin/gatepost queue list -c {self._config}
  .venv/bin/gatepost spam explain {self._folder}/FILE -c {self._config}""",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    async def _stay(self, gateway: "subprocess.Popen[bytes]", stop: asyncio.Event) -> None:
        self._console.print("Ctrl-C ends it.")
        while not stop.is_set() and gateway.poll() is None:
            try:
                async with asyncio.timeout(_POLL_S * 10):
                    await stop.wait()
            except TimeoutError:
                continue
