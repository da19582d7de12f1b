"""The databases in force: chosen at the start, taken anew by a reload, brought to the filters by a new template.

Used by `master.process`. Databases that cannot be trusted never replace those in force.
"""

import asyncio
from collections.abc import Callable, Iterator

import msgspec

from gatepost.config.schema import Config
from gatepost.control.socket import ControlError
from gatepost.doctor.databases import judge_unusable
from gatepost.doctor.finding import Finding, State
from gatepost.feeds.bases import BasesError, Trouble
from gatepost.filter.settings import FilterSettings
from gatepost.licence.key import LicenceError
from gatepost.master.bases import NO_SPAM_BASES, Databases, Opened, describe_bases, open_bases
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.learning import LEARNING_FILTERS, WEIGHTS_FILE, Learning, learner_settings
from gatepost.master.paths import Paths
from gatepost.master.relays import Relays
from gatepost.master.templates import NotReplaced, Templates
from gatepost.relay.filters import filter_settings
from gatepost.storage.weights_file import look_at

_TEMPLATE_MEND = "mend what it names (`gatepost config check`, `gatepost bases verify`), then `gatepost reload`"
BASES_STAY = "databases not reloaded, those in force stay"
SWAP_PATIENCE_S = 20.0
"""A command waits this long for a new filter template, less than callers wait for an answer; the template may take
longer (`templates.READY_TIMEOUT_S`).
"""
STILL_LOADING = (
    "the new filter template is still loading, filters work with the former one: the log tells when it is done"
)


