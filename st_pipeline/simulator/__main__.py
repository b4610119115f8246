"""`python -m st_pipeline.simulator`: the same commands as `st-pipeline simulator`."""

from st_pipeline.simulator.commands import simulator

simulator(prog_name="python -m st_pipeline.simulator")
