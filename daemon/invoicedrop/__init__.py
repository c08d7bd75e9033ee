"""invoicedrop: uploads invoice PDFs from a shared drop folder to their orders in Channable, exactly once.

This package imports nothing at its top on purpose: the child process that reads PDFs and the
quick commands start from here, and pay only for what they use.
"""

__version__ = "1.0.0"
