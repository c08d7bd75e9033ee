"""A local stand-in for the Channable API, for trying the program out without an account, and for its tests.

    with serve(Options(orders=20, rate=0)) as sandbox:
        ...  # talk to sandbox.url with sandbox.token; then look at sandbox.uploads()

It listens on loopback only, and answers as Channable's OpenAPI document specifies. `run` serves in the foreground. Its
customers and shops are invented. What can be told to it:

    sandbox.store.add_order(5, status_shipped="cancelled")    what an order is (`OrderChanges`); `samples` has each kind
    sandbox.store.attach(5, pdf)                              what somebody else attaches
    sandbox.store.event_plan.add("error", after=3)            what is said of an order after an upload (`EventRule`)
    sandbox.faults.add("lie", "order", shown={...})           what goes wrong (`Fault`)
    sandbox.moments.before("orders", action, skip=1)          what happens at an exact moment
    sandbox.journal.arrived("orders")                         how many requests of a kind came

`order_control` and `control` take the same over HTTP, but for moments.
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
