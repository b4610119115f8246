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
        Column("name", Kind.TEXT),
        Column("jobNumber", Kind.TEXT),
        Column("status.value", Kind.INTEGER, description="which number means what is not documented: go by the name"),
        Column("status.name", Kind.TEXT, known_values=("Open", "Sold", "Dismissed")),
        Column(
            "reviewStatus",
            Kind.TEXT,
            known_values=("None", "NeedsApproval", "Approved", "NotApproved"),
            never_null=True,
        ),
        Column("summary", Kind.TEXT),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("soldOn", Kind.TIMESTAMP),
        Column("soldBy", Kind.INTEGER, description="id of who sold it"),
        Column("active", Kind.BOOLEAN, never_null=True),
        Column("items", Kind.JSON),
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
