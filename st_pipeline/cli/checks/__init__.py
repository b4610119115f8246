"""`st-pipeline checks`: which checks fail, what they are, and what a person does about them."""
