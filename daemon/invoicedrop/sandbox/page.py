"""The HTML page: orders and their attachments, as the "Order attachments" tab of Channable would list them.

One self-contained document; whatever comes from outside is escaped.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from invoicedrop import __version__
from invoicedrop.sandbox.attachments import StoredAttachment
from invoicedrop.sandbox.exchange import Context
from invoicedrop.sandbox.orders import StoredOrder

_ORDERS_SHOWN: Final = 200
_REFRESH_SECONDS: Final = 3
_KIB: Final = 1024

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2430; --pale: #667085; --line: #e3e7ee; --card: #fff; --back: #f5f7fa;
  --accent: #0b6e75; --chip: #e3f2f1 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --pale: #98a2b3; --line: #2b3340; --card: #1a202b;
  --back: #11151c; --accent: #5cc4c0; --chip: #173a3b } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem }
.lead, .pale { color: var(--pale) } .lead { margin: .25rem 0 1.5rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: .75rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem }
.card b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.card span { color: var(--pale); font-size: .85rem }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-size: .8rem; font-weight: 600; color: var(--pale) }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top }
tr:last-child td { border-bottom: 0 } td { font-variant-numeric: tabular-nums }
tr.more td:nth-child(-n+3) { border-bottom-color: transparent }
a { color: var(--accent); font-weight: 500 } code { font-size: .85rem; color: var(--pale) }
.chip { background: var(--chip); color: var(--accent); border-radius: 1rem; padding: .1rem .6rem; font-size: .8rem }
"""


def page(context: Context) -> str:
    """Return the page as it is now, in HTML."""
    store = context.store
    counters = context.journal.counters()
    uploads = store.uploads()
    orders = store.overview(_ORDERS_SHOWN)
    bucket = store.bucket
    limit = f"{bucket.level:.0f} / {bucket.burst}" if bucket.rate else "off"
    cards = (
        _card(sum(upload.posted for upload in uploads), "invoices uploaded"),
        _card(len({(upload.project, upload.order_id) for upload in uploads}), "orders with attachments"),
        _card(sum(counters["arrived"].values()), "requests: " + _listed(counters["arrived"])),
        _card(sum(counters["answered"].values()), "answers: " + _listed(counters["answered"])),
        _card(limit, f"rate limit: in the bucket; {bucket.refused} requests refused"),
        _card(
            len(context.faults.current()),
            "faults in force; so far: " + _listed({str(kind): hits for kind, hits in context.faults.hits.items()}),
        ),
    )
    rows = "".join(_order(order) for order in orders)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{_REFRESH_SECONDS}"><meta name="robots" content="noindex">
<title>{len(uploads)} attachments - invoicedrop sandbox</title><style>{_STYLE}</style></head><body><main>
<h1>invoicedrop sandbox</h1>
<p class="lead">A local stand-in for the Channable API, version {escape(__version__)}. Nothing here reaches Channable, a
marketplace or a customer. Company {store.company_id}, {_projects(store.options.projects)}.</p>
<section class="cards">{"".join(cards)}</section>
<h2>Order attachments</h2>
<div class="wide"><table><thead><tr><th>Order</th><th>Channel</th><th>Marketplace number</th><th>Attachment</th>
<th>Type</th><th>Size</th><th>Received (UTC)</th><th>SHA-256</th></tr></thead><tbody>{rows}</tbody></table></div>
<p class="pale">Orders with the newest attachments come first; at most {_ORDERS_SHOWN} are shown.</p>
</main></body></html>
"""


def _order(order: StoredOrder) -> str:
    name = (
        f"<td><b>{order.id}</b></td><td>{escape(order.channel_name)}</td><td>{escape(order.channel_id)}</td>"
        if order.attachments
        else f'<td>{order.id}</td><td class="pale">{escape(order.channel_name)}</td>'
        f'<td class="pale">{escape(order.channel_id)}</td>'
    )
    if not order.attachments:
        return f'<tr>{name}<td class="pale" colspan="5">no attachment</td></tr>'
    starts = [name] + ["<td></td>" * 3] * (len(order.attachments) - 1)
    rows = [start + _cells(attachment) for start, attachment in zip(starts, reversed(order.attachments), strict=True)]
    return "".join(f'<tr class="more">{row}</tr>' for row in rows[:-1]) + f"<tr>{rows[-1]}</tr>"


def _cells(attachment: StoredAttachment) -> str:
    title = escape(attachment.title)
    return (
        f'<td><a href="/sandbox/attachments/{attachment.id}.pdf">{title}</a></td>'
        f'<td><span class="chip">{escape(attachment.attachment_type)}</span></td><td>{_size(attachment.size)}</td>'
        f"<td>{attachment.created:%Y-%m-%d %H:%M:%S}</td>"
        f'<td><code title="{escape(attachment.sha256)}">{escape(attachment.sha256[:12])}</code></td>'
    )


def _card(figure: int | str, words: str) -> str:
    return f'<div class="card"><b>{escape(str(figure))}</b><span>{escape(words)}</span></div>'


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _projects(projects: Iterable[int]) -> str:
    numbers = [str(project) for project in projects]
    return f"project{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _size(size: int) -> str:
    if size < _KIB:
        return f"{size} bytes"
    return f"{size / _KIB:.1f} KiB" if size < _KIB * _KIB else f"{size / _KIB / _KIB:.1f} MiB"
