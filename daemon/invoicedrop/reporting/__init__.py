"""What people and monitors are told: what waits, what failed, what went, and what is wrong."""
