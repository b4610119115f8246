"""members_stream: one record a customer, with phone, e-mail and membership, as downstream reads it from file uploads.

Here: its columns and rules, what it is made of, and the mapping from rows of st_customers, st_customer_contacts and
st_memberships. Not here: when records are built (sync/).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.meanings import ADDRESS_PARTS
from st_pipeline.entities.spec import Column, Kind, Rule, Severity
from st_pipeline.protocol import KeyLookup, Source
from st_pipeline.streams.customers import Customer, add_merged, read_customers, street_line, survivor_id
from st_pipeline.streams.names import split_name
from st_pipeline.streams.spec import EARLIEST, NEXT_YEAR, StreamSpec

# The customers that hold or held a membership of these types.
HOLDERS = KeyLookup("""
    SELECT DISTINCT customer_id FROM st_memberships
    WHERE credential_id = :credential_id AND membership_type_id = ANY(:ids) AND customer_id IS NOT NULL
""")
# Mobile before landline; of the same kind the one that was added first.
CONTACTS = text("""
    SELECT customer_id, type, coalesce(nullif(trim(value), ''), nullif(trim(phone_settings_phone_number), ''))
    FROM st_customer_contacts
    WHERE credential_id = :credential_id AND customer_id = ANY(:ids) AND active AND deleted_at IS NULL
          AND type IN ('MobilePhone', 'Phone', 'Email')
    ORDER BY st_id
""")
# ServiceTitan: `active` includes expired memberships; the status says. The days are sent as midnight UTC.
MEMBERSHIPS = text("""
    SELECT m.customer_id, m.status IS NOT DISTINCT FROM 'Active', coalesce(t.display_name, t.name),
           CAST(m.starts_on AT TIME ZONE 'UTC' AS date), CAST(m.ends_on AT TIME ZONE 'UTC' AS date), m.st_id
    FROM st_memberships m
    LEFT JOIN st_membership_types t ON t.credential_id = m.credential_id AND t.st_id = m.membership_type_id
    WHERE m.credential_id = :credential_id AND m.customer_id = ANY(:ids) AND m.deleted_at IS NULL
