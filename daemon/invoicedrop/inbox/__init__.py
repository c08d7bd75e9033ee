"""The folders: what is there, what is settled, read once, filed without overwriting."""
