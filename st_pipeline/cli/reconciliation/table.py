"""A reconciliation in a terminal: a table for each tenant, then what differs.

Here: what is printed. Not here: the command, the page (reconciliation/).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from st_pipeline.cli.output import number_of, print_table, print_text
from st_pipeline.cli.terminal import terminal

if TYPE_CHECKING:
    from st_pipeline.reconciliation.findings import EntityFinding

COLUMNS = ("entity", "here", "there", "missing", "gone", "differ", "verdict")
NAMED_AT_MOST = 20  # of an entity; --json and --html name more
MEGABYTE = 1_000_000


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, "EntityFinding"], None]]:
    """A line that says what was compared last, in a terminal."""
    screen = terminal()
    if quiet or not screen.is_terminal:
        yield lambda _of, _finding: None
        return
    with screen.status("comparing") as status:
        yield lambda of, finding: status.update(f"{of}: {finding.entity} {finding.verdict}")


def print_tenants(document: Mapping[str, Any]) -> None:
    """All of it."""
    for tenant in document["tenants"]:
        _print_tenant(tenant)
    if len(document["tenants"]) > 1:
        verdicts = [one["verdict"] for one in document["tenants"]]
        counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
        print_text(f"{number_of(len(verdicts), 'tenant')}: {counted}")
    print_text(f"{number_of(document['requests'], 'request')}, {document['bytes'] / MEGABYTE:.1f} MB")


def _print_tenant(tenant: Mapping[str, Any]) -> None:
    print_text(f"{tenant['tenant']}: {tenant['verdict']}" + (f": {tenant['error']}" if tenant["error"] else ""))
    rows = [
        (one["entity"], one["here"], one["there"], one["missing"] or None, one["gone"] or None,
         one["different"] or None, one["verdict"])
        for one in tenant["entities"]
    ]  # fmt: skip
    if rows:
        print_table(COLUMNS, rows)
    by_totals = sum(one["compared"] == "totals" for one in tenant["entities"])
    if by_totals:
        print_text(f"{by_totals} of {number_of(len(rows), 'list')} compared by totals, the others record by record")
    for one in tenant["entities"]:
        _print_differences(one)
        for text in (*one["notes"], *([one["error"]] if one["error"] else [])):
            print_text(f"{one['entity']}: {text}")
        for month in one["months"]:
            if month["differs"]:
                print_text(f"{one['entity']}, created in {month['month']}: {_money(month)}")
    recent = sum(one["recent"] for one in tenant["entities"])
    if recent:
        print_text(f"{number_of(recent, 'record')} changed meanwhile or wait for a poll, and do not count")


def _print_differences(one: Mapping[str, Any]) -> None:
    for each in one["differences"][:NAMED_AT_MOST]:
        state = "" if each["is_left"] else " (repaired)"
        fields = f": {', '.join(each['fields'])}" if each["fields"] else ""
        print_text(f"{one['entity']} {each['id']}: {each['kind']}{fields}{state}")
        for name, both in each.get("values", {}).items():
            print_text(f"  {name}: here {both['here']!r}, there {both['there']!r}")
    total = one["missing"] + one["gone"] + one["different"]
    if total > NAMED_AT_MOST:
        print_text(f"{one['entity']}: and {total - NAMED_AT_MOST:,} more; --json and --html name up to 1,000")


def _money(month: Mapping[str, Any]) -> str:
    parts = [f"{name} here {both['here']}, there {both['there']}" for name, both in month["amounts"].items()
             if both["here"] != both["there"]]  # fmt: skip
    records = f"records here {month['records_here']:,}, there {month['records_there']:,}"
    return "; ".join((records, *parts))
