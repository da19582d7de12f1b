"""`gatepost setup`: from an installed program to one that filters mail, by questions or by a file of answers.

docs/manual/installation.md tells how. Exit codes: 0 done, also when nothing is started for want of a licence key; 1
wrong options or answers, or the last question was answered with no: nothing was changed; 2 a file cannot be read or
written; 4 the configuration is in place, and something after it did not work, which is told.
"""

import getpass
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, ConfigFile, complain
from gatepost.cli.setup_answers import WIDTH, AnswersError, build_answers, complete, find_missing, read_answers, show
from gatepost.cli.setup_host import Host, find_defaults, look_at_host
from gatepost.cli.setup_plan import STATE_PATH, plan_configuration, read_configured
from gatepost.cli.setup_questions import NOTHING, QUESTIONS, Answers, Question, Start
from gatepost.cli.setup_steps import (
    NotDone,
    Owner,
    Setting,
    find_no_licence,
    find_owner,
    later,
    plan_steps,
    write_configuration,
)
from gatepost.config.editing import EditError
from gatepost.config.file_text import decode_file
from gatepost.config.load import Loaded, choose_form, load_text
from gatepost.config.problem import Form
from gatepost.master.configuration_history import build_diff
from gatepost.master.daemon import DEFAULT_USER
from gatepost.master.settings import find_fault

EXIT_REFUSED = 1
EXIT_UNREADABLE = 2
EXIT_NOT_DONE = 4
_ANSWERS_MODE = 0o600
"""They may hold passwords."""

AnswersFile = Annotated[Path | None, cyclopts.Parameter(help="take the answers of this file, ask nothing")]
WriteAnswers = Annotated[
    Path | None, cyclopts.Parameter(help="write the answers to this new file, and change nothing else")
]


class _EndedError(Exception):
    """Carries the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def setup(
    *,
    answers: AnswersFile = None,
    write_answers: WriteAnswers = None,
    dry_run: Annotated[
        bool, cyclopts.Parameter(negative="", help="show what would be done, and change nothing")
    ] = False,
    yes: Annotated[
        bool, cyclopts.Parameter(negative="", help="change a configuration that is there without asking")
    ] = False,
    start: Annotated[Start | None, cyclopts.Parameter(help="wins over the answer of the same name")] = None,
    user: Annotated[str, cyclopts.Parameter(help="whom the gateway runs as, when root sets it up")] = DEFAULT_USER,
    state_path: Annotated[str, cyclopts.Parameter(help="state directory, for a new configuration")] = STATE_PATH,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Set the gateway up: ask, or take a file's answers; write the configuration, fetch databases, start.

    A second run proposes what is configured, and changes only what is answered differently.
    """
    try:
        return _Setup(conf_file.absolute(), user, state_path, yes=yes or dry_run).run(
            answers, write_answers, start, dry_run=dry_run
        )
    except _EndedError as error:
        return complain(str(error), error.code)
    except (EOFError, KeyboardInterrupt):
        return complain("\nNothing was changed", EXIT_REFUSED)
    except OSError as error:
        return complain(f"{error.filename or ''}: {error.strerror}".lstrip(": "), EXIT_UNREADABLE)


