"""Equipment (ServiceTitan: equipmentsystems): installed units. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Kind, Rule, Severity, key_column, key_rules

EQUIPMENT = EntitySpec(
    name="equipment",
    area="equipmentsystems",
    title="Equipment",
    description="Units installed at customers. Their custom fields and attachments are shown only one unit at a time, "
    "so they are not read.",
    list_path="/equipmentsystems/v2/tenant/{tenant}/installed-equipment",
    feed_path="/equipmentsystems/v2/tenant/{tenant}/export/installed-equipment",
    list_params=MappingProxyType({"active": "Any"}),
    sort="+Id",
    scope="tn.eqs.installedequipment:r",
    after=("customers", "locations"),
    refers_to=("invoices",),
    columns=(
        key_column(),
        Column("active", Kind.BOOLEAN),
        Column("equipmentId", Kind.INTEGER, description="the item of the price book"),
        Column("locationId", Kind.INTEGER),
        Column("customerId", Kind.INTEGER),
        Column("invoiceItemId", Kind.INTEGER),
        Column("name", Kind.TEXT),
        Column("type.id", Kind.INTEGER),
        Column("type.name", Kind.TEXT),
        Column("installedOn", Kind.TIMESTAMP),
        Column("createdOn", Kind.TIMESTAMP),
        Column("modifiedOn", Kind.TIMESTAMP),
        Column("serialNumber", Kind.TEXT),
        Column("barcodeId", Kind.TEXT),
        Column("memo", Kind.TEXT),
        Column("manufacturer", Kind.TEXT),
        Column("model", Kind.TEXT),
        Column("cost", Kind.DECIMAL),
        Column("status", Kind.TEXT, known_values=("Installed", "Replaced")),
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
