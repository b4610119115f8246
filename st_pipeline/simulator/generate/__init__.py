"""Companies made up from a seed: households, sites, contacts, memberships, jobs, invoices, payments.

Here: a generator function for each entity, what they share, and how records change over time. Not here: HTTP. To add an
entity, write its generator in a module of this folder; paths, filters and feeds come from the API catalogue.
"""

from importlib import import_module
from pkgutil import iter_modules

from st_pipeline.simulator.generate.company import Company, Sizes, leave_empty, seed_company

__all__ = ["Company", "Sizes", "leave_empty", "seed_company"]

for _module in iter_modules(__path__):  # importing a module registers its generators
    import_module(f"{__name__}.{_module.name}")
