"""Which group a message belongs to, what its groups ask of one inspection, and how the configuration becomes one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.model.finding import ObjectFilterSpec, ObjectKind, ObjectReport, ObjectStatus, ScanOptions, Span
from gatepost.model.verdict import ObjectAction
from gatepost.notices.template import TemplateError
from gatepost.policy.group import GroupPolicy, GroupTable, scan_options

DEADLINE_S = 30.0


def table(*groups, ave=None):
    return GroupTable.from_config([*groups, Group()], ave or Ave(), DEADLINE_S)


def compiled(**settings):
    return GroupPolicy.from_config(Group(**settings), Ave(), DEADLINE_S)


@pytest.mark.parametrize(
    ("sender", "recipient", "name"),
    [
        ("a@in.example", "b@out.example", "both"),
        ("A@IN.EXAMPLE", "B@OUT.EXAMPLE", "both"),
        ("a@in.example", "b@else.example", "policy"),
        ("a@else.example", "b@out.example", "policy"),
        ("boss@x.example", "anyone@y.example", "from-boss"),
        ("", "sales@y.example", "to-sales"),
        ("a@x.example", "sales@y.example", "to-sales"),
        ("", "b@y.example", "policy"),
        ("", "", "policy"),
    ],
)
def test_sender_and_recipient_must_match(sender, recipient, name):
    groups = table(
        Group(name="both", senders=("*@in.example",), recipients=("*@out.example",)),
        Group(name="from-boss", senders=("boss@*",)),
        Group(name="to-sales", recipients=("sales@y.example", "order?@y.example")),
    )
    assert groups.resolve(sender, recipient).name == name
    assert [group.name for group, _ in groups.partition(sender, [recipient])] == [name]


def test_the_first_match_in_order_wins():
    one = Group(name="one", recipients=("*@c.example",))
    two = Group(name="two", recipients=("user@*",))
    assert table(one, two).resolve("", "user@c.example").name == "one"
    assert table(two, one).resolve("", "user@c.example").name == "two"


def test_recipients_are_parted_in_order_and_completely():
    groups = table(
        Group(name="same", recipients=("a*@c.example",), check=False),
        Group(name="same", recipients=("b*@c.example",)),
        Group(name="never", senders=("nobody@x",)),
    )
    recipients = ["b1@c.example", "x@d.example", "a1@c.example", "b2@c.example", "a2@c.example"]
    parts = [(group.name, group.check, indices) for group, indices in groups.partition("s@x", recipients)]
    assert parts == [("same", True, (0, 3)), ("policy", True, (1,)), ("same", False, (2, 4))]
    assert groups.partition("s@x", []) == []
    assert table().partition("s@x", []) == []


MASKS = ("*@*", "*@a.example", "u@*", "u@a.example", "?@b.example")
ADDRESSES = ("", "u@a.example", "v@a.example", "u@b.example", "v@b.example", "U@C.example")


@given(st.lists(st.tuples(st.sampled_from(MASKS), st.sampled_from(MASKS)), max_size=6), st.sampled_from(ADDRESSES))
def test_the_index_finds_what_a_walk_in_order_finds(pairs, sender):
    groups = table(*(Group(name=str(i), senders=(s,), recipients=(r,)) for i, (s, r) in enumerate(pairs)))
    walked = {}
    for index, recipient in enumerate(ADDRESSES):
        first = next(g for g in groups.groups if g.senders.matches(sender) and g.recipients.matches(recipient))
        walked.setdefault(first.name, []).append(index)
    assert {group.name: list(indices) for group, indices in groups.partition(sender, ADDRESSES)} == walked


def test_a_table_needs_a_last_group_for_everybody():
    with pytest.raises(ValueError, match="match everything"):
        GroupTable([])
    with pytest.raises(ValueError, match="match everything"):
        GroupTable([compiled(recipients=("*@c.example",))])


def test_values_come_from_the_configuration():
    ave = Ave(
        cure=True,
        scan_archives=False,
        scan_mail_bases=False,
        scan_packed=False,
        scan_timeout=7.0,
        max_archive_depth=3,
        max_unpacked_size=99,
        use_clean_cache=True,
    )
    group = GroupPolicy.from_config(
        Group(action_error=ObjectAction.REMOVE, block_message=(ObjectStatus.ERROR,)), ave, DEADLINE_S
    )
    assert group.scan == ScanOptions(
        cure=True,
        archives=False,
        mail_bases=False,
        packed=False,
        timeout_s=7.0,
        archive_depth=3,
        unpacked_bytes=99,
        deadline_s=DEADLINE_S,
        cache=True,
    )
    assert group.actions[ObjectStatus.ERROR] is ObjectAction.REMOVE
    assert set(group.actions) == set(ObjectStatus) - {ObjectStatus.CLEAN}
    assert group.block_message == {ObjectStatus.ERROR}


def test_templates_are_loaded_and_faults_told(tmp_path):
    path = tmp_path / "p.tmpl"
    path.write_text("gone: %OBJECT_NAME%")
    group = GroupPolicy.from_config(Group(placeholder_template=str(path)), Ave(), DEADLINE_S)
    assert group.placeholder_template.render({"OBJECT_NAME": "x"}) == "gone: x"
    assert "removed" in compiled().placeholder_template.render({"OBJECT": ("x",)})
    path.write_text("%")
    with pytest.raises(TemplateError):
        table(Group(placeholder_template=str(path)))


def test_one_inspection_serves_the_union_of_the_groups():
    def group(*, check=True, **options):
        return msgspec.structs.replace(compiled(check=check), scan=ScanOptions(**options))

    assert scan_options([group(check=False), group(check=False)]) is None
    assert scan_options([]) is None
    assert scan_options([group(cure=True, timeout_s=5.0)]) == ScanOptions(cure=True, timeout_s=5.0)
    union = scan_options(
        [
            group(cure=True, archives=False, timeout_s=5.0, archive_depth=2, unpacked_bytes=10, archive_members=9),
            group(cure=False, archives=True, timeout_s=9.0, archive_depth=1, unpacked_bytes=20, archive_members=8),
            group(check=False, timeout_s=0.0, archive_depth=50),
        ]
    )
    assert union == ScanOptions(
        cure=True, archives=True, timeout_s=9.0, archive_depth=2, unpacked_bytes=20, archive_members=9
    )
    unlimited = scan_options([group(timeout_s=5.0), group(timeout_s=0.0)])
    assert unlimited.timeout_s == 0.0


def test_an_inspection_filters_what_every_group_filters():
    exe = Group(include_by_name=("*.exe",), filters_names=True)
    inside = Group(include_by_name=("*.exe",), filters_names=True, filter_inside_archives=True)
    spec = ObjectFilterSpec(names=True, include_names=("*.exe",), include_types=("*",))

    def of(*groups):
        return scan_options([GroupPolicy.from_config(g, Ave(use_clean_cache=True), DEADLINE_S) for g in groups])

    assert of(exe).filters == of(exe, exe).filters == (spec,)
    assert of(exe, inside).filters == (spec, msgspec.structs.replace(spec, inside=True))
    assert of(exe, Group()).filters == ()
    # Members can be filtered only where they are listed, which those of a known object are not.
    assert [of(exe).cache, of(inside).cache, of(exe, inside).cache] == [True, False, False]


def part(name="", content_type="", kind=ObjectKind.PART):
    return ObjectReport(
        -1, kind, ObjectStatus.CLEAN, name=name, content_type=content_type, whole=Span(0, 9), body=Span(4, 9)
    )


@pytest.mark.parametrize(
    ("settings", "report", "filtered"),
    [
        ({}, part("a.exe", "application/x"), False),
        ({"include_by_name": ("*.exe",), "filters_names": True}, part("A.EXE", "x/y"), True),
        ({"include_by_name": ("*.exe",), "filters_names": True}, part("a.txt", "x/y"), False),
        # set in the configuration or not is what counts, not the value
        ({"include_by_name": ("*.exe",)}, part("a.exe", "x/y"), False),
        (
            {"include_by_name": ("*.exe",), "exclude_by_name": ("good*",), "filters_names": True},
            part("good.exe"),
            False,
        ),
        ({"include_by_name": ("*.exe",), "exclude_by_name": ("good*",), "filters_names": True}, part("bad.exe"), True),
        # only exceptions set: everything else is filtered, but the text of a message is no attachment
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("a.pdf", "application/pdf"), True),
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("a.txt", "text/plain"), False),
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("", "text/html"), False),
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("", "image/png"), True),
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("", "", ObjectKind.BLOCK), True),
        ({"exclude_by_name": ("*.txt",), "filters_names": True}, part("", "text/plain", ObjectKind.BLOCK), False),
        ({"include_by_mime": ("image/*",), "filters_types": True}, part("a.png", "image/png"), True),
        ({"include_by_mime": ("image/*",), "filters_types": True}, part("a.png", "text/plain"), False),
        (
            {"include_by_mime": ("image/*",), "exclude_by_mime": ("image/gif",), "filters_types": True},
            part("a.gif", "image/gif"),
            False,
        ),
        ({"include_by_mime": ("text/*",), "filters_types": True}, part("", ""), True),
        ({"include_by_mime": ("*",), "filters_types": True}, part("", "", ObjectKind.HEADER), False),
        ({"include_by_name": ("*",), "filters_names": True}, part("m.exe", "", ObjectKind.MEMBER), False),
    ],
)
def test_filters(settings, report, filtered):
    assert compiled(**settings).filter.matches(report) is filtered
