"""How the page looks: on a phone and on a wide screen, light and dark, on paper. The system's own fonts, no picture."""

from base64 import b64encode
from hashlib import sha256
from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--back:#f4f6f8;--card:#fff;--ink:#1b2330;--pale:#566174;--line:#e1e6ec;--link:#1a5a96;
--bad:#b3261e;--bad-back:#fdf0ef;--warn:#8a5200;--warn-back:#fdf5e6;--good:#17693f;--good-back:#edf7f1;
--calm:#3d4b5f;--calm-back:#eef1f5}
@media (prefers-color-scheme:dark){:root{--back:#11151b;--card:#1a2029;--ink:#e8ebf0;--pale:#a4aebe;--line:#2c3541;
--link:#8cc2f2;--bad:#ff9d92;--bad-back:#33191a;--warn:#f0bd66;--warn-back:#2f2512;--good:#7bd3a0;--good-back:#15291f;
--calm:#bac4d3;--calm-back:#222a35}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif;overflow-wrap:anywhere}
main{max-width:58rem;margin:0 auto;padding:2rem 1.25rem 3rem}
h1,h2,h3,p,ul,dl,dd,figure{margin:0}
h1{font-size:1.6rem;line-height:1.25;letter-spacing:-.01em}
h1 small{font-size:1rem;font-weight:400;color:var(--pale);letter-spacing:0;margin-inline-start:.5rem}
h2{font-size:1.15rem;line-height:1.35}
h3{font-size:1rem;line-height:1.4}
a{color:var(--link)}
bdi{font-weight:600}
section{margin-top:2.25rem}
section>p{color:var(--pale);margin-top:.25rem}
.count{margin-inline-start:.25rem;font-variant-numeric:tabular-nums;font-weight:600;color:var(--pale)}
.state{margin-top:1.1rem;padding:1rem 1.15rem;border-radius:.75rem;border:1px solid var(--line);
border-inline-start:.3rem solid var(--calm);background:var(--card)}
.state p{margin-top:.3rem}
.state .seen{margin-top:.6rem;font-size:.9rem;color:var(--pale)}
.state.good{border-inline-start-color:var(--good)}.state.good h2{color:var(--good)}
.state.warn{border-inline-start-color:var(--warn)}.state.warn h2{color:var(--warn)}
.state.bad{border-inline-start-color:var(--bad)}.state.bad h2{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(4,1fr);gap:.75rem;margin-top:1rem;padding:0;list-style:none}
.figures a,.figures span.none{display:block;height:100%;padding:.8rem 1rem;border-radius:.75rem;background:var(--card);
border:1px solid var(--line);color:var(--pale);text-decoration:none;font-size:.9rem;line-height:1.35}
.figures b{display:block;font-size:1.7rem;line-height:1.2;font-weight:600;color:var(--ink);
font-variant-numeric:tabular-nums}
.figures a.bad{background:var(--bad-back)}.figures a.bad b{color:var(--bad)}
.figures a.warn{background:var(--warn-back)}.figures a.warn b{color:var(--warn)}
.figures a.good b{color:var(--good)}
.figures a:hover,.figures a:focus-visible{border-color:var(--link)}
.figures .none b{font-weight:400;color:var(--pale)}
.cards,.rows{list-style:none;padding:0;margin-top:.75rem}
.cards>li{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem 1.15rem;
border-inline-start:.3rem solid var(--bad)}
.cards.warn>li{border-inline-start-color:var(--warn)}
.cards>li+li{margin-top:.75rem}
.cards p{margin-top:.35rem}
.cards dl{margin-top:.6rem;padding:.6rem .8rem;border-radius:.5rem;background:var(--calm-back)}
.cards dd{margin-top:.1rem}
.cards dt{font-size:.85rem;font-weight:600;color:var(--calm)}
.head{display:flex;gap:.15rem 1rem;justify-content:space-between;align-items:baseline;flex-wrap:wrap}
.when{color:var(--pale);font-size:.9rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.files{list-style:none;padding:0;margin-top:.6rem}
.files li{padding:.5rem 0}.files li+li{border-top:1px solid var(--line)}.files li:last-child{padding-bottom:0}
.files p{color:var(--pale);font-size:.95rem;margin-top:.1rem}
.rows{background:var(--card);border:1px solid var(--line);border-radius:.75rem}
.rows li{padding:.65rem 1.15rem}
.rows li+li{border-top:1px solid var(--line)}
.rows p{color:var(--pale);font-size:.95rem}
.rows bdi{font-weight:500}
details{margin-top:.6rem;font-size:.9rem}
summary{cursor:pointer;color:var(--pale);width:fit-content}
details p,.technical{color:var(--pale);
font-family:ui-monospace,"Cascadia Mono",Consolas,Menlo,monospace;font-size:.85rem}
.scroll{margin-top:.75rem;overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
.scroll:focus-visible,summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-size:.85rem;color:var(--pale);font-weight:600}
th,td{text-align:start;padding:.5rem 1.15rem;vertical-align:baseline}
th:not(:last-child),td:not(:last-child){padding-inline-end:0}
td{border-top:1px solid var(--line);min-width:4.5rem}
td:first-child,td:last-child{white-space:nowrap}
td bdi{font-weight:400}
.more{font-size:.95rem}
footer{margin-top:2.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--pale);font-size:.9rem}
footer p+p{margin-top:.2rem}
@media (max-width:40rem){main{padding:1.25rem .9rem 2.5rem}h1{font-size:1.4rem}
.figures{grid-template-columns:repeat(2,1fr);gap:.6rem}.figures b{font-size:1.45rem}
.state,.cards>li{padding:.85rem .95rem}.rows li{padding:.6rem .95rem}th,td{padding:.45rem .95rem}}
@media print{:root{--back:#fff;--card:#fff;--ink:#000;--pale:#444;--line:#bbb;--bad-back:#fff;--warn-back:#fff;
--calm-back:#fff}main{max-width:none;padding:0}.cards>li,.rows li,tr,.state{break-inside:avoid}h2{break-after:avoid}
.scroll{overflow:visible}a{color:inherit}}
"""

_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy: this very style, and nothing else; whatever got into the page could load and run nothing
(https://www.w3.org/TR/CSP3/)."""
