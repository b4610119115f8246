"""`st-pipeline up`, `webserver`, `down`, `migrate`, `doctor`, and the set-up that they share."""
