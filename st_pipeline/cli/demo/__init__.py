"""`st-pipeline demo`, `dev`, `simulator`: everything on simulated companies."""