class BasesInForce:
    """The databases a running gateway works with."""

    def __init__(self, config: Callable[[], Config], paths: Paths, say: Callable[[str, str], None]) -> None:
        """`config()` is the one in force; `say(level, text)` logs."""
        self._config = config
        self._paths = paths
        self._say = say
        self._swap: asyncio.Task[str] | None = None
        self._learned_inode = 0
        """Of the file of learned weights that filters were brought to last, or should have been."""
        self._antivirus_troubles: tuple[str, ...] = ()
        """What is wrong with sets that are there and not used ..."""
        self._spam_troubles: tuple[str, ...] = ()
        self._not_swapped = ""
        """... and why filters do not work with those that are chosen."""
        self.current = Databases()

    def findings(self) -> Iterator[Finding]:
        """State what is wrong with databases, those included that the gateway learns by itself."""
        spam_sets = bool(self.current.spam.sets)
        yield from judge_unusable(self._antivirus_troubles, self._spam_troubles, spam_sets=spam_sets)
        if self._not_swapped:
            text = f"filters work with the former databases and settings: {self._not_swapped}"
            yield Finding("databases:template", "databases", State.ERROR, text, _TEMPLATE_MEND)
        yield from self._learning.findings()

    def serve(self, templates: Templates, relays: Relays, learning: Learning) -> None:
        """Name those who work with them."""
        self._templates = templates
        self._relays = relays
        self._learning = learning

    def cancel(self) -> None:
        """Forget a swap that is under way: the gateway stops."""
        if self._swap is not None:
            self._swap.cancel()

    def open(self, config: Config) -> Databases:
        """Choose the databases to start with; what cannot be used is told. StartError when nothing is left."""
        try:
            opened = open_bases(config)
        except BasesError as error:
            code = ExitCode.BASES_DATE if error.trouble is Trouble.OUT_OF_TERM else ExitCode.BASES
            raise StartError(code, f"databases cannot be loaded: {error}") from error
        except LicenceError as error:
            raise StartError(ExitCode.LICENCE, f"licence: {error}") from error
        self._note(opened)
        for trouble in opened.troubles:
            self._say("E", trouble)
        for seeded in opened.seeded:
            self._say("I", seeded)
        self._tell_bases("databases", opened)
        self.current = opened.databases
        return opened.databases

    def _open_anew(self) -> Opened:
        """Choose the databases of the configuration in force; what is wrong is kept. BasesError, LicenceError."""
        try:
            opened = open_bases(self._config())
        except (BasesError, LicenceError) as error:
            self._antivirus_troubles = tuple(str(error).splitlines())
            raise
        self._note(opened)
        return opened

    def _note(self, opened: Opened) -> None:
        self._antivirus_troubles, self._spam_troubles = opened.antivirus_troubles, opened.spam_troubles

    def _tell_bases(self, what: str, opened: Opened) -> None:
        self._say("I", f"{what}: {opened.summary}")
        if not opened.databases.spam.sets:
            self._say("W", NO_SPAM_BASES)

    def settings_with(self, bases: Databases) -> FilterSettings:
        """Return what a template needs to work with these."""
        settings = filter_settings(self._config(), self._config().filter.server_max_filters + LEARNING_FILTERS)
        cache = str(self._paths.bases_cache)
        learned = self._paths.learned / WEIGHTS_FILE
        return msgspec.structs.replace(
            settings,
            bases=bases.antivirus,
            spam_bases=bases.spam,
            bases_cache=cache,
            learned=str(learned),
            learned_inode=look_at(learned).inode,
        )

    def learner_settings(self) -> bytes:
        """Return what the learner needs."""
        return learner_settings(self._config(), self._paths, self.settings_with(self.current))

    def for_reload(self) -> tuple[Databases, str]:
        """Return the databases to go on with: new ones if nothing is wrong with any, else those in force, and why."""
        try:
            opened = self._open_anew()
            if not opened.troubles:
                return opened.databases, ""
            trouble = "\n".join(opened.troubles)
        except (BasesError, LicenceError) as error:
            trouble = str(error)
        return self.current, self._keep_bases(trouble)

    def _keep_bases(self, trouble: str) -> str:
        """Log that the databases in force stay, and why; return that as a text."""
        for line in (*trouble.splitlines(), BASES_STAY):
            self._say("E", line)
        return f"{BASES_STAY}:\n{trouble}"

    def begin_swap(self, bases: Databases) -> "asyncio.Task[str]":
        """Have a new template with these databases take over, whether somebody waits for it or not. The task returns
        why it did not, "" when it did.
        """
        self._swap = asyncio.create_task(self._replace_template(bases))
        return self._swap

    async def _replace_template(self, bases: Databases) -> str:
        try:
            await self._templates.replace(self.settings_with(bases))
        except NotReplaced as error:
            self._say("E", str(error))
            self._not_swapped = str(error)
            return str(error)
        self._not_swapped = ""
        self.current = bases
        await self._relays.meet_filters(self._templates.generation)
        await self._learning.stop()  # it begins anew with the base model of these
        self._relays.use_bases(describe_bases(bases.antivirus))
        return ""

    async def meet_learned(self) -> None:
        """Bring filters to the file of learned weights, unless they map it or did not come to it before."""
        await self._templates.settled.wait()
        if self._swap is not None:
            await asyncio.wait((self._swap,))  # it may bring them there
        inode = look_at(self._paths.learned / WEIGHTS_FILE).inode
        if not inode or inode in (self._templates.learned_inode, self._learned_inode):
            return
        self._learned_inode = inode
        if not await self.begin_swap(self.current):
            self._say("I", "filters work with the learned weights that were made anew")

    async def outcome_of(self, swap: "asyncio.Task[str]") -> str:
        """Return what came of a swap. ControlError: it takes longer than a caller waits, and goes on."""
        done, _ = await asyncio.wait((swap,), timeout=SWAP_PATIENCE_S)
        if done:
            return swap.result()

        def tell(late: "asyncio.Task[str]") -> None:
            if not late.cancelled() and not late.result():
                self._say("I", "the new filter template is in force")

        swap.add_done_callback(tell)
        raise ControlError(STILL_LOADING)

    async def reload(self) -> str:
        """Take the databases anew, and nothing else (row F-AV-24). ControlError: those in force stay, or still do."""
        try:
            opened = await asyncio.to_thread(self._open_anew)
        except (BasesError, LicenceError) as error:
            raise ControlError(self._keep_bases(str(error))) from error
        trouble = "\n".join(opened.troubles)
        if not trouble and opened.databases != self.current:
            trouble = await self.outcome_of(self.begin_swap(opened.databases))
        if trouble:
            raise ControlError(self._keep_bases(trouble))
        self._tell_bases("databases reloaded", opened)
        return f"databases in force: {opened.summary}"
