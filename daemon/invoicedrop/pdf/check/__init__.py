"""The check itself: bytes in, facts or a refusal out. Imports nothing else of this program.

Its one entry is `check.check`; what that returns or raises is defined in `verdict`. Nothing is imported here: the
daemon needs `verdict` alone, and pypdf with its parsers stays in the processes that check.
"""
