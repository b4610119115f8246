"""Companies made up from a seed: households, sites, contacts, memberships, invoices.

Here: one generator function per entity (`crm`, `memberships`, `invoices`), what they share (`company`, `people`,
`catalogue`) and how time moves (`activity`). Not here: HTTP. To add an entity, write its generator and import its
module below; paths, filters and feeds come from `facts.json`.
"""

from st_pipeline.simulator.generate import crm, invoices, memberships
from st_pipeline.simulator.generate.company import Company, Sizes, seed_company

__all__ = ["Company", "Sizes", "crm", "invoices", "memberships", "seed_company"]
