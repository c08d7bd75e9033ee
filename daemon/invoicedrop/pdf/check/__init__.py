"""The check itself: bytes in, facts or a refusal out. Imports nothing else of this program."""
