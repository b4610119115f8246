"""The companies of the demo.

Here: their names, sizes and keys, which are made up. Not here: their records.
"""

from st_pipeline.simulator.tenant import TenantSpec

APP_KEY = "ak1.demo0birch0and0friends0not0a0key"


def _company(name: str, tenant_id: int, seed: int, invoices: int, environment: str = "production") -> TenantSpec:
    word = name.lower().replace(" & ", "-").replace(" ", "-") + ("-integration" if environment == "integration" else "")
    return TenantSpec(
        tenant_id=tenant_id,
        environment=environment,  # type: ignore[arg-type]
        name=name,
        client_id=f"cid.demo-{word}",
        client_secret=f"cs.demo-not-a-secret-{word}",
        app_key=APP_KEY,
        seed=seed,
        customers=invoices // 3,
        invoices=invoices,
    )


def demo_companies() -> list[TenantSpec]:
    """The demo's tenants; 24,500 invoices in all."""
    return [
        _company("Birch & Sons Heating", 1_001_001, 11, 2_000),
        _company("Acme Plumbing", 1_002_002, 12, 6_000),
        _company("Acme Plumbing", 2_002_002, 13, 500, "integration"),
        _company("Summit Air", 1_003_003, 14, 16_000),
    ]
