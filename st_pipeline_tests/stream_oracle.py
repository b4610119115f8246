"""What the streams must hold, worked out anew from the simulator's own records, and how the tables differ from it.

Here: reading a tenant with an independent client, and the streams' meaning written as plainly as it can be: whole lists
in memory, one loop a question. Not here: anything of the pipeline's mapping but the splitting of names.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.streams.names import split_name
from st_pipeline_tests.simulator.independent_client import IndependentClient

Record = dict[str, Any]
Streams = dict[str, dict[str, Record]]

KEYS = {"members_stream": "customer_id", "invoices_stream": "invoice_number"}
# They tell how a record came about, not what is true of it.
NOT_COMPARED = ("hub_plus_import_id", "version", "spec_version", "updated_at")
FIRST_DIFFERENCES = 5


@dataclass(slots=True)
class Source:
    """All records of a tenant by entity and id, deleted ones included, and the ids of those that still exist."""

    records: dict[str, dict[int, Record]] = field(default_factory=dict)
    existing: dict[str, set[int]] = field(default_factory=dict)

    def all(self, entity: str) -> list[tuple[Record, bool]]:
        """Each record, lowest id first, and whether it exists."""
        records, existing = self.records[entity], self.existing[entity]
        return [(records[key], key in existing) for key in sorted(records)]

    def survivor(self, customer_id: int) -> int:
        """The customer this one was merged into, followed to the end."""
        while (into := self.records["customers"].get(customer_id, {}).get("mergedToId")) is not None:
            customer_id = into
        return customer_id


def read_source(simulated: SimulatedTenant) -> Source:
    """Feeds show every record in its last state, lists what exists. A contact's own flag says whether it does."""
    client, source = IndependentClient(simulated).log_in(), Source()
    for entity in ("customers", "customer_contacts", "membership_types", "memberships", "invoices"):
        pages = client.walk_feed(entity, includeRecentChanges="true")
        source.records[entity] = {record["id"]: record for page in pages for record in page["data"]}
        source.existing[entity] = {
            record["id"]
            for record in (
                [contact for contact in source.records[entity].values() if contact["active"]]
                if entity == "customer_contacts"
                else client.walk_list(entity, pageSize=5000)
            )
        }
    client.http.close()
    return source


def forget_unseen_types(connection: Connection, tenant: str, source: Source) -> None:
    """Types are read from a list, which shows no deleted ones: who came too late for one cannot know its name."""
    query = text(
        "SELECT st_id FROM st_membership_types JOIN tenants USING (credential_id) WHERE partition_key = :tenant"
    )
    seen = set(connection.execute(query, {"tenant": tenant}).scalars())
    types = source.records["membership_types"]
    source.records["membership_types"] = {key: types[key] for key in types if key in seen}


def expected_streams(source: Source) -> Streams:
    """Both streams of a tenant by key."""
    return {"members_stream": _members(source), "invoices_stream": _invoices(source)}


def _members(source: Source) -> dict[str, Record]:
    contacts, memberships = _contacts(source), _memberships(source)
    members = {}
    for customer, exists in source.all("customers"):
        survivor = source.survivor(customer["id"])
        merged = survivor != customer["id"]
        own_contacts = {} if merged else contacts[survivor]
        own_memberships = [] if merged else memberships[survivor]
        counts = max(own_memberships, key=_rank, default=None)
        plan = {} if counts is None else source.records["membership_types"].get(counts["membershipTypeId"], {})
        phones = [*own_contacts.get("MobilePhone", ()), *own_contacts.get("Phone", ())]
        first, last = split_name(customer["name"], commercial=customer["type"] == "Commercial")
        members[str(customer["id"])] = {
            "customer_name": customer["name"],
            "customer_first_name": first,
            "customer_last_name": last,
            **_address(customer["address"]),
            "customer_phone_number_primary": next(iter(phones), None),
            "customer_email_primary": next(iter(own_contacts.get("Email", ())), None),
            "active_member": any(membership["status"] == "Active" for membership in own_memberships),
            "membership_type": plan.get("displayName") or plan.get("name"),
            "membership_start": _day(counts["from"]) if counts else None,
            "membership_end": _day(counts["to"]) if counts else None,
            "still_exists": exists and not merged,
            "merged_to_customer_id": str(survivor) if merged else None,
        }
    return members


def _contacts(source: Source) -> dict[int, dict[str, list[str]]]:
    """Values by surviving customer and type, lowest id first."""
    found: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for contact, exists in source.all("customer_contacts"):
        if exists:
            found[source.survivor(contact["customerId"])][contact["type"]].append(contact["value"])
    return found


