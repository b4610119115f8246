"""docs/trust.md says of alerts what the code does: each cause with its times and advice, each example of a channel."""

import re
import shlex

import pytest
from pydantic import SecretStr

from st_pipeline.alerts.causes import CAUSES, CHECK_PREFIX, Cause
from st_pipeline.alerts.channels import check_channels
from st_pipeline.checks.registry import CHECKS
from st_pipeline.settings import Settings, load_settings
from st_pipeline_tests.documents import ROOT, Page

TRUST = Page(ROOT / "docs" / "trust.md")
SECTION = TRUST.text.partition("\n## Alerts\n")[2].partition("\n## ")[0]


def minutes(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds else "at once"


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_each_cause_stands_in_the_table_as_it_is(cause: Cause):
    advice = cause.advice.replace("{tenant}", "TENANT").replace("{subject}", "CHANNEL").replace("{sync}", "SYNC")
    times = f"{minutes(cause.hold_seconds)} | {minutes(cause.recover_seconds)}"
    assert f"\n| `{cause.name}` | {times} | {cause.meaning} | {advice} |\n" in SECTION


def test_what_a_cause_explains_is_a_cause():
    """A check that is renamed would no longer be held back, and nobody would notice."""
    explained = {name for cause in CAUSES.values() for name in cause.explains}
    assert explained - CAUSES.keys() <= {f"{CHECK_PREFIX}{check.name}" for check in CHECKS}


def test_the_table_names_no_other_cause():
    assert set(re.findall(r"^\| `(\w+)` \| .* minutes \|", SECTION, re.MULTILINE)) <= CAUSES.keys()


def test_the_channels_of_the_examples_are_understood():
    (line,) = re.findall(r"^ST_PIPELINE_ALERT_CHANNELS=.*", SECTION, re.MULTILINE)
    (word,) = shlex.split(line)
    addresses = re.findall(r"^\| .* \| `(\w+://[^`]+)` \|$", SECTION, re.MULTILINE)
    assert len(addresses) >= 5
    named = " ".join(f"c{number}={address}" for number, address in enumerate(addresses))
    for channels in (word.partition("=")[2], named):
        found = check_channels(load_settings(alert_channels=SecretStr(channels)))
        assert len(found) == len(channels.split())


def test_the_settings_that_the_section_names_exist():
    named = set(re.findall(r"ST_PIPELINE_((?:ALERT|HEARTBEAT)\w+)", SECTION))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
