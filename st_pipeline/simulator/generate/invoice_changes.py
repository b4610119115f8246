"""What happens to an invoice after it is written: posted, exported, paid.

Here: one such step, with the payment and the customer's balance. Not here: new invoices.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from random import Random

from st_pipeline.simulator.clock import to_day_text
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.ledger import close_account
from st_pipeline.simulator.generate.payments import received
from st_pipeline.simulator.generate.registry import Record, changes

_NEXT_STAGE = {"Pending": "Posted", "Posted": "Exported"}


@changes("invoices")
def _next_step(company: Company, chance: Random, invoice: Record) -> Record:
    """An open one is paid, others go one step on in the books. ServiceTitan: each step changes `modifiedOn`."""
    stage = invoice["syncStatus"]
    if invoice["balance"] not in ("0.00", None) and (stage not in _NEXT_STAGE or chance.random() < 0.5):
        received(company, company.chance("payments"), invoice)
        close_account(company, invoice)
        return {"balance": "0.00", "paidOn": to_day_text(company.today())}
    if stage in _NEXT_STAGE:
        reference = invoice["referenceNumber"]
        day = to_day_text(company.today())
        batch = invoice["batch"] or {
            "id": company.catalogue.tax_zone_ids[0],
            "number": day[5:10],
            "name": f"Week of {day[:10]}",
        }
        exported = stage == "Posted"
        return {"syncStatus": _NEXT_STAGE[stage], "batch": batch, "exportId": f"QB-{reference}" if exported else None}
    return {"sentStatus": "Opened", "reviewStatus": "Reviewed"}
