"""What a check of the configuration says of doors that are asked about malware alone."""

import pytest

from gatepost.config.load import load_text

TEXT = """
[network]
hostname = "h.example"
[policy]
check = {policy}
[[group]]
name = "web"
recipients = ["*@web.example"]
check = {group}
[[door]]
kind = "{kind}"
address = "tcp:127.0.0.1:1344"
group = "{door}"
"""


@pytest.mark.parametrize(
    ("kind", "policy", "group", "door", "said"),
    [
        ("icap", "true", "false", "web", ["`check` is off in web"]),
        ("clamd", "true", "false", "WEB", ["`check` is off in web"]),
        ("clamd", "false", "true", "", ["`check` is off in policy"]),
        ("icap", "true", "false", "", []),
        ("icap", "false", "true", "web", []),
        ("spamd", "false", "false", "web", []),
    ],
)
def test_a_door_that_lets_all_pass_unscanned(kind: str, policy: str, group: str, door: str, said: list[str]) -> None:
    loaded = load_text(TEXT.format(kind=kind, policy=policy, group=group, door=door), "x.toml")
    assert loaded.config is not None, "it is a warning"
    problems = [str(problem) for problem in loaded.problems if "unscanned" in str(problem)]
    assert len(problems) == len(said)
    assert all(each in problem for each, problem in zip(said, problems, strict=True))
