"""Programs for people who work on st-pipeline: the scaffold of a new entity and the generated docs."""
