"""A program that checks PDFs although jbig2dec was installed, or removed, while it imported pypdf; run by a test.

Its arguments are what pypdf finds each time it looks for jbig2dec: where it is, or nothing. It prints the verdicts.
"""

import shutil
import sys

answers = sys.argv[1:]
shutil.which = lambda _: answers.pop(0) or None

from checking import verdict  # noqa: E402

import pdfs  # noqa: E402 - pypdf is to be imported now

picture = b"<< /Length 9 /Filter /JBIG2Decode >>\nstream\n0 0 m 9 9\nendstream"
print(verdict(pdfs.invoice()), verdict(pdfs.build(pdfs.objects(more={4: picture}))))
assert not answers, "pypdf no longer asks that often"
