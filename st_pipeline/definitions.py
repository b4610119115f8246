"""Where Dagster enters: the module that workspace.yaml and `dagster -m` name.

Here: the name. Not here: the definitions themselves (defs/).
"""

from st_pipeline.defs.assembly import defs

__all__ = ["defs"]