""")


@dataclass(slots=True)
class Membership:
    """An agreement a customer holds or held. `ends` None: no end."""

    is_active: bool
    type_name: str | None
    starts: date | None
    ends: date | None
    st_id: int

    @property
    def rank(self) -> tuple[bool, date, date, int]:
        """The highest counts: active before others, then the last to end, the last to begin, the newest."""
        return self.is_active, self.ends or date.max, self.starts or date.min, self.st_id


@dataclass(slots=True)
class Belongings:
    """What contacts and memberships say of one customer, those of customers merged into it included."""

    contacts: dict[str, str] = field(default_factory=dict)
    memberships: list[Membership] = field(default_factory=list)

    @property
    def phone(self) -> str | None:
        """Mobile before landline."""
        return self.contacts.get("MobilePhone") or self.contacts.get("Phone")


def map_members(connection: Connection, credential_id: int, keys: Sequence[int]) -> list[tuple[Any, ...]]:
    """The records of these customers, in the order of MEMBERS_STREAM's columns.

    Those they were merged into or that were merged into them come along: what one of them is depends on all.
    """
    customers = read_customers(connection, credential_id, keys)
    add_merged(connection, credential_id, customers)
    belongings = _belongings(connection, credential_id, customers)
    return [_record(customer, customers, belongings) for customer in customers.values()]


def _belongings(connection: Connection, credential_id: int, customers: dict[int, Customer]) -> dict[int, Belongings]:
    """By surviving customer."""
    found: dict[int, Belongings] = defaultdict(Belongings)
    bound = {"credential_id": credential_id, "ids": list(customers)}
    for customer_id, kind, value in connection.execute(CONTACTS, bound):
        if value is not None:
            found[survivor_id(customers, customer_id)].contacts.setdefault(kind, value)
    for customer_id, *membership in connection.execute(MEMBERSHIPS, bound):
        found[survivor_id(customers, customer_id)].memberships.append(Membership(*membership))
    return found


def _record(customer: Customer, customers: dict[int, Customer], belongings: dict[int, Belongings]) -> tuple[Any, ...]:
    merged_to = survivor_id(customers, customer.st_id)
    is_merged = merged_to != customer.st_id
    own = belongings.get(customer.st_id) or Belongings()
    membership = _that_counts(own.memberships)
    first_name, last_name = split_name(customer.name, commercial=customer.is_commercial)
    return (
        str(customer.st_id),
        customer.name,
        first_name,
        last_name,
        street_line(customer.street, customer.unit),
        customer.city,
        customer.state,
        customer.zip_code,
        own.phone,
        own.contacts.get("Email"),
        membership is not None and membership.is_active,
        membership and membership.type_name,
        membership and membership.starts,
        membership and membership.ends,
        customer.exists and not is_merged,
        str(merged_to) if is_merged else None,
    )


def _that_counts(memberships: Iterable[Membership]) -> Membership | None:
    return max(memberships, key=lambda membership: membership.rank, default=None)


MEMBERS_STREAM = StreamSpec(
    name="members_stream",
    title="Members stream",
    description="One record a customer, member or not, as downstream reads it, whether it came from the API or a file.",
    data_type="customers",
    anchor="customers",
    key="customer_id",
    columns=(
        Column(
            "customers.st_id", Kind.TEXT, name="customer_id", description="ServiceTitan's id of the customer, as text"
        ),
        Column(
            "customers.name", Kind.TEXT, name="customer_name", description="the person or business, as people typed it"
        ),
        Column(
            "customers.name",
            Kind.TEXT,
            name="customer_first_name",
            description="given name of a person; null where a name stays whole, such as a business's",
        ),
        Column(
            "customers.name",
            Kind.TEXT,
            name="customer_last_name",
            description="family name of a person, or the whole name",
        ),
        Column("customers.address", Kind.TEXT, name="customer_address", description="street, house number and unit"),
        Column("customers.address_city", Kind.TEXT, name="customer_city", description=ADDRESS_PARTS["city"]),
        Column("customers.address_state", Kind.TEXT, name="customer_state", description=ADDRESS_PARTS["state"]),
        Column("customers.address_zip", Kind.TEXT, name="customer_zip", description=ADDRESS_PARTS["zip"]),
        Column(
            "customer_contacts.value",
            Kind.TEXT,
            name="customer_phone_number_primary",
            description="number of an active contact: mobile before landline, then the first added",
        ),
        Column(
            "customer_contacts.value",
            Kind.TEXT,
            name="customer_email_primary",
            description="address of the active contact that was added first",
        ),
        Column(
            "memberships.status",
            Kind.BOOLEAN,
            name="active_member",
            description="true: the status of one of its memberships is Active",
        ),
        Column(
            "membership_types.display_name",
            Kind.TEXT,
            name="membership_type",
            description="kind of the membership that counts: an active one, then the one that ends last",
        ),
        Column(
            "memberships.starts_on",
            Kind.DAY,
            name="membership_start",
            description="first day of the membership that counts",
        ),
        Column(
            "memberships.ends_on",
            Kind.DAY,
            name="membership_end",
            description="last day of the membership that counts, null where it has no end",
        ),
        Column(
            "customers.deleted_at",
            Kind.BOOLEAN,
            name="still_exists",
            description="false: the customer was deleted, or merged into another",
        ),
        Column(
            "customers.merged_to_id",
            Kind.TEXT,
            name="merged_to_customer_id",
            description="the customer that survived all merges; null: not merged",
        ),
    ),
    rules=(
        Rule("customer has no number", "customer_id", Severity.REJECT, not_null=True),
        Rule(
            "membership start is outside 1990 to next year",
            "membership_start",
            Severity.REJECT,
            minimum=EARLIEST,
            maximum=NEXT_YEAR,
        ),
        Rule("customer has no name", "customer_name", Severity.WARN, not_null=True),
        Rule("membership end is before 1990", "membership_end", Severity.WARN, minimum=EARLIEST),
    ),
    sources=(
        Source(
            "customers",
            facts=(
                "name",
                "type",
                "address_street",
                "address_unit",
                "address_city",
                "address_state",
                "address_zip",
                "deleted_at",
            ),
            keys=("st_id", "merged_to_id"),
        ),
        Source(
            "customer_contacts",
            facts=("type", "value", "phone_settings_phone_number", "active", "deleted_at"),
            keys=("customer_id",),
        ),
        Source("membership_types", facts=("display_name", "name"), lookup=HOLDERS),
        Source(
            "memberships",
            facts=("status", "membership_type_id", "starts_on", "ends_on", "deleted_at"),
            keys=("customer_id",),
        ),
    ),
    map_records=map_members,
    version=2,
)
