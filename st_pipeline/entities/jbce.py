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
    ids_param=False,  # what is missing is looked for by a second walk of the list
    scope="tn.jbce.callreasons:r",
    columns=(
        key_column(),
        Column("name", Kind.TEXT),
        Column("isLead", Kind.BOOLEAN),
        Column("active", Kind.BOOLEAN),
        Column("createdOn", Kind.TIMESTAMP),
        Column("modifiedOn", Kind.TIMESTAMP),
    ),
    rules=key_rules(),
)

ENTITIES = (CALL_REASONS,)
