"""However a PDF is mangled, the check ends with facts or a refusal, and never with an error of its own."""

import random
import re
import zlib
from collections.abc import Callable

from checking import GOOD, examples, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pdfs

MANGLED = GOOD | {name: pdf for name, pdf in pdfs.careless().items() if len(pdf) < 10_000}


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(MANGLED)),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 12),
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"<<", b">>", b"[", b"(", b"stream\n", b" 0 R", b"endobj", b"xref", b"9999999999", b"/"]
                ),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_whatever_comes_gets_a_verdict(name: str, edits: list[tuple[float, int, bytes]]) -> None:
    """However a PDF is mangled, the check ends with facts or a verdict and never with an error of its own."""
    pdf = MANGLED[name]
    for share, length, text in edits:
        at = int(share * len(pdf))
        pdf = pdf[:at] + text + pdf[at + length :]
    verdict(pdf)


WORDS = [
    *b"<< >> [ ] ( ) < > / % obj endobj stream\n endstream xref\n trailer startxref %%EOF null true -1 0 .5 1e9".split(
        b" "
    ),
    *b"/Length /Filter /FlateDecode /DCTDecode /LZWDecode /JBIG2Decode /Type /ObjStm /XRef /Metadata /Kids".split(),
    *b"/Count /Prev /W /Index /N /First /DecodeParms /Columns /Encrypt /OpenAction /AA /S /JavaScript /Names".split(),
    *b"/Contents /Pages /Root /Size /Collection #4a".split(),
    *[b" 0 R", b"1 0 R", b"10 0 R", b"/Predictor 12", b"\r", b"\n", bytes(200)],
]
NUMBERS = [0, 1, -1, 2, 5, 10, 255, 65_536, 2**31, 2**63, 10**19, 10**30]


def mutated(pdf: bytes, chance: random.Random) -> bytes:
    """Return the PDF with a few changes of the kinds that parsers stumble over, inside its streams, too."""
    body = bytearray(pdf)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 10))):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(7):
            case 0:
                body[at : at + chance.randrange(20)] = chance.choice(WORDS)
            case 1:
                del body[at : at + chance.choice((1, 2, 10, 100, 1000))]
            case 2:
                body[at : at + 1] = chance.randbytes(1)
            case 3:
                other = chance.randrange(len(body) + 1)
                body[at:at] = body[other : other + chance.choice((5, 50, 500))]
            case 4:
                change_one(body, rb"\d+", lambda _: b"%d" % chance.choice(NUMBERS), chance)
            case 5:
                change_one(body, rb"/[A-Za-z]+", lambda _: chance.choice([w for w in WORDS if w[:1] == b"/"]), chance)
            case _:
                change_one(
                    body, rb"/Length \d+[^\0]{0,99}?stream\r?\n.*?endstream", lambda old: rewritten(old, chance), chance
                )
    return bytes(body) or b"%PDF-1.4"


def change_one(body: bytearray, pattern: bytes, change: Callable[[bytes], bytes], chance: random.Random) -> None:
    """Change one of the places where a pattern matches."""
    matches = list(re.finditer(pattern, body, re.DOTALL))
    if matches:
        match = chance.choice(matches)
        body[match.start() : match.end()] = change(match[0])


def rewritten(old: bytes, chance: random.Random) -> bytes:
    """Return a Flate stream (from its length on) with changes in what it says, compressed again."""
    head, _, rest = old.partition(b"stream")
    try:
        text = bytearray(zlib.decompress(rest.strip().removesuffix(b"endstream")))
    except zlib.error:
        return old
    for _ in range(3):
        at = chance.randrange(len(text) + 1)
        text[at : chance.randrange(at, len(text) + 1)] = chance.choice(WORDS)
    data = zlib.compress(bytes(text))
    return re.sub(rb"/Length \d+", b"/Length %d" % len(data), head) + b"stream\n" + data + b"\nendstream"


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(MANGLED)), seed=st.integers(0, 2**64))
def test_whatever_a_mutation_makes_gets_a_verdict(name: str, seed: int) -> None:
    """Words, names, numbers and streams put where they do not belong end with facts or a verdict, too."""
    verdict(mutated(MANGLED[name], random.Random(seed)))