def _memberships(source: Source) -> dict[int, list[Record]]:
    """By surviving customer."""
    found = defaultdict(list)
    for membership, exists in source.all("memberships"):
        if exists:
            found[source.survivor(membership["customerId"])].append(membership)
    return found


def _rank(membership: Record) -> tuple[bool, date, date, int]:
    """Active, then no end, the latest end, the latest start, the newest."""
    end, start = _day(membership["to"]), _day(membership["from"])
    return membership["status"] == "Active", end or date.max, start or date.min, membership["id"]


def _invoices(source: Source) -> dict[str, Record]:
    invoices = {}
    for invoice, exists in source.all("invoices"):
        named = invoice["customer"] or {"id": None, "name": None}
        survivor = source.survivor(named["id"])
        customer = source.records["customers"].get(survivor, {})
        name = named["name"] if survivor == named["id"] else customer["name"]
        first, last = split_name(name, commercial=customer.get("type") == "Commercial")
        job = invoice["job"] or {}
        invoices[str(invoice["id"])] = {
            "reference_number": invoice["referenceNumber"],
            "customer_id": None if survivor is None else str(survivor),
            "customer_name": name,
            "customer_first_name": first,
            "customer_last_name": last,
            "job_number": job.get("number"),
            "job_type": job.get("type"),
            "total": _money(invoice["total"]),
            "subtotal": _money(invoice["subTotal"]),
            "tax": _money(invoice["salesTax"]),
            "balance": _money(invoice["balance"]),
            "invoice_date": _day(invoice["invoiceDate"]),
            "due_date": _day(invoice["dueDate"]),
            "summary": invoice["summary"],
            **_address(invoice["customerAddress"]),
            "business_unit": (invoice["businessUnit"] or {}).get("name"),
            "status": invoice["syncStatus"],
            "active": invoice["active"],
            "still_exists": exists,
        }
    return invoices


def _address(address: Record | None) -> Record:
    parts = address or {}
    lines = [parts.get("street"), parts.get("unit")]
    return {
        "customer_address": ", ".join(line for line in lines if line) or None,
        "customer_city": parts.get("city"),
        "customer_state": parts.get("state"),
        "customer_zip": parts.get("zip"),
    }


def _day(moment: str | None) -> date | None:
    return None if moment is None else date.fromisoformat(moment[:10])


def _money(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def differences(connection: Connection, tenant: str, simulated: SimulatedTenant) -> list[str]:
    """How a tenant's stream records differ from what they must be, in words; empty when they do not."""
    source = read_source(simulated)
    forget_unseen_types(connection, tenant, source)
    return stream_differences(connection, tenant, expected_streams(source))


def stream_differences(connection: Connection, tenant: str, expected: Streams) -> list[str]:
    """The same for records worked out before."""
    query = text("""
        SELECT c.intacct_id AS tenant, c.trade, t.credential_id
        FROM tenants t JOIN companies c ON c.slug = t.company WHERE t.partition_key = :tenant
    """)
    owner = connection.execute(query, {"tenant": tenant}).mappings().one()
    common = {**owner, "software": "ServiceTitan"}
    found = []
    for stream, records in expected.items():
        rows = connection.execute(
            text(f"SELECT * FROM {stream} WHERE credential_id = :id"),  # noqa: S608 - a name of ours
            {"id": owner["credential_id"]},
        ).mappings()
        held = {row[KEYS[stream]]: dict(row) for row in rows}
        wanted = {key: {**record, **common, KEYS[stream]: key} for key, record in records.items()}
        found += _between(stream, wanted, held)
    return found


def _between(stream: str, wanted: Mapping[str, Record], held: Mapping[str, Record]) -> list[str]:
    found = [f"{stream}: {key} is missing" for key in wanted.keys() - held.keys()]
    found += [f"{stream}: {key} is not in the source" for key in held.keys() - wanted.keys()]
    for key in wanted.keys() & held.keys():
        columns = [column for column in held[key] if column not in NOT_COMPARED]
        assert set(columns) == set(wanted[key]), f"{stream}: a column the oracle does not know, or knows and is not"
        found += [
            f"{stream}: {column} of {key} is {held[key][column]!r}, must be {wanted[key][column]!r}"
            for column in columns
            if held[key][column] != wanted[key][column]
        ]
    found.sort()
    more = [f"{stream}: {len(found) - FIRST_DIFFERENCES} more"] if len(found) > FIRST_DIFFERENCES else []
    return found[:FIRST_DIFFERENCES] + more
