"""`st-pipeline up`, `down`, `migrate`, `doctor`, and the set-up that they share."""
