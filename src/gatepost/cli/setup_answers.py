"""Answers to the questions of `gatepost setup`: completed, checked, and read from and written to a file.

Used by `cli.setup`. Pure.
"""

import difflib
import textwrap
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from gatepost.cli.setup_questions import BY_ROLE, QUESTIONS, Answers
from gatepost.config.dump import toml_string
from gatepost.control.accounts import check_new_password
from gatepost.control.socket import ControlError

WIDTH = 100
"""Columns of explanations."""


class AnswersError(ValueError):
    """A file of answers that cannot be used; one line for each thing that is wrong."""


def read_answers(text: str, defaults: Answers) -> Answers:
    """Return the answers of a file over the defaults; AnswersError names everything that is wrong."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AnswersError(f"no TOML: {error}") from None
    questions = {question.name: question for question in QUESTIONS}
    values: dict[str, Any] = {}
    wrong = []
    for name, raw in given.items():
        if name not in questions:
            near = difflib.get_close_matches(name, questions, 1)
            wrong.append(f"{name}: there is no such question{f'; {near[0]}?' if near else ''}")
            continue
        try:
            values[name] = questions[name].parse(raw)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise AnswersError("\n".join(wrong))
    return complete(defaults, values)


def complete(defaults: Answers, values: Mapping[str, Any]) -> Answers:
    """Return the defaults with the values over them; what follows from an answer follows the one that was given."""
    answers = msgspec.structs.replace(defaults, **values)
    if answers.role is not defaults.role:
        former, now = BY_ROLE[defaults.role], BY_ROLE[answers.role]
        follows = {name: now[name] for name in now if name not in values and getattr(answers, name) == former[name]}
        answers = msgspec.structs.replace(answers, **follows)
    if not answers.protected_domains and answers.hostname:
        parent = answers.hostname.partition(".")[2]
        domain = parent if "." in parent else answers.hostname
        answers = msgspec.structs.replace(answers, protected_domains=(domain,))
    if not answers.postmaster and answers.protected_domains:
        domain = answers.protected_domains[0].removeprefix("*.")
        return msgspec.structs.replace(answers, postmaster=f"postmaster@{domain}")
    return answers


def find_missing(answers: Answers) -> list[str]:
    """Return what is wrong with answers that nobody was asked for, or that are missing."""
    wrong = []
    for question in QUESTIONS:
        if question.when(answers):
            try:
                question.parse(getattr(answers, question.name))
            except ValueError as error:
                wrong.append(f"{question.name}: {error}")
    if answers.console_password:
        try:
            check_new_password(answers.console_password, answers.console_account)
        except ControlError as error:
            wrong.append(f"console_password: {error}")
    return wrong


def show(value: object) -> str:
    """Return an answer as it is typed, "" for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def build_answers(answers: Answers) -> str:
    """Return answers as a file for `--answers`."""
    blocks = ["# Answers for `gatepost setup --answers FILE`. What is left out gets its default, or stays as it is.\n"]
    for question in QUESTIONS:
        value = getattr(answers, question.name)
        words = textwrap.fill(question.words, WIDTH, initial_indent="# ", subsequent_indent="# ")
        # What does not apply and is not given is there to be seen, not to be read.
        mark = "" if value not in ("", ()) or question.when(answers) else "# "
        lines = [words, f"{mark}{question.name} = {_toml(value)}"]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_string(str(each)) for each in value) + "]"
    return toml_string(str(value))
