"""What the command line says to a slip of the fingers: the right word, and exit code 2. No database is asked."""

import pytest

from st_pipeline_tests.cli.conftest import Command

SLIPS = {
    "snyc": "Did you mean 'sync'?",
    "sync-stauts": "Did you mean 'sync-status'?",
    "retry-fail": "Did you mean one of: 'retry-failed', 'retry-failed-syncs'?",
    "compnies list": "Did you mean 'companies'?",
    "credentails list": "Did you mean one of: 'credentials', 'retention'?",
    "credentials lst": "Did you mean 'list'?",
    "credentials rotate": "rotate-secret",
    "tenants shedule acme": "Did you mean 'schedule'?",
    "rejects sohw acme invoices 1": "Did you mean 'show'?",
    "sync --entty invoices": "'--entity'",
    "sync --josn": "Did you mean '--json'?",
    "sync --dryrun": "Did you mean '--dry-run'?",
    "logs --jsn 7": "Did you mean '--json'?",
    "sync --mode ful": "'ful' is not one of 'incremental', 'full', 'window'",
    "sync --environment prod": "'prod' is not one of 'production', 'integration'",
    "sync --entity invoice": "unknown entity 'invoice': did you mean invoices or invoices_stream?",
    "sync --entity Jobs": "unknown entity 'Jobs': did you mean jobs?",
    "sync --entity zebras": "unknown entity 'zebras': take one of tag_types, ",
    "sync -d customer": "'customer' is not one of 'customers', 'invoices', 'both', 'all'",
    "sync -d customers --entity invoices": "entity invoices is not part of data type customers, which means ",
    "sync --modified-from yesterday": "--modified-from is not a valid time: write 2026-01-31",
    "sync --modified-from 2026-02-01 --modified-to 2026-01-01": "before it starts",
    "sync --mode full --modified-from 2026-02-01": "no other mode takes them; the mode is full",
    "sync --batch-size 0": "0 is not in the range x>=1",
    "sync --timeout soon": "'soon' is not a valid float range",
    "audit list --since yesterday": "write a date or time (UTC) like",
    "tenants schedule acme --every hourly": "--every hourly: write whole minutes from 1 to 10080, or default",
    "tenants schedule acme --skip-days sonntag": "--skip-days sonntag: write some of mon,tue,wed",
    "tenants schedule acme --entity-off invoice": "unknown entity 'invoice': did you mean invoices",
    "switch off everthing": "'everthing' is not one of 'everything', 'environment', 'company', 'entity'",
    "companies add Acme --name Acme": "'Acme' is not a valid company slug",
}


@pytest.mark.parametrize(("typed", "said"), SLIPS.items())
def test_a_slip_is_answered_with_the_right_word(unconnected: Command, typed: str, said: str):
    heard = unconnected(*typed.split())
    assert (heard.code, heard.out) == (2, "")
    assert said in " ".join(heard.err.split())
