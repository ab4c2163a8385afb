"""The text of a report: what frames an answer, what stands around it, and what breaks it off."""

from __future__ import annotations

import random

import pytest

from hpclaunch.errors import HpclaunchError
from hpclaunch.survey.choices import choose_queue
from hpclaunch.survey.profile import Access, write_profile
from hpclaunch.survey.report import Report
from hpclaunch.survey.take import read_survey
from tests.pure.surveys import CONTAINERS, lsf_answers, pbs_answers, report, slurm_answers

WHOLE = CONTAINERS.read_text()
REPORTS = {
    "containers": WHOLE,
    "slurm": report(slurm_answers("slurm-26.05")),
    "pbs": report(pbs_answers("openpbs-23.06.06")),
    "lsf": report(lsf_answers()),
}


def test_both_streams_and_the_status_of_a_command():
    text = "hpclaunch-survey 1\n@ a.b: ls -l: x\n| one\n| = 0\n|  @ c: d\n! bad\n= 2\n@ end\n"
    found = Report.parse(text)
    (answer,) = found.answers.values()
    assert (answer.command, answer.exit) == ("ls -l: x", 2)
    assert (answer.out, answer.err) == ("one\n= 0\n @ c: d", "bad")
    assert answer.complaint == "`ls -l: x` ended with 2: bad"
    assert found.complete
    assert found.out("a.b") is None


def test_banners_prompts_and_carriage_returns_are_passed_over():
    text = WHOLE.replace("\n", "\r\n")
    noisy = f"Welcome!\r\n| not an answer\r\n$ sh survey.sh\r\n{text}\r\n$ logout\r\n= 3\r\n"
    assert read_survey(noisy) == read_survey(WHOLE)


def test_what_is_no_report_is_an_error_that_says_how_to_get_one():
    for text in ("", "slurm", "@ a: b\n= 0\n@ end"):
        with pytest.raises(HpclaunchError, match="no report") as caught:
            read_survey(text)
        assert "--script" in caught.value.hint


def test_a_report_that_breaks_off_says_so():
    cut = WHOLE[: WHOLE.index("@ net.addresses") + 30]
    survey = read_survey(cut)
    assert survey.scheduler == "slurm"
    assert any("not whole" in note for note in survey.notes)
    assert survey.interfaces == ()


def test_control_characters_reach_nobody():
    text = report({"site.host": "a\x1b[2J\x07b", "site.full": ""})
    assert read_survey(text).host == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b"


def test_a_command_that_hangs_is_told_as_one():
    text = "hpclaunch-survey 1\n@ lsf.id: lsid\n= 124\n@ end\n"
    survey = read_survey(text)
    assert survey.scheduler is None
    assert "`lsid` gave no answer in time" in survey.notes


def test_two_schedulers_that_answer_are_told_of():
    text = report({**pbs_answers("openpbs-23.06.06"), **slurm_answers("slurm-22.05")})
    survey = read_survey(text)
    assert survey.scheduler == "slurm"
    assert "commands of pbs answer, too; slurm was taken" in survey.notes
    assert {queue.name for queue in survey.queues} >= {"compute"}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", REPORTS)
def test_odd_output_never_raises_and_makes_a_profile_or_none(kind, seed):
    """Lines lost, doubled, cut and shuffled, as terminals and other releases do."""
    chance = random.Random(f"{kind} {seed}")
    lines = REPORTS[kind].splitlines()[1:]
    for _ in range(chance.randint(1, 40)):
        at = chance.randrange(len(lines))
        odd = [
            lambda line: line[: chance.randrange(len(line) + 1)],
            lambda line: line.replace("=", chance.choice(["", "==", "= "])),
            lambda line: "".join(chance.sample(line, len(line))),
            lambda line: line.replace("0", chance.choice(["-1", "N/A", "9" * 20, "\x00"])),
            lambda line: "",
        ]
        lines[at] = chance.choice(odd)(lines[at])
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))
    survey = read_survey("\n".join(["hpclaunch-survey 1", *lines]))
    if survey.scheduler is not None:
        profile = write_profile(survey, Access("login.example"))
        if choose_queue(survey) is None:
            assert any("no queue" in remark for remark in profile.remarks)
