"""`gatepost rules check|explain|test`: whether a rule set is sound, what it says, what it makes of mail; `import` and
`export` are `cli.rules_xml`.

All work on files, without a running gateway. Exit codes: 0 done; 1 wrong options; 2 a message cannot be read; 3 it
could not be inspected; 65 and 66 as for `gatepost config check`, 66 also for a set with faults.
"""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec

from gatepost.cli import rules_xml
from gatepost.cli.case_options import Recipients, Sender
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, ConfigFile, complain, print_json
from gatepost.config.load import EXIT_ERRORS, load
from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_files import SHIPPED, read_rule_set
from gatepost.model.profile import Profile, RuleSet
from gatepost.policy.profile_words import describe_action, describe_conditions

app = cyclopts.App(name="rules", help="Profiles and rules: check a set, say what it says, try mail on it.")

app.command(rules_xml.import_set, name="import")
app.command(rules_xml.export_set, name="export")

EXIT_NOT_INSPECTED: Final = 3
_Directory = Annotated[
    Path | None,
    cyclopts.Parameter(name="--directory", help="the set's; default: [profiles] path, else the shipped one"),
]


class Checked(msgspec.Struct, frozen=True):
    """A set and what is wrong with it."""

    directory: str
    sound: bool
    problems: tuple[Problem, ...]
    common: int
    personal: int
    """Profiles in force."""
    rules: int


@app.command
def check(*, directory: _Directory = None, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Look at all files of a set and name every fault: file, profile, rule, what is wrong, how to mend it."""
    found = _read(directory, conf_file)
    if isinstance(found, int):
        return found
    place, rules, problems = found
    sound = not any(problem.severity is Severity.ERROR for problem in problems)
    counted = sum(len(profile.rules) for _, profile in _in_force(rules))
    active = [sum(ref.active for ref in refs) for refs in (rules.common, rules.personal)]
    if as_json:
        print_json(Checked(str(place), sound, problems, active[0], active[1], counted))
        return 0 if sound else EXIT_ERRORS
    for problem in problems:
        print(problem)
    if not sound:
        return EXIT_ERRORS
    print(f"{place}: sound; {active[0]} common and {active[1]} personal profiles in force with {counted} rules")
    return 0


@app.command
def explain(*, directory: _Directory = None, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Say in words what the profiles in force do, in the order in which they do it."""
    found = _read(directory, conf_file)
    if isinstance(found, int):
        return found
    place, rules, problems = found
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        return complain("\n".join(map(str, errors)), EXIT_ERRORS)
    if as_json:
        print_json(
            [
                {
                    "stage": stage,
                    "profile": profile.name,
                    "recipients": list(profile.recipients),
                    "recipient_list": profile.recipient_list,
                    "rules": [
                        {
                            "if": describe_conditions(rule.conditions),
                            "then": [describe_action(action) for action in rule.actions],
                        }
                        for rule in profile.rules
                    ],
                }
                for stage, profile in _in_force(rules)
            ]
        )
        return 0
    print(f"{place}")
    for line in _words(rules):
        print(line)
    return 0


@app.command(name="test")
def try_mails(
    mails: Annotated[list[str], cyclopts.Parameter(negative="", help="Files (.eml), or ids of stored messages.")],
    /,
    *,
    sender: Sender = None,
    to: Recipients = None,
    client: Annotated[str, cyclopts.Parameter(name=["--ip", "--client"], help="Address of the client.")] = "",
    network: Annotated[bool, cyclopts.Parameter(negative="", help="Ask the DNS, too.")] = False,
    directory: _Directory = None,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Say which rules hold for messages, in which order, and with what result. Nothing is delivered.

    What is not given is taken from the store, or from the fields of the file.
    """
    from gatepost.cli.explaining import TROUBLES  # noqa: PLC0415 - filters and all they need: not for the others
    from gatepost.cli.rules_trial import build_envelope, render_tried, try_message  # noqa: PLC0415
    from gatepost.cli.store_choice import Failed  # noqa: PLC0415
    from gatepost.cli.told_message import read_message  # noqa: PLC0415

    if client:
        try:
            ipaddress.ip_address(client)
        except ValueError:
            return complain(f"{client!r} is no IP address", EXIT_BAD_OPTIONS)
    overrides = ["profiles.enabled=true", *([f"profiles.path={directory.absolute()}"] if directory else [])]
    loaded = load(conf_file, overrides)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    tried = []
    try:
        for name in mails:
            told = read_message(name, loaded.config, conf_file)
            envelope = build_envelope(loaded.config, told.envelope, sender, to or (), client)
            tried.append(try_message(loaded.config, name, told, envelope, network=network))
            if not as_json:
                print("\n".join(render_tried(tried[-1])), flush=True)
    except Failed as failed:
        return failed.say()
    except TROUBLES as error:
        return complain(f"not all messages could be inspected: {error}", EXIT_NOT_INSPECTED)
    if as_json:
        print_json(tried)
    return 0


def _read(directory: Path | None, conf_file: Path) -> tuple[Path, RuleSet, tuple[Problem, ...]] | int:
    """Return a set with its place, or the exit code when it has been said why there is none."""
    if directory is not None and not directory.is_dir():
        return complain(f"{directory} is no directory", EXIT_BAD_OPTIONS)
    place = directory
    if place is None:
        loaded = load(conf_file, ["profiles.enabled=false"])
        if loaded.config is None:
            return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
        place = Path(loaded.config.profiles.path)
    rules, problems = read_rule_set(place)
    return (place if place.is_dir() else SHIPPED), rules, problems


def _in_force(rules: RuleSet) -> Iterator[tuple[str, Profile]]:
    if rules.hidden is not None:
        yield "hidden", rules.hidden
    for stage, refs in (("common", rules.common), ("personal", rules.personal)):
        for ref in refs:
            if ref.active and ref.file in rules.profiles:
                yield stage, rules.profiles[ref.file]


def _words(rules: RuleSet) -> Iterator[str]:
    for stage, profile in _in_force(rules):
        whom = ""
        if stage == "personal":
            listed = f"the list {profile.recipient_list}" if profile.recipient_list else ""
            whom = f" for {listed or ', '.join(profile.recipients) or 'everybody'}"
        yield ""
        yield f"{stage} profile {profile.name}{whom}"
        if profile.description:
            yield f"  {profile.description}"
        for number, rule in enumerate(profile.rules, 1):
            yield f"  {number}. IF {describe_conditions(rule.conditions)}"
            for word, action in zip(("THEN", *["    "] * len(rule.actions)), rule.actions, strict=False):
                yield f"     {word} {describe_action(action)}"
