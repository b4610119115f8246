"""Equipment (ServiceTitan: equipmentsystems): installed units. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Group, Kind, Rule, Severity, key_column, key_rules

EQUIPMENT = EntitySpec(
    name="equipment",
    area="equipmentsystems",
    group=Group.WORK,
    title="Equipment",
    description="Units installed at customers. ServiceTitan shows their custom fields and attachments only one unit "
    "at a time, so they are not read.",
    list_path="/equipmentsystems/v2/tenant/{tenant}/installed-equipment",
    feed_path="/equipmentsystems/v2/tenant/{tenant}/export/installed-equipment",
    list_params=MappingProxyType({"active": "Any"}),
    sort="+Id",
    scope="tn.eqs.installedequipment:r",
    after=("customers", "locations"),
    refers_to=("invoices",),
    columns=(
        key_column(),
        Column("active", Kind.BOOLEAN, never_null=True),
        Column("equipmentId", Kind.INTEGER),
        Column("locationId", Kind.INTEGER, never_null=True),
        Column("customerId", Kind.INTEGER, never_null=True),
        Column("invoiceItemId", Kind.INTEGER),
        Column("name", Kind.TEXT, description="what the unit is called", never_null=True),
        Column("type.id", Kind.INTEGER),
        Column("type.name", Kind.TEXT),
        Column("installedOn", Kind.TIMESTAMP),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("serialNumber", Kind.TEXT, never_null=True),
        Column("barcodeId", Kind.TEXT),
        Column("memo", Kind.TEXT, never_null=True),
        Column("manufacturer", Kind.TEXT, never_null=True),
        Column("model", Kind.TEXT, never_null=True),
        Column("cost", Kind.DECIMAL, never_null=True),
        Column(
            "status",
            Kind.TEXT,
            description="whether it is still in place",
            known_values=("Installed", "Replaced"),
            never_null=True,
        ),
        Column("manufacturerWarrantyStart", Kind.TIMESTAMP),
        Column("manufacturerWarrantyEnd", Kind.TIMESTAMP),
        Column("serviceProviderWarrantyStart", Kind.TIMESTAMP),
        Column("serviceProviderWarrantyEnd", Kind.TIMESTAMP),
        Column("tags", Kind.JSON),
        Column("actualReplacementDate", Kind.DAY),
        Column("manufacturedOn", Kind.DAY),
        Column("predictedReplacementMonths", Kind.INTEGER),
        Column("predictedReplacementDate", Kind.DAY),
    ),
    rules=(
        *key_rules(),
        Rule("location is missing", "location_id", Severity.WARN, not_null=True),
    ),
)

ENTITIES = (EQUIPMENT,)
