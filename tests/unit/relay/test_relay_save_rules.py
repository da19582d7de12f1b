"""Which stores an original goes to, by lists, verdict and what is done to the message."""

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import Verdict
from gatepost.relay.save_rules import SaveRules, plan_places, save_rules
from gatepost.storage.item import StoreKind
from gatepost.storage.places import store_places

INF, SSP, CRD = ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS, ObjectStatus.DISINFECTED
Q, B = StoreKind.QUARANTINE, StoreKind.BACKUP


def rules(both=(), quarantine=(), *, keep: bool = False) -> SaveRules:
    return SaveRules("/q", "/b", frozenset(both), frozenset(quarantine), keep)


@pytest.mark.parametrize(
    ("chosen", "statuses", "blocked", "changed", "expected"),
    [
        (rules(), (INF,), True, True, []),
        (rules((INF, SSP)), (INF,), False, False, [(Q, True)]),
        (rules((INF, SSP)), (SSP,), False, False, [(B, True)]),
        (rules((INF, SSP)), (INF, SSP), True, False, [(Q, True), (B, True)]),
        (rules((INF, SSP)), (INF, CRD), True, False, [(Q, True)]),
        (rules((SSP,)), (INF,), True, True, []),
        (rules((), (INF, SSP)), (SSP,), False, False, [(Q, True)]),
        (rules((INF,), (INF,)), (INF,), False, False, [(Q, True)]),
        (rules(keep=True), (INF,), True, False, [(B, False)]),
        (rules(keep=True), (CRD,), False, True, [(B, False)]),
        (rules(keep=True), (INF,), False, False, []),
        (rules((INF,), keep=True), (INF,), True, True, [(Q, True)]),
        (rules((SSP,), keep=True), (INF,), True, True, [(B, False)]),
    ],
)
def test_places(chosen, statuses, blocked, changed, expected):
    places = plan_places(chosen, Verdict("g", statuses, blocked=blocked), changed=changed)
    assert [(place.store, place.listed) for place in places] == expected
    assert all(place.directory == {Q: "/q", B: "/b"}[place.store] for place in places)


def config_of(extra: str, policy: str = ""):
    text = build_default_config(state_path="/state").replace("[policy]\n", f"[policy]\n{policy}", 1)
    loaded = load_text(text + extra, "gatepost.toml")
    assert loaded.config is not None, loaded.problems
    return loaded.config


def test_rules_are_those_of_each_group():
    group = (
        '[[group]]\nname = "one"\nrecipients = ["*@one.example"]\nquarantine_path = "/one"\nkeep_originals = false\n'
    )
    found = save_rules(config_of(group, 'save_in_quarantine = ["infected", "spam"]\nsave_in_qb = ["error"]\n').groups)
    assert found["policy"].quarantine == "/state/quarantine"
    assert found["policy"].to_quarantine == {INF}  # spam is not this stage's business
    assert (found["one"].quarantine, found["one"].backup) == ("/one", "/state/backup")
    assert found["one"].to_both == {ObjectStatus.ERROR}
    assert [found[name].keep_originals for name in ("one", "policy")] == [False, True]


def test_every_store_is_named_once_with_what_it_keeps():
    group = '[[group]]\nname = "one"\nrecipients = ["*@one.example"]\nquarantine_path = "/one"\n'
    stores = '\n[stores]\nquarantine_days = 7\nincoming_archive_size = "3 MiB"\n'
    places = store_places(config_of(group + stores))
    told = {(place.kind.value, place.directory): (place.days, place.bytes) for place in places}
    room = 10 * 1024**3
    assert told == {
        ("quarantine", "/state/quarantine"): (7, room),
        ("quarantine", "/one"): (7, room),
        ("backup", "/state/backup"): (30, room),
        ("spam-quarantine", "/state/quarantine-as"): (30, room),
    }
    assert places[0].directory == "/state/quarantine"
