"""`st-pipeline simulator`: the simulator's own commands, under the project's command.

Here: nothing but the name. The commands live beside the server, which must not import the command line.
"""

from st_pipeline.simulator.commands import simulator

__all__ = ["simulator"]
