"""A copy of the library that reads PDFs, with a fault, until it is mended."""

import shutil
from pathlib import Path
from typing import Final

import pypdf

LIBRARY: Final = Path(pypdf.__file__).parent
FAULTS: Final = {
    "a property is renamed": "PdfReader.root = PdfReader.root_object\ndel PdfReader.root_object",
    "a method is renamed": "PdfReader._cache, PdfReader.cache_indirect_object = PdfReader.cache_indirect_object, None",
    "TypeError": "PdfReader.root_object = property(lambda self: None + 1)",
    "nothing comes back": "PdfReader.root_object = property(lambda self: None)",
    "no pages come back": "PdfReader.pages = property(lambda self: [])",
    "pages are other things": "PdfReader.pages = property(lambda self: [object()])",
    "no text comes back": "PageObject.extract_text = lambda self: ''",
    "everything is encrypted": "PdfReader.is_encrypted = True\nPdfReader.decrypt = lambda self, password: 0",
    "MemoryError": "def fail(self):\n    raise MemoryError\nPdfReader.pages = property(fail)",
    "RecursionError": "PdfReader.pages = property(lambda self: self.pages)",
    "half installed": "from . import not_there_yet",
    "it ends the program": "def end(self):\n    raise SystemExit\nPdfReader.pages = property(end)",
    "it ends the process": "import os\nPdfReader.pages = property(lambda self: os._exit(0))",
    "it ends the process at its import": "import os\nos._exit(0)",
    "it hangs": "import time\nPdfReader.pages = property(lambda self: time.sleep(1000))",
}
"""What is wrong: lines at the end of the library's first module."""
TRIED_EACH_TIME: Final = (
    "a method is renamed",
    "nothing comes back",
    "no text comes back",
    "everything is encrypted",
    "MemoryError",
    "it ends the process at its import",
)
"""The faults that are tried in every run, with the validator alone."""


def break_library(home: Path, fault: str) -> Path:
    """Return a folder with a copy of the library that has a fault."""
    folder = home / "first on the path"
    shutil.copytree(LIBRARY, folder / "pypdf")
    module = folder / "pypdf" / "__init__.py"
    whole = module.read_text()
    module.with_name("mended").write_text(whole)
    module.unlink()  # it may be a link to the real one
    module.write_text(f"{whole}\n{fault}\n")
    return folder


def mend(folder: Path) -> None:
    """Make the library whole again, in one step."""
    (folder / "pypdf" / "mended").rename(folder / "pypdf" / "__init__.py")
