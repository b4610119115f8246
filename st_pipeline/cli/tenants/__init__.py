"""`st-pipeline companies`, `onboard`, `tenants`, `audit`: parsing and printing."""
