"""A local stand-in for the Channable API, for trying the program out without an account, and for its tests.

    with serve(Options(orders=20, rate=0)) as sandbox:
        ...  # talk to sandbox.url with sandbox.token; then look at sandbox.uploads()

It listens on loopback only, answers as Channable's OpenAPI document specifies, and produces the faults that are added
to `sandbox.faults`. `run` serves in the foreground. Its customers and shops are invented.
"""

from invoicedrop.sandbox.attachments import StoredAttachment
from invoicedrop.sandbox.events import EventPlan, EventRule
from invoicedrop.sandbox.faults import Fault, FaultPlan, Kind
from invoicedrop.sandbox.journal import RequestRecord
from invoicedrop.sandbox.options import Options
from invoicedrop.sandbox.orders import CUSTOMER_SURNAME, STATUSES, StoredOrder, item_ids, marketplace_number
from invoicedrop.sandbox.samples import SAMPLES
from invoicedrop.sandbox.server import Running, run, serve
from invoicedrop.sandbox.store import Store, Upload

__all__ = [
    "CUSTOMER_SURNAME",
    "SAMPLES",
    "STATUSES",
    "EventPlan",
    "EventRule",
    "Fault",
    "FaultPlan",
    "Kind",
    "Options",
    "RequestRecord",
    "Running",
    "Store",
    "StoredAttachment",
    "StoredOrder",
    "Upload",
    "item_ids",
    "marketplace_number",
    "run",
    "serve",
]
