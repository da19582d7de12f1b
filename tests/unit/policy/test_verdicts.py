"""Verdicts: every status with every action, places an action cannot reach, and that nothing bad slips through."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.model.finding import SEVERITY, Analysis, ObjectKind, ObjectReport, ObjectStatus, Span
from gatepost.model.verdict import EncryptedMail, ObjectAction
from gatepost.policy.decide import WHOLE_MESSAGE, decide, error_analysis, resolve_edits, resolve_statuses
from gatepost.policy.group import GroupPolicy

CLEAN, INFECTED, SUSPICIOUS = ObjectStatus.CLEAN, ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS
DISINFECTED, ERROR, FILTERED = ObjectStatus.DISINFECTED, ObjectStatus.ERROR, ObjectStatus.FILTERED
PROTECTED = ObjectStatus.PROTECTED
PASS, CURE, REMOVE, PLACEHOLDER = (
    ObjectAction.PASS,
    ObjectAction.CURE,
    ObjectAction.REMOVE,
    ObjectAction.PLACEHOLDER,
)
BAD = [status for status in ObjectStatus if status is not CLEAN]


def group(actions=None, *, cure=True, default=PASS, **more):
    chosen = {f"action_{status}": (actions or {}).get(status, default) for status in BAD}
    return GroupPolicy.from_config(Group(**chosen, **more), Ave(cure=cure), 60.0)


def header(status=CLEAN, **more):
    return ObjectReport(-1, ObjectKind.HEADER, status, **more)


def part(status=CLEAN, parent=-1, kind=ObjectKind.PART, **more):
    if status is DISINFECTED:
        more.setdefault("cured", b"CURED")
    return ObjectReport(parent, kind, status, whole=Span(10, 90), body=Span(20, 90), **more)


def member(status, parent, **more):
    return ObjectReport(parent, ObjectKind.MEMBER, status, **more)


def judge(objects, policy):
    analysis = Analysis(tuple(objects))
    verdict = decide(analysis, policy)
    return verdict, {edit.index: edit.action for edit in resolve_edits(analysis, verdict)}


def test_clean_mail_has_one_status_and_no_decisions():
    verdict, edits = judge([header(), part(), part()], group(default=REMOVE))
    assert verdict.statuses == (CLEAN,)
    assert not verdict.decisions
    assert not verdict.blocked
    assert edits == {}
    assert verdict.reason == "nothing found"


@pytest.mark.parametrize(("status", "action"), list(itertools.product(BAD, ObjectAction)))
def test_every_status_with_every_action(status, action):
    policy = group({status: action}, include_by_name=("*.flt",), filters_names=True)
    reported = CLEAN if status is FILTERED else status
    name = "a.flt" if status is FILTERED else "a.dat"
    verdict, edits = judge([header(), part(), part(reported, name=name)], policy)
    assert verdict.statuses == (status,)
    if action is PASS:
        expected = {}
    elif action is CURE and status is not DISINFECTED:
        expected = {2: REMOVE}  # nothing to put in its place
    else:
        expected = {2: action}
    assert edits == expected
    assert not verdict.blocked
    assert [(d.index, d.status, d.name) for d in verdict.decisions] == [(2, status, name)]


@pytest.mark.parametrize("status", BAD)
def test_blocking_by_list_all_and_none(status):
    objects = [header(), part(CLEAN if status is FILTERED else status, name="a.flt" if status is FILTERED else "a")]
    common = {"include_by_name": ("*.flt",), "filters_names": True}
    for listed, blocked in [((status,), True), (tuple(BAD), True), ((), False), (tuple(set(BAD) - {status}), False)]:
        verdict, edits = judge(objects, group(block_message=listed, **common))
        assert verdict.blocked is blocked
        assert edits == {}
        assert (f"blocked for {status}" in verdict.reason) is blocked


def test_without_check_nothing_is_judged():
    verdict, edits = judge([header(INFECTED), part(INFECTED, delete=True)], group(default=REMOVE, check=False))
    assert verdict.statuses == ()
    assert not verdict.blocked
    assert edits == {}
    assert "not checked" in verdict.reason


def test_without_cure_a_disinfected_object_counts_as_infected():
    policy = group({DISINFECTED: CURE, INFECTED: REMOVE}, cure=False)
    verdict, edits = judge([part(DISINFECTED)], policy)
    assert verdict.statuses == (INFECTED,)
    assert edits == {0: REMOVE}


def test_demanded_removal_overrides_every_action():
    for action in ObjectAction:
        _, edits = judge([part(INFECTED, delete=True)], group({INFECTED: action}))
        assert edits == {0: REMOVE}


def test_statuses_come_worst_first():
    objects = [part(status) for status in reversed(SEVERITY)]
    verdict, _ = judge(objects, group())
    assert verdict.statuses == tuple(status for status in SEVERITY if status is not CLEAN)


class TestEncryptedMail:
    NOT_SCANNED = "not scanned: encrypted for its recipient (OpenPGP, S/MIME)"

    def test_it_passes_as_it_is_and_the_verdict_says_so(self):
        objects = [header(), part(encrypted="S/MIME"), part(), member(CLEAN, 2, encrypted="OpenPGP")]
        verdict, edits = judge(objects, group(default=REMOVE, block_message=tuple(BAD)))
        assert verdict.statuses == (CLEAN,)
        assert verdict.encrypted == ("OpenPGP", "S/MIME")
        assert verdict.reason == f"nothing found; {self.NOT_SCANNED}"
        assert edits == {}
        verdict, _ = judge([*objects, part(INFECTED, threat="T")], group())
        assert verdict.reason.endswith(f"infected (T), passed; {self.NOT_SCANNED}")

    def test_a_group_has_it_protected_with_the_actions_for_that(self):
        policy = group({PROTECTED: PLACEHOLDER}, encrypted_mail="protected")
        objects = [header(), part(encrypted="S/MIME"), part(), member(CLEAN, 2, encrypted="OpenPGP")]
        verdict, edits = judge(objects, policy)
        assert verdict.statuses == (PROTECTED,)
        assert verdict.encrypted == ()
        assert edits == {1: PLACEHOLDER, 2: PLACEHOLDER}
        assert judge(objects, group(encrypted_mail="protected", block_message=("protected",)))[0].blocked

    @pytest.mark.parametrize("status", [INFECTED, SUSPICIOUS, ERROR, PROTECTED])
    def test_what_is_worse_stays_worse(self, status):
        verdict, _ = judge([part(status, encrypted="OpenPGP")], group(encrypted_mail="protected"))
        assert verdict.statuses == (status,)

    def test_a_cured_object_that_holds_it_is_protected_too(self):
        policy = group({DISINFECTED: CURE, PROTECTED: REMOVE}, encrypted_mail="protected")
        assert judge([part(DISINFECTED), member(CLEAN, 0, encrypted="OpenPGP")], policy)[1] == {0: REMOVE}

    def test_what_is_filtered_is_filtered_and_nothing_else(self):
        policy = group({FILTERED: REMOVE}, encrypted_mail="protected", include_by_name=("*.p7m",), filters_names=True)
        verdict, edits = judge([part(name="a.p7m", encrypted="S/MIME"), member(CLEAN, 0, encrypted="OpenPGP")], policy)
        assert verdict.statuses == (FILTERED,)
        assert edits == {0: REMOVE}


class TestMembers:
    def test_the_action_falls_on_what_holds_them(self):
        objects = [header(), part(name="a.zip"), member(CLEAN, 1), member(INFECTED, 2, threat="T"), part()]
        verdict, edits = judge(objects, group({INFECTED: PLACEHOLDER}))
        assert edits == {1: PLACEHOLDER}
        assert [(d.index, d.status, d.threat) for d in verdict.decisions] == [(1, INFECTED, "T"), (3, INFECTED, "T")]

    def test_what_holds_them_has_the_worst_of_their_statuses(self):
        for statuses in [(ERROR, INFECTED, PROTECTED), (INFECTED, ERROR, PROTECTED), (PROTECTED, ERROR, INFECTED)]:
            verdict, _ = judge([part(), *(member(status, 0) for status in statuses)], group())
            assert [d.status for d in verdict.decisions] == [INFECTED, *statuses]

    def test_the_strongest_of_several_actions_holds(self):
        policy = group({INFECTED: REMOVE, PROTECTED: PLACEHOLDER, ERROR: PASS})
        objects = [part(PROTECTED), member(PROTECTED, 0), member(INFECTED, 0), member(ERROR, 0)]
        assert judge(objects, policy)[1] == {0: REMOVE}

    def test_a_cured_member_counts_as_infected(self):
        policy = group({DISINFECTED: CURE, INFECTED: REMOVE})
        objects = [part(DISINFECTED, cured=None), member(DISINFECTED, 0, cured=b"CURED")]
        verdict, edits = judge(objects, policy)
        assert verdict.statuses == (INFECTED,)
        assert edits == {0: REMOVE}

    def test_unless_its_archive_was_rebuilt(self):
        policy = group({DISINFECTED: CURE, INFECTED: REMOVE})
        verdict, edits = judge([part(DISINFECTED, cured=b"zip"), member(DISINFECTED, 0)], policy)
        assert verdict.statuses == (DISINFECTED,)
        assert edits == {0: CURE}

    def test_a_demanded_removal_takes_the_attachment(self):
        assert judge([part(), member(INFECTED, 0, delete=True)], group())[1] == {0: REMOVE}

    def test_a_cure_is_given_up_when_something_within_must_go(self):
        policy = group({DISINFECTED: CURE, INFECTED: REMOVE})
        objects = [part(DISINFECTED), part(CLEAN, 0), part(INFECTED, 1, kind=ObjectKind.BLOCK)]
        assert judge(objects, policy)[1] == {0: REMOVE, 2: REMOVE}
        assert judge([part(DISINFECTED), part(DISINFECTED, 0)], policy)[1] == {0: PLACEHOLDER, 1: CURE}
        assert judge([part(DISINFECTED), part(SUSPICIOUS, 0)], policy)[1] == {0: CURE}


class TestFilters:
    policy = group({FILTERED: PASS}, default=REMOVE, include_by_name=("*.zip",), filters_names=True)

    def test_what_is_filtered_is_not_opened(self):
        objects = [part(INFECTED, name="a.zip"), member(INFECTED, 0), member(INFECTED, 1, delete=True)]
        verdict, edits = judge(objects, self.policy)
        assert verdict.statuses == (FILTERED,)
        assert edits == {}

    def test_a_part_within_is_judged_on_its_own(self):
        objects = [part(name="a.zip"), part(INFECTED, 0), member(INFECTED, 1)]
        assert judge(objects, self.policy)[1] == {1: REMOVE}

    def test_members_are_not_filtered_by_name(self):
        assert judge([part(name="a.tar"), member(CLEAN, 0, name="b.zip")], self.policy)[0].statuses == (CLEAN,)

    @pytest.mark.parametrize("name", ["b.zip", "dir/B.ZIP", "dir\\b.zip"])
    def test_unless_the_group_wants_that(self, name):
        policy = group(
            {FILTERED: REMOVE},
            default=PASS,
            include_by_name=("*.zip",),
            filters_names=True,
            filter_inside_archives=True,
        )
        verdict, edits = judge([part(name="a.tar"), member(CLEAN, 0, name=name), member(CLEAN, 0, name="c")], policy)
        assert verdict.statuses == (FILTERED,)
        assert edits == {0: REMOVE}


class TestUnreachable:
    @pytest.mark.parametrize("action", [REMOVE, PLACEHOLDER, CURE])
    @pytest.mark.parametrize("status", [INFECTED, DISINFECTED, ERROR])
    def test_a_condemned_header_blocks(self, status, action):
        policy = group({INFECTED: REMOVE, DISINFECTED: REMOVE, status: action})
        verdict, edits = judge([header(status, cured=b"x"), part()], policy)
        assert verdict.blocked
        assert edits == {}
        assert "header" in verdict.reason

    def test_a_passed_header_does_not(self):
        verdict, edits = judge([header(INFECTED), part()], group({INFECTED: PASS}))
        assert not verdict.blocked
        assert edits == {}
        assert verdict.statuses == (INFECTED,)

    def test_a_nested_header_is_like_a_member(self):
        nested = msgspec.structs.replace(header(INFECTED), parent=0)
        verdict, edits = judge([part(), nested], group({INFECTED: REMOVE}))
        assert not verdict.blocked
        assert edits == {0: REMOVE}

    def test_an_object_that_is_the_message_is_no_part(self):
        whole = ObjectReport(-1, ObjectKind.PART, ERROR, whole=Span(0, 90), body=Span(0, 90))
        policy = group({FILTERED: PASS}, default=REMOVE, include_by_mime=("*",), filters_types=True)
        verdict, edits = judge([whole], policy)
        assert verdict.statuses == (ERROR,)
        assert edits == {WHOLE_MESSAGE: PLACEHOLDER}

    @pytest.mark.parametrize("action", [REMOVE, PLACEHOLDER])
    def test_a_failed_inspection_replaces_the_whole_body(self, action):
        analysis = error_analysis("the filter died twice")
        verdict = decide(analysis, group({ERROR: action}))
        assert verdict.statuses == (ERROR,)
        assert [(e.index, e.action) for e in resolve_edits(analysis, verdict)] == [(WHOLE_MESSAGE, PLACEHOLDER)]
        assert "the filter died twice" in verdict.reason

    def test_a_failed_inspection_passes_or_blocks_as_told(self):
        analysis = error_analysis("late")
        passed = decide(analysis, group({ERROR: PASS}))
        assert passed.statuses == (ERROR,)
        assert resolve_edits(analysis, passed) == ()
        assert decide(analysis, group({ERROR: PASS}, block_message=(ERROR,))).blocked

    def test_an_analysis_of_nothing_is_an_error(self):
        verdict, edits = judge([], group({ERROR: REMOVE}))
        assert verdict.statuses == (ERROR,)
        assert edits == {WHOLE_MESSAGE: PLACEHOLDER}
        assert judge([], group({ERROR: PASS}))[1] == {}
        assert judge([], group(block_message=(ERROR,)))[0].blocked

    def test_one_edit_of_the_whole_takes_the_place_of_all_others(self):
        verdict, edits = judge([part(INFECTED), member(ERROR, -1)], group(default=REMOVE))
        assert edits == {WHOLE_MESSAGE: PLACEHOLDER}
        assert verdict.statuses == (INFECTED, ERROR)


def test_the_reason_tells_names_and_stays_short():
    objects = [part(INFECTED, name="n" * 5000, threat="T")] * 100
    verdict, _ = judge(objects, group(default=REMOVE, block_message=(INFECTED,)))
    assert len(verdict.reason) < 1000
    assert "95 more" in verdict.reason
    reason = judge([part(ERROR, name="a.zip", evidence="encrypted header")], group(default=REMOVE))[0].reason
    assert reason == "a.zip: error (encrypted header), removed"


@st.composite
def analyses(draw):
    reports = []
    for index in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(ObjectKind))
        whole = draw(st.sampled_from([Span(0, 0), Span(5, 50)]))
        reports.append(
            ObjectReport(
                draw(st.integers(-1, max(index, 1))),
                kind,
                draw(st.sampled_from(ObjectStatus)),
                name=draw(st.sampled_from(["", "a.exe", "b.txt"])),
                whole=whole,
                cured=draw(st.sampled_from([None, b"CURED"])),
                delete=draw(st.booleans()),
                encrypted=draw(st.sampled_from(["", "", "S/MIME", "OpenPGP"])),
            )
        )
    return Analysis(tuple(reports))


@st.composite
def policies(draw):
    return group(
        {status: draw(st.sampled_from(ObjectAction)) for status in BAD},
        cure=draw(st.booleans()),
        block_message=tuple(draw(st.sets(st.sampled_from(BAD)))),
        include_by_name=("*.exe",),
        filters_names=draw(st.booleans()),
        encrypted_mail=draw(st.sampled_from(EncryptedMail)),
    )


@settings(max_examples=300)
@given(analyses(), policies())
def test_nothing_bad_stays_unless_its_action_is_pass(analysis, policy):
    verdict = decide(analysis, policy)
    edits = {edit.index: edit.action for edit in resolve_edits(analysis, verdict)}
    statuses = resolve_statuses(analysis, policy)
    decided = {decision.index for decision in verdict.decisions}
    assert set(verdict.statuses) - {CLEAN} == {s for s in statuses if s is not CLEAN} or not analysis.objects
    assert verdict.blocked or not (set(verdict.statuses) & policy.block_message)
    for index, (report, status) in enumerate(zip(analysis.objects, statuses, strict=True)):
        assert not report.encrypted or status is not CLEAN or report.encrypted in verdict.encrypted
        if status is CLEAN:
            continue
        assert index in decided
        passes = policy.actions[status] is PASS and (status is FILTERED or not report.delete)
        if passes or verdict.blocked or WHOLE_MESSAGE in edits:
            continue
        # some edit must cover the object: its own, or one of what holds it
        chain, at = [], index
        while True:
            chain.append(at)
            parent = analysis.objects[at].parent
            if not 0 <= parent < at:
                break
            at = parent
        covering = [edits[i] for i in chain if i in edits]
        assert covering
        if status is not DISINFECTED:
            assert covering[-1] is not CURE  # of nested edits the outermost holds
