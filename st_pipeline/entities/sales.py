"""Sales: estimates. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Group, Kind, key_column, key_rules

ESTIMATES = EntitySpec(
    name="estimates",
    area="sales",
    group=Group.WORK,
    title="Estimates",
    description="The options offered to customers, about four a job. There is no total: `subtotal` plus `tax`. Unsold "
    "ones stay Open.",
    list_path="/sales/v2/tenant/{tenant}/estimates",
    feed_path="/sales/v2/tenant/{tenant}/export/estimates",
    list_params=MappingProxyType({"active": "Any"}),
    scope="tn.sal.estimates:r",
    after=("jobs",),
    refers_to=("customers", "locations", "business_units"),
    columns=(
        key_column(),
        Column("jobId", Kind.INTEGER),
        Column("projectId", Kind.INTEGER),
        Column("locationId", Kind.INTEGER),
        Column("customerId", Kind.INTEGER),
        Column("name", Kind.TEXT, description="what the option is called"),
        Column("jobNumber", Kind.TEXT, description="the number of the job that people see; not its id"),
        Column("status.value", Kind.INTEGER),
        Column("status.name", Kind.TEXT, known_values=("Open", "Sold", "Dismissed")),
        Column(
            "reviewStatus",
            Kind.TEXT,
            description="whether the company has approved it",
            known_values=("None", "NeedsApproval", "Approved", "NotApproved"),
            never_null=True,
        ),
        Column("summary", Kind.TEXT, description="what it offers, in words"),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("soldOn", Kind.TIMESTAMP),
        Column("soldBy", Kind.INTEGER),
        Column("active", Kind.BOOLEAN, description="false: archived", never_null=True),
        Column(
            "items",
            Kind.JSON,
            description="list of its lines: {sku, description, qty, unitRate, total, itemGroupName, …}",
        ),
        Column("externalLinks", Kind.JSON),
        Column("subtotal", Kind.DECIMAL, never_null=True),
        Column("tax", Kind.DECIMAL, never_null=True),
        Column("businessUnitId", Kind.INTEGER),
        Column("businessUnitName", Kind.TEXT),
        Column("isRecommended", Kind.BOOLEAN, never_null=True),
        Column("budgetCodeId", Kind.INTEGER),
        Column("isChangeOrder", Kind.BOOLEAN, never_null=True),
        Column("proposalTagName", Kind.TEXT),
        Column("depositAmount", Kind.DECIMAL),
        Column("depositPercent", Kind.DECIMAL),
        Column("requireDepositOnSignature", Kind.BOOLEAN),
    ),
    rules=key_rules(),
    totals=("subtotal", "tax"),
)

ENTITIES = (ESTIMATES,)
