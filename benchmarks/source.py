"""The simulator as the benchmark's source: invoices of 5 KB, where the simulator's own have 4.3.

Run by sync.py in a process of its own, so that none of its CPU is counted.
"""

from st_pipeline.simulator.commands import simulator
from st_pipeline.simulator.generate import invoice_items

LINES_OF_12_INVOICES = (1, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6)

if __name__ == "__main__":
    invoice_items._HOW_MANY = LINES_OF_12_INVOICES  # noqa: SLF001 - the one knob that makes whole records longer
    simulator(["serve", "--port", "0", "--integration-port", "0"])
