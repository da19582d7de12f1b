"""A file that Python, Perl or Ruby takes out of an odd mail is seen by us, too: thousands of mails, each read by all."""

import email
import email.policy
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.odd_mails import MARK, build

from gatepost.mime.decode import decode_body
from gatepost.mime.structure import parse

MAILS = 1500
RUBY = r"""
require 'mail'
require 'json'
mark = [ARGV[1]].pack('H*')
def walk(part, &block)
  block.call(part)
  part.parts.each { |each| walk(each, &block) }
end
puts JSON.dump(JSON.parse(File.read(ARGV[0])).map { |hex|
  shown = false
  begin
    walk(Mail.read_from_string([hex].pack('H*'))) { |part| shown ||= (part.body.decoded.b.include?(mark) rescue false) }
  rescue StandardError
  end
  shown
})
"""
PERL = r"""
use strict; use JSON::PP; use MIME::Parser; use Email::MIME;
local $SIG{__WARN__} = sub {};
my ($file, $mark) = ($ARGV[0], pack('H*', $ARGV[1]));
sub shown { my $part = shift; if (my @parts = $part->parts) { for (@parts) { return 1 if shown($_) } }
  my $body = $part->bodyhandle or return 0; return index($body->as_string, $mark) >= 0 }
open my $in, '<', $file; local $/; my @answers;
for my $hex (@{decode_json(<$in>)}) {
  my $mail = pack('H*', $hex); my $shown = 0;
  eval { my $parser = MIME::Parser->new; $parser->output_to_core(1); $parser->tmp_to_core(1);
    $shown = shown($parser->parse_data($mail)) };
  eval { Email::MIME->new($mail)->walk_parts(sub { my $part = shift; eval { $shown ||= index($part->body, $mark) >= 0 } }) };
  push @answers, $shown ? JSON::PP::true : JSON::PP::false;
}
print encode_json(\@answers);
"""
READERS = {"ruby": (["ruby", "-e", RUBY], ["ruby", "-rmail", "-e", ""], "ruby-mail"),
           "perl": (["perl", "-e", PERL], ["perl", "-MMIME::Parser", "-MEmail::MIME", "-e", ""], "libmime-tools-perl libemail-mime-perl")}  # fmt: skip


@pytest.fixture(scope="module")
def mails() -> list[tuple[bytes, str]]:
    chance = random.Random(11)
    return [build(chance, 2) for _ in range(MAILS)]


@pytest.fixture(scope="module")
def ours(mails: list[tuple[bytes, str]]) -> list[bool]:
    return [_seen(mail) for mail, _ in mails]


def _seen(mail: bytes) -> bool:
    return any(MARK in decode_body(holder.content, part).data for holder, part in parse(mail).leaves())


def _shown_by_python(mail: bytes, policy: email.policy.Policy) -> bool:
    shown = False
    for part in email.message_from_bytes(mail, policy=policy).walk():
        try:
            body = b"" if part.is_multipart() else part.get_payload(decode=True)
        except (ValueError, LookupError, AttributeError, AssertionError):
            continue
        shown |= isinstance(body, bytes) and MARK in body
    return shown


def _missed(mails: list[tuple[bytes, str]], ours: list[bool], theirs: list[bool]) -> list[str]:
    assert sum(theirs) > MAILS // 3, "a reader that finds little proves little"
    return [told for (_, told), seen, shown in zip(mails, ours, theirs, strict=True) if shown and not seen]


@pytest.mark.parametrize("policy", [email.policy.compat32, email.policy.default], ids=["compat32", "default"])
@pytest.mark.filterwarnings("ignore")
def test_what_python_shows_is_seen(
    mails: list[tuple[bytes, str]], ours: list[bool], policy: email.policy.Policy
) -> None:
    assert _missed(mails, ours, [_shown_by_python(mail, policy) for mail, _ in mails]) == []


@pytest.mark.parametrize("name", READERS)
def test_what_others_show_is_seen(mails: list[tuple[bytes, str]], ours: list[bool], name: str, tmp_path: Path) -> None:
    command, probe, package = READERS[name]
    if shutil.which(command[0]) is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"{name} cannot read mail here: apt-get install {package}")
    file = tmp_path / "mails.json"
    file.write_text(json.dumps([mail.hex() for mail, _ in mails]))
    done = subprocess.run([*command, str(file), MARK.hex()], capture_output=True, text=True, check=True, timeout=300)
    assert _missed(mails, ours, json.loads(done.stdout)) == []
