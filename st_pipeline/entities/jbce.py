"""Calls (ServiceTitan: jbce): call reasons. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Kind, key_column, key_rules

CALL_REASONS = EntitySpec(
    name="call_reasons",
    area="jbce",
    title="Call reasons",
    description="Why people call: the reasons a dispatcher chooses from.",
    list_path="/jbce/v2/tenant/{tenant}/call-reasons",
    list_params=MappingProxyType({"active": "Any"}),
    sort="+Id",
    ids_param=False,  # what is missing is checked by reading the list a second time
    scope="tn.jbce.callreasons:r",
    columns=(
        key_column(),
        Column("name", Kind.TEXT, never_null=True),
        Column("isLead", Kind.BOOLEAN, never_null=True),
        Column("active", Kind.BOOLEAN, never_null=True),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
    ),
    rules=key_rules(),
)

ENTITIES = (CALL_REASONS,)
