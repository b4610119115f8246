"""Of the entities that the engine treats alike, one is enough; of those that it treats otherwise, none is left out."""

from dataclasses import dataclass, fields, replace

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import DeletionSign, EntitySpec
from st_pipeline_tests.entities.shapes import EXAMPLES, ONLY_DATA, examples, over_shapes, shape

SPEC = ENTITIES["invoices"]


def test_each_entity_has_an_example_of_its_shape_in_the_suite():
    assert {shape(spec) for spec in ENTITIES.values()} == {shape(ENTITIES[name]) for name in EXAMPLES}
    assert [param.values[0] for param in over_shapes() if not param.marks] == list(examples().values())
    assert 1 < len(EXAMPLES) < len(ENTITIES)


@pytest.mark.parametrize(
    "changed",
    [{"feed_path": None}, {"ids_param": False}, {"deletion_sign": DeletionSign.INACTIVE}, {"sort": "+Id"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_spec_that_the_engine_treats_otherwise_has_another_shape(changed: dict[str, object]):
    assert shape(replace(SPEC, **changed)) != shape(SPEC)  # type: ignore[arg-type]


def test_what_is_only_data_makes_no_shape():
    assert shape(replace(SPEC, title="Bills", description="", version=99, rules=())) == shape(SPEC)


@dataclass(frozen=True, slots=True, eq=False)
class NewSpec(EntitySpec):
    """A spec that gained a field."""

    read_backwards: bool = False


def test_a_field_that_specs_gain_makes_shapes_until_somebody_says_that_it_is_only_data():
    given = {each.name: getattr(SPEC, each.name) for each in fields(SPEC)}
    assert shape(NewSpec(**given, read_backwards=True)) != shape(NewSpec(**given))
    assert {each.name for each in fields(EntitySpec)} >= ONLY_DATA
