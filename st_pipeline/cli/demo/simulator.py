"""`st-pipeline simulator`: the simulator's own commands, under the project's command.

Here: only the name. The commands are in simulator/, which must not import the command line.
"""

from st_pipeline.simulator.commands import simulator

__all__ = ["simulator"]
