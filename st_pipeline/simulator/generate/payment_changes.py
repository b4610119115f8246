"""What happens to a payment after it is received: posted, exported; voided or deleted, and back.

Here: that, and the balances it changes. Not here: new payments.
"""

from random import Random

from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.ledger import cents, move_balance, open_balance
from st_pipeline.simulator.generate.payments import batch
from st_pipeline.simulator.generate.registry import Record, changes

_NEXT_STAGE = {"Pending": "Posted", "Posted": "Exported"}


@changes("payments")
def _next_stage(company: Company, _: Random, payment: Record) -> Record:
    """One step on in the books; after the last step, a new memo."""
    stage = payment["syncStatus"]
    if stage not in _NEXT_STAGE:
        return {"memo": "Receipt mailed."}
    return {"syncStatus": _NEXT_STAGE[stage], "batch": payment["batch"] or batch(company, company.today())}


def take_back(company: Company, payment: Record) -> None:
    """Voided or deleted: the amount it paid is open again on its invoices."""
    for one in payment["appliedTo"] or ():
        move_balance(company, one["appliedTo"], cents(one["appliedAmount"]))


def apply_again(company: Company, payment: Record) -> Record:
    """Restored. Returns the keys that change: it is unapplied if its invoices were paid in the meantime."""
    applied = payment["appliedTo"] or ()
    open_cents = {one["appliedTo"]: open_balance(company, one["appliedTo"]) for one in applied}
    if any(abs(cents(one["appliedAmount"])) > abs(open_cents[one["appliedTo"]]) for one in applied):
        return {"appliedTo": [], "unappliedAmount": payment["total"]}
    for one in applied:
        move_balance(company, one["appliedTo"], -cents(one["appliedAmount"]))
    return {}
