"""Custom fields: the fields a company adds to its records. Data only; an exception in three ways.

ServiceTitan: there is no single address. Each owner (jobs, customers, …) has its own list with its own scope, so this
entity is several lists; when one is refused, the others are read all the same. Records do not name their owner:
the table is partitioned by it, and each list is written into its partition. There is no active flag: what a complete
reading of a list does not show was deleted.
"""

from dataclasses import replace
from types import MappingProxyType

from st_pipeline.entities.spec import KEY, Column, EntitySpec, Kind, key_column, key_rules

AREA = "custom_fields"
COLUMNS = (
    key_column(),
    Column("name", Kind.TEXT, description="name of the field", never_null=True),
    Column("dataType", Kind.TEXT, known_values=("Text", "Dropdown", "Numeric"), never_null=True),
    Column("dataTypeOptions", Kind.JSON),
    Column(
        "createdOn",
        Kind.TIMESTAMP,
        description="when ServiceTitan created the record; null where the owner is equipment",
    ),
    Column(
        "modifiedOn",
        Kind.TIMESTAMP,
        description="when ServiceTitan last changed the record; null where the owner is equipment",
    ),
)
# Owner, area, path after the tenant's number, scope.
SORTED_LISTS = (
    ("jobs", "jpm", "jobs/custom-fields", "tn.jpm.jobs:r"),
    ("projects", "jpm", "projects/custom-fields", "tn.jpm.projects:r"),
    ("customers", "crm", "customers/custom-fields", "tn.crm.customers:r"),
    ("locations", "crm", "locations/custom-fields", "tn.crm.locations:r"),
    ("invoices", "accounting", "invoices/custom-fields", "tn.acc.invoices:r"),
    ("payments", "accounting", "payments/custom-fields", "tn.acc.payments:r"),
    ("memberships", "memberships", "memberships/custom-fields", "tn.mem.memberships:r"),
)


def list_of(
    owner: str,
    list_path: str,
    scope: str,
    params: dict[str, str],
    sort: str | None,
    columns: tuple[Column, ...] = COLUMNS,
) -> EntitySpec:
    """One owner's list."""
    return EntitySpec(
        name=f"custom_fields_{owner}",
        area=AREA,
        title=f"Custom fields of {owner}",
        description=f"The fields a company has added to its {owner}.",
        list_path=list_path,
        list_params=MappingProxyType(params),
        sort=sort,
        ids_param=False,
        scope=scope,
        columns=columns,
        rules=key_rules(),
    )


LISTS = (
    *(
        list_of(owner, f"/{module}/v2/tenant/{{tenant}}/{path}", scope, {}, "+Id")
        for owner, module, path, scope in SORTED_LISTS
    ),
    # ServiceTitan: this list is different: it requires a direction, has no sort parameter and no total, and its options
    # are never null.
    list_of(
        "equipment",
        "/equipmentsystems/v2/tenant/{tenant}/installed-equipment/custom-field-types",
        "tn.eqs.installedequipment:r",
        {"descending": "false"},
        None,
        tuple(replace(one, never_null=one.never_null or one.source == "dataTypeOptions") for one in COLUMNS),
    ),
)

CUSTOM_FIELDS = EntitySpec(
    name="custom_fields",
    area=AREA,
    title="Custom fields",
    description="The fields a company has added to its records. Their values are in the owners' records; "
    "`st_custom_field_values` has them as rows.",
    columns=(
        Column("owner", Kind.TEXT),
        *COLUMNS,
    ),
    key=("owner", KEY),
    lists=LISTS,
    rules=key_rules(),
)

ENTITIES = (CUSTOM_FIELDS,)
