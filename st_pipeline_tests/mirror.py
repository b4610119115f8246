"""Which tests belong to which module: this folder mirrors the package.

Here: the rule, and what tests the modules without a file of their own. Not here: checking it (test_mirror.py).
"""

from collections.abc import Iterator
from pathlib import Path

PACKAGE, TESTS = "st_pipeline", "st_pipeline_tests"
# Each module in these has tests of its own, or stands below.
ROOMS = ("sync", "postgres", "streams", "tenants", "operations", "servicetitan", "validation")
# Modules that are tested by what uses them: by a file that a change to the module runs.
TESTED_BY = {
    "postgres/held_ranges": "reconciliation/test_tenant",
    "postgres/reconciliations": "cli/reconciliation/test_command",
    "sync/leased_work": "cli/records/test_rejects",
    "operations/checks": "cli/checks/test_commands",
    "operations/failed_syncs": "cli/sync/test_retry",
    "operations/fingerprint": "sync/test_whole_syncs",
    "operations/history": "cli/status/test_command",
    "operations/next_polls": "cli/status/test_command",
    "operations/nights": "cli/status/test_plan",
    "operations/record_facts": "operations/test_explain",
    "operations/rejects": "cli/records/test_rejects",
    "operations/replay": "cli/records/test_rejects",
    "operations/run_figures": "cli/sync/test_progress",
    "operations/status": "cli/status/test_command",
    "postgres/dagster_history": "operations/test_retention_of_dagster",
    "postgres/alert_deliveries": "alerts/test_tick",
    "postgres/alert_problems": "alerts/test_tick",
    "postgres/alert_sources": "alerts/test_tick",
    "postgres/dagster_signs": "defs/test_alerts",
    "postgres/api_pauses": "postgres/test_switches",
    "postgres/check_history": "cli/checks/test_commands",
    "postgres/check_thresholds": "checks/test_thresholds",
    "postgres/index_builds": "postgres/test_migrations_of_filled_databases",
    "postgres/old_rows": "operations/test_retention",
    "postgres/run_sessions": "postgres/test_signs_of_life",
    "postgres/scheduled_work": "postgres/test_signs_of_life",
    "postgres/stops": "postgres/test_write_chunk",
    "postgres/tables": "postgres/test_migrations",
    "postgres/tenant_schedules": "tenants/test_schedule",
    "servicetitan/addresses": "servicetitan/test_token_address",
    "servicetitan/envelope": "servicetitan/test_pages",
    "servicetitan/network": "servicetitan/test_transport",
    "servicetitan/tenant_authentication": "servicetitan/test_token",
    "streams/customers": "streams/test_members",
    "streams/spec": "streams/test_build",
    "streams/tables": "streams/test_build",
    "streams/write_chunk": "streams/test_build",
    "sync/context": "sync/test_prepare",
    "sync/entity_ends": "sync/test_tenant",
    "sync/look": "sync/test_polling",
    "sync/looking_back": "sync/test_whole_syncs",
    "sync/stream": "streams/test_build",
    "sync/stream_owner": "sync/test_polling",
    "sync/totals": "sync/test_entity_reads_once",
    "tenants/companies": "tenants/test_registration",
    "tenants/credential_updates": "cli/credentials/test_update",
    "tenants/expiry": "cli/credentials/test_listing",
    "tenants/keyring_holders": "cli/credentials/test_keys",
    "tenants/onboarding": "cli/tenants/test_onboard",
    "tenants/poll_tenants": "sync/test_polling",
    "tenants/purge": "cli/credentials/test_removal",
    "tenants/refusal": "tenants/test_diagnosis",
    "tenants/rekeying": "cli/credentials/test_keys",
    "tenants/removal": "cli/credentials/test_removal",
    "tenants/secret_text": "cli/credentials/test_secret_sources",
    "tenants/selection": "operations/test_sync_plan",
    "tenants/tenant_details": "cli/credentials/test_update",
    "validation/decode": "validation/test_chunk",
    "validation/frame": "validation/test_chunk",
}
# Files that test no single module: the way of a chunk, a whole run, a document.
WHOLE = {
    "alerts": ("a_bad_day",),
    "checks": ("costs", "healthy"),
    "cli": ("completion", "typing_errors"),
    "defs": ("backfill", "instance", "range_run", "single_tenant_run"),
    "postgres": ("reporting_plans", "reporting_views", "signs_of_life"),
    "simulator": ("consistency", "records", "serving", "time_moves", "work_moves"),
    "streams": ("build",),
    "sync": ("fuzz", "no_open_transaction", "start_up", "whole_syncs"),
}
# Folders without a counterpart, or whose modules are data: each file says what it is about.
WITHOUT_COUNTERPART = (".", "entities", "kill_lab", "mutants", "soak")


def own_tests(root: Path, module: Path) -> list[Path]:
    """The files of a module's own: `test_name.py`, or `test_name_….py` where no other module has that longer name."""
    folder = root / TESTS / module.relative_to(root / PACKAGE).parent
    return [test for test in sorted(folder.glob(f"test_{module.stem}*.py")) if module_of(root, test) == module]


def module_of(root: Path, test: Path) -> Path | None:
    """The module or folder that a file tests: the one with the longest name that the file's name begins with."""
    folder = root / PACKAGE / test.relative_to(root / TESTS).parent
    name = test.stem.removeprefix("test_")
    named = [one for one in _modules(folder) if name == one.stem or name.startswith(f"{one.stem}_")]
    return max(named, key=lambda one: len(one.stem), default=None)


def _modules(folder: Path) -> Iterator[Path]:
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.suffix == ".py" or (one.is_dir() and one.name != "__pycache__"):
            yield one
