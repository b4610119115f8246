"""Memberships: the agreements customers hold, and their types. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Group, Kind, Rule, Severity, key_column, key_rules

FREQUENCIES = ("OneTime", "Monthly", "EveryOtherMonth", "Quarterly", "BiAnnual", "Annual")

MEMBERSHIP_TYPES = EntitySpec(
    name="membership_types",
    area="memberships",
    title="Membership types",
    description="The kinds of agreement a company sells.",
    list_path="/memberships/v2/tenant/{tenant}/membership-types",
    # ServiceTitan: there is a feed, but only the list shows prices, discounts and services, and only when asked.
    list_params=MappingProxyType(
        {
            "active": "Any",
            "includeDurationBilling": "true",
            "includeDiscounts": "true",
            "includeRecurringServices": "true",
            "includeTags": "true",
        }
    ),
    scope="tn.mem.membershiptypes:r",
    refers_to=("tag_types",),
    columns=(
        Column("name", Kind.TEXT, description="the name that employees see", never_null=True),
        Column("displayName", Kind.TEXT),
        Column("active", Kind.BOOLEAN, never_null=True),
        Column("discountMode", Kind.TEXT, known_values=("Basic", "Units", "Categories"), never_null=True),
        Column("locationTarget", Kind.TEXT, known_values=("AllLocations", "SingleLocation"), never_null=True),
        Column("revenueRecognitionMode", Kind.TEXT, known_values=("PointOfSale", "Deferred"), never_null=True),
        Column("autoCalculateInvoiceTemplates", Kind.BOOLEAN, never_null=True),
        Column("useMembershipPricingTable", Kind.BOOLEAN, never_null=True),
        Column("showMembershipSavings", Kind.BOOLEAN, never_null=True),
        key_column(),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("createdById", Kind.INTEGER),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("importId", Kind.TEXT),
        Column("billingTemplateId", Kind.INTEGER),
        Column("discount", Kind.DECIMAL, never_null=True),
        Column("durationBilling", Kind.JSON),
        Column("discounts", Kind.JSON),
        Column("recurringServices", Kind.JSON),
        Column("tagTypeIds", Kind.JSON),
    ),
    rules=key_rules(),
)

MEMBERSHIPS = EntitySpec(
    name="memberships",
    area="memberships",
    group=Group.CUSTOMERS,
    title="Memberships",
    description="Who holds which agreement. A customer is an active member when `status` is Active; `active` alone "
    "includes expired ones.",
    list_path="/memberships/v2/tenant/{tenant}/memberships",
    feed_path="/memberships/v2/tenant/{tenant}/export/memberships",
    list_params=MappingProxyType({"active": "Any"}),
    scope="tn.mem.memberships:r",
    refers_to=("customers", "locations", "membership_types", "business_units", "custom_fields"),
    columns=(
        key_column(),
        Column("createdOn", Kind.TIMESTAMP, never_null=True),
        Column("createdById", Kind.INTEGER),
        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),
        Column("followUpOn", Kind.TIMESTAMP, never_null=True),
        Column("cancellationDate", Kind.TIMESTAMP),
        Column("from", Kind.TIMESTAMP, name="starts_on"),
        Column("nextScheduledBillDate", Kind.TIMESTAMP),
        Column("to", Kind.TIMESTAMP, name="ends_on"),
        Column("billingFrequency", Kind.TEXT, known_values=FREQUENCIES, never_null=True),
        Column("renewalBillingFrequency", Kind.TEXT, known_values=FREQUENCIES),
        Column(
            "status",
            Kind.TEXT,
            description="state of the agreement; Active alone makes an active member",
            known_values=("Active", "Suspended", "Expired", "Canceled", "Deleted"),
            never_null=True,
        ),
        Column(
            "followUpStatus",
            Kind.TEXT,
            known_values=("NotAttempted", "Unreachable", "Contacted", "Won", "Dismissed"),
            never_null=True,
        ),
        Column("active", Kind.BOOLEAN, description="true for expired ones, too: go by status", never_null=True),
        Column("initialDeferredRevenue", Kind.DECIMAL, never_null=True),
        Column("duration", Kind.INTEGER, description="length of the term, in months as far as is known; null: no end"),
        Column("renewalDuration", Kind.INTEGER),
        Column("businessUnitId", Kind.INTEGER, never_null=True),
        Column("customerId", Kind.INTEGER, never_null=True),
        Column("membershipTypeId", Kind.INTEGER, never_null=True),
        Column("activatedById", Kind.INTEGER),
        Column("activatedFromId", Kind.INTEGER),
        Column("billingTemplateId", Kind.INTEGER),
        Column("cancellationBalanceInvoiceId", Kind.INTEGER),
        Column("cancellationInvoiceId", Kind.INTEGER),
        Column("followUpCustomStatusId", Kind.INTEGER),
        Column(
            "locationId",
            Kind.INTEGER,
            description="the location it covers: st_locations.st_id; null: all locations of the customer",
        ),
        Column("paymentMethodId", Kind.INTEGER),
        Column("paymentTypeId", Kind.INTEGER),
        Column("recurringLocationId", Kind.INTEGER),
        Column("renewalMembershipTaskId", Kind.INTEGER),
        Column("renewedById", Kind.INTEGER),
        Column("soldById", Kind.INTEGER),
        Column("customerPo", Kind.TEXT),
        Column("importId", Kind.TEXT),
        Column("memo", Kind.TEXT),
        Column("customFields", Kind.JSON, never_null=True),
    ),
    rules=(*key_rules(), Rule("customer is missing", "customer_id", Severity.WARN, not_null=True)),
)

ENTITIES = (MEMBERSHIP_TYPES, MEMBERSHIPS)
