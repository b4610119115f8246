"""`st-pipeline switch`: what it stops, who sees it, and that it is audited."""

import pytest

from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation

TRAIL = "SELECT action, details FROM audit_log WHERE action LIKE 'switch.%' ORDER BY id"


def test_everything_is_switched_off_and_on_again_and_seen_by_all_who_ask(installation: Installation, command: Command):
    installation.add("acme", customers=0, invoices=0)
    installation.synced("acme", only=("tag_types",))
    off = ("switch", "off", "everything", "--because", "they asked us to")
    assert command(*off).out == "everything: switched off\n"
    assert command(*off).out == "everything: nothing changed\n"
    reason = "everything is switched off: they asked us to"
    due = command("sync", "--json")
    assert (due.code, [one["reason"] for one in due.json["not_selected"]]) == (0, [reason])
    assert command("switch", "list").out.startswith(f"{reason}, since 20")
    assert [one["scope"] for one in command("switch", "list", "--json").json] == ["everything"]
    assert reason in command("sync-status").words
    assert command("sync-status", "--json").json["statistics"]["next_due"]["switched_off"] == [reason]
    found = [one for one in command("doctor", "--json").json if one["check"] == "switch"]
    assert [(one["state"], one["fix"]) for one in found] == [("warning", "st-pipeline switch on everything")]
    assert command("sync", "-c", "acme", "--entity", "tag_types").code == 0  # a person's sync still works

    assert command("switch", "on", "everything").out == "everything: switched on\n"
    assert command("switch", "list").out == "nothing is switched off\n"
    assert installation.rows(TRAIL) == [
        ("switch.off", {"scope": "everything", "name": "", "because": "they asked us to"}),
        ("switch.on", {"scope": "everything", "name": ""}),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("off", "everything", "acme"), "everything has no name"),
        (("off", "company"), "which company?"),
        (("off", "company", "acm"), "unknown company 'acm': did you mean acme?"),
        (("off", "environment", "staging"), "unknown environment 'staging': take one of production, integration"),
        (("off", "entity", "invoice"), "unknown entity 'invoice': did you mean invoices"),
        (("off", "everything", "--because", " "), "--because is empty"),
    ],
)
def test_a_switch_that_would_stop_nobody_is_refused(
    installation: Installation, command: Command, arguments: tuple[str, ...], reason: str
):
    installation.add("acme")
    assert_refused(command("switch", *arguments), reason)
    assert command("switch", "list", "--json").json == []