class _Setup:
    """One run."""

    def __init__(self, file: Path, user: str, state_path: str, *, yes: bool) -> None:
        if choose_form(str(file)) is Form.INI:
            what = f"{file} is of the INI form: make TOML of it first, gatepost config convert {file} -o FILE.toml"
            raise _EndedError(what, EXIT_REFUSED)
        self._file = file
        self._user = user
        self._state_path = str(Path(state_path).absolute())
        self._yes = yes
        self._host: Host = look_at_host()
        self._raw = file.read_bytes() if file.exists() else None
        self._before = decode_file(self._raw).text if self._raw is not None else None

    def run(self, file: Path | None, write: Path | None, start: Start | None, *, dry_run: bool) -> int:
        answers = self._find_answers(file)
        if start is not None:
            answers = complete(answers, {"start": start})
        if wrong := find_missing(answers):
            raise _EndedError("\n".join(wrong), EXIT_REFUSED)
        if write is not None:
            _write_answers(write, answers)
            return 0
        text, loaded = self._plan(answers)
        self._show(text, loaded)
        changed = text != self._before
        if not self._yes and not (self._may_change(changed) if file is not None else self._agreed(changed)):
            raise _EndedError("Nothing was changed", EXIT_REFUSED)
        assert loaded.config is not None, "planned without errors"
        try:
            owner = Owner() if dry_run else find_owner(self._user)
        except NotDone as error:
            raise _EndedError(f"{error}\nNothing was changed", EXIT_REFUSED) from None
        setting = Setting(self._file, loaded.config, answers, owner, self._host, changed)
        if dry_run:
            return self._tell_steps(setting)
        if changed:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            print(write_configuration(self._file, text, self._raw, owner, stamp))
        return self._do(setting)

    def _find_answers(self, file: Path | None) -> Answers:
        defaults = find_defaults(self._host)
        if self._before is not None:
            loaded = load_text(self._before, str(self._file))
            if loaded.config is None:
                faults = "\n".join(map(str, loaded.errors))
                raise _EndedError(f"{faults}\nThe configuration has to be mended by hand first", EXIT_REFUSED)
            defaults = read_configured(defaults, loaded)
        if file is None:
            return _Dialogue(defaults, self._host, known=self._before is not None).ask_all()
        try:
            found = read_answers(file.read_text(), defaults)
        except AnswersError as error:
            told = "\n".join(f"{file}: {line}" for line in str(error).splitlines())
            raise _EndedError(told, EXIT_REFUSED) from None
        if (found.console_password or "@" in found.proxy) and file.stat().st_mode & 0o077:
            print(f"{file} holds a password and others may read it: chmod 600 {file}", file=sys.stderr)
        return found

    def _plan(self, answers: Answers) -> tuple[str, Loaded]:
        try:
            text = plan_configuration(self._before, self._file, answers, self._state_path)
        except EditError as error:
            raise _EndedError(f"{error}\nNothing was changed", EXIT_REFUSED) from None
        loaded = load_text(text, str(self._file))
        fault = find_fault(loaded.config) if loaded.config is not None else ""
        if loaded.errors or fault:
            faults = "\n".join(filter(None, [*map(str, loaded.errors), fault]))
            raise _EndedError(f"{faults}\nThese answers do not fit together; nothing was changed", EXIT_REFUSED)
        return text, loaded

    def _show(self, text: str, loaded: Loaded) -> None:
        if self._before is None:
            print(f"{self._file}, without its explanations:\n")
            lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            print("\n".join(f"  {line}" for line in lines))
        else:
            diff = build_diff(self._before, text, f"{self._file} (before)", str(self._file))
            print(diff or f"{self._file} says all that already")
        for problem in loaded.problems:
            print(problem)

    def _may_change(self, changed: bool) -> bool:
        """Tell whether a file of answers alone may do it: an administrator's file is not changed unasked."""
        if changed and self._before is not None:
            print(f"{self._file} is there already: say --yes to have it changed; the former one is kept beside it")
            return False
        return True

    def _agreed(self, changed: bool) -> bool:
        return _yes(f"Write {self._file} and go on?" if changed else "Go on?")

    def _tell_steps(self, setting: Setting) -> int:
        print("\nThen:")
        if setting.changed:
            print(f"  write {self._file}" + ("; the former one is kept beside it" if self._raw is not None else ""))
        for step in plan_steps(setting):
            print(f"  {step.words}")
        self._tell_licence(setting)
        return 0

    def _do(self, setting: Setting) -> int:
        code = 0
        for step in plan_steps(setting):
            try:
                print(step.act(), flush=True)
            except (NotDone, OSError) as error:
                what = f"{error.filename or ''}: {error.strerror}" if isinstance(error, OSError) else error
                code = complain(f"Could not {step.words}: {what}", EXIT_NOT_DONE)
                if step.vital:
                    return code
            except KeyboardInterrupt:
                return complain(f"\nInterrupted ({step.words}): run it again, it goes on there", EXIT_NOT_DONE)
        self._tell_licence(setting)
        return code

    def _tell_licence(self, setting: Setting) -> None:
        if not setting.answers.licence_key and (reason := find_no_licence(setting.config)):
            print(f"\n{reason}\n{later(setting)}")


class _Dialogue:
    """Asks on the terminal. EOFError: whoever was asked has gone."""

    def __init__(self, defaults: Answers, host: Host, *, known: bool) -> None:
        self._answers = defaults
        self._host = host
        self._known = known

    def ask_all(self) -> Answers:
        print(
            f"Return takes the answer in brackets, {NOTHING} means none. Nothing is changed before the last question."
        )
        if self._host.mail_system and not self._known:
            print("A mail system answers at port 25 of this host: it can stay there, and ask this gateway as a server.")
        for question in QUESTIONS:
            if question.asked and question.when(self._answers):
                self._answers = complete(self._answers, {question.name: self._ask(question)})
        return self._answers

    def _ask(self, question: Question) -> Any:
        default = getattr(self._answers, question.name)
        shown = "" if question.secret else show(default)
        print(f"\n{textwrap.fill(question.words, WIDTH)}")
        while True:
            given = _read_secret(question.title) if question.secret else _read(f"{question.title} [{shown}]: ")
            try:
                if not given:
                    return question.parse(default)
                return question.parse("" if given == NOTHING else given)
            except ValueError as error:
                print(f"  {error}", file=sys.stderr)


def _read(prompt: str) -> str:
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _read_secret(title: str) -> str:
    """Return what was typed unseen, twice; from a pipe one line."""
    if not sys.stdin.isatty():
        return _read(f"{title}: ")
    while True:
        given = getpass.getpass(f"{title}: ")
        if not given or getpass.getpass("Once more: ") == given:
            return given
        print("  the two differ", file=sys.stderr)


def _yes(question: str) -> bool:
    return _read(f"\n{question} [y/N] ").lower() in {"y", "yes"}


def _write_answers(file: Path, answers: Answers) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _ANSWERS_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(build_answers(answers))
    print(f"the answers are in {file}: gatepost setup --answers {file}")
