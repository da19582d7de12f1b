"""What rules cost: deciding by 1,000 personal profiles of 10,000 recipients, and how that grows.

`python tools/bench_rules.py` prints µs of CPU for one message. One recipient is an ordinary message; the rule set has
a common profile of ten rules with regular expressions in front. Figures are kept in docs/manual/rules.md.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from gatepost.config.profiles_check import check_rule_set
from gatepost.model.profile import (
    Act,
    Action,
    AddressList,
    Condition,
    ConditionKind,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
)
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamVerdict
from gatepost.policy.profile_header import HeaderView, Line
from gatepost.policy.profile_table import MailFacts, RuleTable, ShareFacts
from gatepost.policy.profiles import decide_rules

K = ConditionKind
ROUNDS: Final = 300
HEAD: Final = ("profiles", "recipients", "check s", "compile s", "1 rcpt µs", "10 µs", "100 µs")


def build_set(profiles: int, recipients: int) -> RuleSet:
    """Return a set in which each personal profile has its share of the recipients, half of them by a list."""
    share = recipients // profiles
    common = tuple(
        Rule(
            conditions=(Condition(test=K.HEADER_MATCHES, header="Subject", value=rf"(offer|price)\s+{number}[0-9]+!"),),
            actions=(Action(do=Act.HEADER_NEW, header="X-Rule", value=str(number)),),
        )
        for number in range(10)
    )
    made, lists = {"common": Profile(name="Common", rules=common)}, {}
    for number in range(profiles):
        owners = tuple(f"user{number * share + index}@example.org" for index in range(share))
        name = f"p{number}"
        rules = (
            Rule(
                conditions=(
                    Condition(test=K.STATUS, value="spam"),
                    Condition(test=K.SENDER, value="@example.com", negated=True),
                ),
                actions=(Action(do=Act.BLACK_HOLE),),
            ),
            Rule(
                conditions=(Condition(test=K.HEADER_MATCHES, header="Subject", value=f"word{number}"),),
                actions=(Action(do=Act.HEADER_LABEL, header="Subject", value=f"[{number}]"),),
            ),
        )
        if number % 2:
            lists[name] = AddressList(name=name, addresses=owners)
            made[name] = Profile(name=name, recipient_list=name, rules=rules)
        else:
            made[name] = Profile(name=name, recipients=owners, rules=rules)
    refs = tuple(ProfileRef(file=name) for name in made if name != "common")
    return RuleSet(common=(ProfileRef(file="common"),), personal=refs, profiles=made, emails=lists)


def measure(act: Callable[[], object]) -> float:
    """Return µs of CPU of one call, the median of several rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        act()
        times.append((time.process_time_ns() - began) / 1000)
    return sorted(times)[ROUNDS // 2]


def deciding(table: RuleTable, recipients: int, known: int) -> Callable[[], object]:
    """Return what decides about a message to some of the recipients of a set."""
    chosen = random.Random(7).sample(range(known), recipients)
    facts = MailFacts(
        client_ip="192.0.2.7",
        sender="someone@example.net",
        recipients=tuple(f"user{each}@example.org" for each in chosen),
        size=20_000,
    )
    verdict = SpamVerdict(SpamStatus.NOT_DETECTED, rate=12)

    def header() -> HeaderView:
        return HeaderView([Line("Subject", "An offer of words, price 42 and more of it, for you")])

    share = ShareFacts(indices=range(recipients), spam=verdict, header=header)
    return lambda: decide_rules(table, facts, [share])


def main() -> None:
    """Print the table."""
    print(" ".join(f"{title:>11}" for title in HEAD))
    for profiles, recipients in ((10, 100), (100, 1_000), (1_000, 10_000), (2_000, 20_000)):
        rules = build_set(profiles, recipients)
        began = time.process_time()
        assert not check_rule_set(rules)
        checked = time.process_time() - began
        began = time.process_time()
        table = RuleTable(rules)
        table.warm_up()
        compiled = time.process_time() - began
        costs = [measure(deciding(table, number, recipients)) for number in (1, 10, 100)]
        row = (profiles, recipients, f"{checked:.2f}", f"{compiled:.2f}", *(f"{cost:.1f}" for cost in costs))
        print(" ".join(f"{cell:>11}" for cell in row))


if __name__ == "__main__":
    main()
