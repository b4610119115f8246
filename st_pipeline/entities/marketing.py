"""Marketing: campaigns. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Kind, key_column, key_rules

CAMPAIGNS = EntitySpec(
    name="campaigns",
    area="marketing",
    title="Campaigns",
    description="What brings customers in, and the phone numbers it uses.",
    list_path="/marketing/v2/tenant/{tenant}/campaigns",
    list_params=MappingProxyType({"active": "Any"}),
    sort="+Id",
    scope="tn.mrk.campaigns:r",
    columns=(
        key_column(),
        Column("name", Kind.TEXT, never_null=True),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("active", Kind.BOOLEAN, never_null=True),
        Column("isDefaultCampaign", Kind.BOOLEAN),
        Column("category.id", Kind.INTEGER),
        Column("category.name", Kind.TEXT),
        Column("category.active", Kind.BOOLEAN),
        Column("source", Kind.TEXT),
        Column("otherSource", Kind.TEXT),
        Column("businessUnit", Kind.TEXT),
        Column("medium", Kind.TEXT),
        Column("otherMedium", Kind.TEXT),
        Column("campaignPhoneNumbers", Kind.JSON),
    ),
    rules=key_rules(),
)

ENTITIES = (CAMPAIGNS,)
