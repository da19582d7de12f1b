"""All facts that rules may ask for by name: `FACTS`."""

from collections.abc import Callable
from typing import Final

from gatepost.antispam.headers import build, destinations, people
from gatepost.antispam.headers.picture import Picture

Fact = Callable[[Picture], str]

FACTS: Final[dict[str, Fact]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        build.alternative_single,
        build.charset_disagrees,
        build.date_future,
        build.date_invalid,
        build.date_past,
        build.helo_ours,
        build.html_only,
        build.no_text,
        build.nothing,
        build.received_backwards,
        build.recent,
        build.subject_capitals,
        build.subject_encoded_needlessly,
        build.subject_utf8,
        destinations.brand_unlinked,
        destinations.call_about_money,
        destinations.document_elsewhere,
        destinations.link_ends_in_recipient,
        destinations.links_elsewhere,
        destinations.pictures_alone,
        destinations.subject_brand,
        destinations.text_brand,
        people.answer_elsewhere,
        people.answer_free_mail,
        people.answer_other_free_mail,
        people.brand,
        people.brand_free_mail,
        people.display_address,
        people.display_own,
        people.display_recipient,
        people.domain_disguised,
        people.envelope_free_mail,
        people.envelope_sender_differs,
        people.from_ambiguous,
        people.from_disguised,
        people.from_invalid,
        people.name_invisible,
        people.name_mixed,
        people.own_lookalike,
        people.own_other_suffix,
        people.protected_name,
        people.recipients_alike,
        people.recipients_unnamed,
        people.self_addressed,
        people.subject_names_recipient,
        people.to_invalid,
    )
}
"""By name: what a regular expression cannot say. "" means that it does not hold, anything else what was seen."""
