"""What an administrator types: one module for each command, and what they share."""
