"""What each documented filter should select: a value, and which records of the whole list have it.

A case is `(value, keep)`, or a function that makes one from a record that has the value.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.clock import to_ticks

Record = dict[str, Any]
Keep = Callable[[Record], bool]
DAY = "2025-06-01T00:00:00Z"
CONTROL = {"page", "pageSize", "includeTotal", "sort", "orderBy", "orderByDirection", "ids", "active", "activeState"}
FIXED_BY_OTHER_TESTS = {
    "phone",
    "excludeAccountingChangesFromModifiedDateRange",
    "externalDataApplicationGuid",
    "externalDataKey",
    "externalDataValues",
    "customField.Fields",
    "customField.Operator",
    "balanceFilter.Comparer",
    "appointmentStatus",
    "appointmentStartsOnOrAfter",
    "appointmentStartsBefore",
    "firstAppointmentStartsOnOrAfter",
    "firstAppointmentStartsBefore",
    "hasUnusedAppointments",
    "descending",
    "transactionType",  # accepted and ignored: no key of a payment tells it
}
LOOKS_INTO = {("jobs", "technicianId"), ("appointments", "projectId")}  # as the appointment filters of jobs above


def since(key: str) -> Keep:
    return lambda record: to_ticks(record[key]) >= to_ticks(DAY)


def before(key: str) -> Keep:
    return lambda record: to_ticks(record[key]) < to_ticks(DAY)


def since_any(key: str) -> Keep:
    return lambda record: record[key] is not None and to_ticks(record[key]) >= to_ticks(DAY)


def before_any(key: str) -> Keep:
    return lambda record: record[key] is not None and to_ticks(record[key]) < to_ticks(DAY)


TIMES = {
    "createdOnOrAfter": (DAY, since("createdOn")),
    "createdBefore": (DAY, before("createdOn")),
    "modifiedOnOrAfter": (DAY, since("modifiedOn")),
    "modifiedBefore": (DAY, before("modifiedOn")),
}


def address(part: str) -> Callable[[Record], tuple[Any, Keep]]:
    return lambda sample: (sample["address"][part], lambda record: record["address"][part] == sample["address"][part])


def same(*path: str) -> Callable[[Record], tuple[Any, Keep]]:
    def value(record: Record) -> Any:
        for key in path:
            record = record[key] if record is not None else record
        return record

    return lambda sample: (value(sample), lambda record: value(record) == value(sample))


def among(*path: str) -> Callable[[Record], tuple[Any, Keep]]:
    """One of the values in an array."""

    def found(record: Any, path: tuple[str, ...] = path) -> list[Any]:
        if isinstance(record, list):
            return [value for item in record for value in found(item, path)]
        if record is None:
            return []
        return found(record[path[0]], path[1:]) if path else [record]

    return lambda sample: (next(iter(found(sample)), None), lambda record: found(sample)[0] in found(record))


PLACE = {part: address(part) for part in ("street", "unit", "city", "state", "zip", "country", "latitude", "longitude")}
CASES: dict[str, dict[str, Any]] = {
    "customers": {**TIMES, **PLACE, "name": ("smith", lambda r: "smith" in r["name"].lower())},
    "locations": {
        **TIMES,
        **PLACE,
        "name": ("GARCIA", lambda r: "garcia" in r["name"].lower()),
        "customerId": same("customerId"),
    },
    "customer_contacts": {**TIMES, "customerIds": same("customerId")},
    "memberships": {
        **TIMES,
        "customerIds": same("customerId"),
        "status": ("Suspended", lambda r: r["status"] == "Suspended"),
        "duration": same("duration"),
        "billingFrequency": ("Quarterly", lambda r: r["billingFrequency"] == "Quarterly"),
    },
    "membership_types": {
        **TIMES,
        "duration": (12, lambda r: r["durationBilling"][0]["duration"] == 12),
        "billingFrequency": ("OneTime", lambda r: r["durationBilling"][0]["billingFrequency"] == "OneTime"),
    },
    "invoices": {
        **TIMES,
        "statuses": (["Pending", "Posted"], lambda r: r["syncStatus"] != "Exported"),
        "batchId": same("batch", "id"),
        "batchNumber": same("batch", "number"),
        "jobId": same("job", "id"),
        "jobNumber": same("job", "number"),
        "businessUnitId": same("businessUnit", "id"),
        "customerId": same("customer", "id"),
        "invoicedOnOrAfter": (DAY, since("invoiceDate")),
        "invoicedOnBefore": (DAY, before("invoiceDate")),
        "dueDateOnOrAfter": (DAY, since("dueDate")),
        "dueDateBefore": (DAY, before("dueDate")),
        "adjustmentToId": same("adjustmentToId"),
        "number": same("referenceNumber"),
        "totalGreater": ("1000.00", lambda r: Decimal(r["total"]) > 1000),
        "totalLess": ("0", lambda r: Decimal(r["total"]) < 0),
        "balanceFilter.Balance": ("0", lambda r: Decimal(r["balance"]) == 0),
        "reviewStatuses": (["OnHold", "Reviewed"], lambda r: r["reviewStatus"] in ("OnHold", "Reviewed")),
        "assignedToIds": same("assignedTo", "id"),
        "invoiceConfigurations": ("CounterSales", lambda r: r["invoiceConfiguration"] == "CounterSales"),
    },
}
CASES |= {
    "business_units": {**TIMES, "name": ("plumbing", lambda r: "plumbing" in r["name"].lower())},
    "technicians": {**TIMES, "userIds": same("userId"), "name": ("le", lambda r: "le" in r["name"].lower())},
    "tag_types": TIMES,
    "call_reasons": TIMES,
    "campaigns": {
        **TIMES,
        "name": ("google", lambda r: "google" in r["name"].lower()),
        "campaignPhoneNumber": among("campaignPhoneNumbers"),
    },
    "job_types": {
        **TIMES,
        "name": ("install", lambda r: "install" in r["name"].lower()),
        "minDuration": (7200, lambda r: r["duration"] >= 7200),
        "maxDuration": (7200, lambda r: r["duration"] <= 7200),
        "priority": ("Normal", lambda r: r["priority"] == "Normal"),
    },
    "custom_fields.jobs": {
        # Four records, made and edited in years of their own: a day of theirs parts them.
        "createdOnOrAfter": ("2023-06-01", lambda r: r["createdOn"] >= "2023-06-01"),
        "createdBefore": ("2023-06-01", lambda r: r["createdOn"] < "2023-06-01"),
        "modifiedOnOrAfter": ("2024-06-01", lambda r: r["modifiedOn"] >= "2024-06-01"),
        "modifiedBefore": ("2024-06-01", lambda r: r["modifiedOn"] < "2024-06-01"),
    },
    "custom_fields.equipment": {},
    "jobs": {
        **TIMES,
        "number": same("jobNumber"),
        "projectId": same("projectId"),
        "bookingId": same("bookingId"),
        "jobStatus": ("Hold", lambda r: r["jobStatus"] == "Hold"),
        "priority": ("High", lambda r: r["priority"] == "High"),
        "customerId": same("customerId"),
        "locationId": same("locationId"),
        "soldById": same("soldById"),
        "jobTypeId": same("jobTypeId"),
        "campaignId": same("campaignId"),
        "businessUnitId": same("businessUnitId"),
        "invoiceId": same("invoiceId"),
        "createdFromEstimateId": same("createdFromEstimateId"),
        "estimateIds": among("estimateIds"),
        "completedOnOrAfter": (DAY, since_any("completedOn")),
        "completedBefore": (DAY, before_any("completedOn")),
        "tagTypeIds": among("tagTypeIds"),
        "equipmentIds": among("equipmentIds"),
    },
    "appointments": {
        **TIMES,
        "jobId": same("jobId"),
        "number": same("appointmentNumber"),
        "status": ("Canceled", lambda r: r["status"] == "Canceled"),
        "startsOnOrAfter": (DAY, since("start")),
        "startsBefore": (DAY, before("start")),
        "technicianId": among("appointmentSummaries", "technicianId"),
        "customerId": same("customerId"),
        "unused": ("true", lambda r: r["unused"]),
    },
    "estimates": {
        **TIMES,
        "jobId": same("jobId"),
        "projectId": same("projectId"),
        "jobNumber": same("jobNumber"),
        "locationId": same("locationId"),
        "totalGreater": (2000, lambda r: r["subtotal"] > 2000),
        "totalLess": (200, lambda r: r["subtotal"] < 200),
        "soldById": same("soldBy"),
        "soldByEmployeeId": same("soldBy"),
        "soldAfter": (DAY, since_any("soldOn")),
        "soldBefore": (DAY, before_any("soldOn")),
        "status": ("Dismissed", lambda r: r["status"]["name"] == "Dismissed"),
    },
    "payments": {
        **TIMES,
        "appliedToInvoiceIds": among("appliedTo", "appliedTo"),
        "appliedToReferenceNumber": among("appliedTo", "appliedToReferenceNumber"),
        "batchId": same("batch", "id"),
        "batchNumber": same("batch", "number"),
        "businessUnitIds": same("businessUnit", "id"),
        "customerId": same("customer", "id"),
        "depositIds": same("deposit", "id"),
        "paidOnAfter": (DAY, since("date")),
        "paidOnBefore": (DAY, before("date")),
        "statuses": (["Pending", "Posted"], lambda r: r["syncStatus"] != "Exported"),
        "totalGreater": ("1000.00", lambda r: Decimal(r["total"]) > 1000),
        "totalLess": ("0", lambda r: Decimal(r["total"]) < 0),
    },
    "equipment": {**TIMES, "locationIds": same("locationId")},
    "location_contacts": {**TIMES, "locationIds": same("locationId")},
}
# Entities without filters of their own; custom fields have the same for each owner.
for _name, _entry in catalogue_entries().items():
    if not _name.startswith("custom_fields."):
        CASES.setdefault(_name, {name: case for name, case in TIMES.items() if name in _entry.list_params})
