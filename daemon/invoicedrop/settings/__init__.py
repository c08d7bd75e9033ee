"""What is set, where it was written, and what is wrong with it."""
