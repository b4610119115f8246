"""Alerts as a receiver gets them: one for each new problem, one when it is over."""

from st_pipeline_tests.alerts.receiver import Minutes, Receiver


def test_one_message_when_a_problem_is_new_and_one_when_it_is_over(minutes: Minutes, receiver: Receiver):
    minutes.add("acme", "birch")
    minutes.pass_(3, every=3)
    minutes.refuse("acme")
    minutes.pass_(3)
    minutes.pass_(2)
    minutes.pass_(25, every=12)
    (opened,) = receiver.log
    assert opened.title == "ERROR: Acme (acme): ServiceTitan refuses the credentials"
    assert opened.tone == "failure"
    assert opened.body.splitlines() == [
        "Company: Acme (acme)",
        "What: the client secret is not valid any more",
        "Since: 2026-03-02 03:03 CST (3 minutes)",
        "How bad: times refused 1",
        "What to do: `st-pipeline credentials test acme` says what is missing and whom to ask for it.",
        "Look at: http://127.0.0.1:3000/runs",
        "Somebody works on it: st-pipeline alerts ack 1",
    ]
    minutes.accept("acme")
    minutes.pass_(1)
    minutes.pass_(30, every=10)
    over = receiver.log[-1]
    assert (len(receiver.log), over.title) == (2, "OVER: Acme (acme): ServiceTitan refuses the credentials")
    assert over.body.splitlines()[1] == "From 2026-03-02 03:03 CST to 2026-03-02 03:33 CST (30 minutes)."


def test_a_problem_that_does_not_last_is_not_told(minutes: Minutes, receiver: Receiver):
    minutes.add("acme")
    minutes.fail("acme", "invoices")
    minutes.pass_(8, every=4)
    minutes.succeed("acme")
    minutes.pass_(20, every=4)
    assert receiver.log == []
    assert minutes.rows("SELECT * FROM alert_problems") == []


def test_an_outage_of_the_api_is_one_alert_however_many_tenants_it_stops(minutes: Minutes, receiver: Receiver):
    tenants = [f"acme-{number}" for number in range(12)]
    minutes.add(*tenants, "other@integration")
    for tenant in tenants:
        minutes.fail(tenant, "invoices", "jobs")
    minutes.due(*tenants)
    for _ in range(6):
        minutes.outage()
        minutes.pass_(10, every=5)
    assert receiver.titles() == ["ERROR: production: ServiceTitan does not answer"]
    minutes.answers()
    minutes.pass_(4, every=2)
    minutes.poll(*tenants)
    for tenant in tenants:
        minutes.succeed(tenant)
    minutes.pass_(60, every=20)
    assert receiver.titles() == ["OVER: production: ServiceTitan does not answer"]


def test_what_an_outage_leaves_behind_alerts_after_it(minutes: Minutes, receiver: Receiver):
    minutes.add("acme", "birch")
    minutes.outage()
    minutes.fail("acme", "invoices")
    minutes.pass_(10, every=5)
    minutes.answers()
    receiver.log.clear()
    minutes.pass_(40, every=10)
    assert receiver.titles() == [
        "OVER: production: ServiceTitan does not answer",
        "ERROR: Acme (acme): syncs fail",
    ]


def test_many_tenants_with_the_same_cause_are_one_alert(minutes: Minutes, receiver: Receiver):
    tenants = [f"acme-{number}" for number in range(9)]
    minutes.add(*tenants)
    for tenant in tenants[:7]:
        minutes.fail(tenant, "invoices", message=f"{tenant}: invoices: HTTP 500")
    minutes.pass_(15, every=5)
    (group,) = receiver.log
    assert group.title == "ERROR: 7 tenants: syncs fail"
    assert "- Acme-0 (acme-0): acme-0: invoices: HTTP 500" in group.body
    assert "- and 2 more: st-pipeline alerts show 8" in group.body
    receiver.log.clear()
    minutes.fail(tenants[8], "jobs")
    for tenant in tenants[:3]:
        minutes.succeed(tenant)
    minutes.pass_(30, every=10)
    assert receiver.log == []
    for tenant in tenants:
        minutes.succeed(tenant)
    minutes.pass_(30, every=10)
    assert receiver.titles() == ["OVER: 7 tenants: syncs fail"]
