"""A copy of the library that reads PDFs, with a fault, until it is mended."""

import shutil
from pathlib import Path
from typing import Final

import pypdf

LIBRARY: Final = Path(pypdf.__file__).parent
FAULTS: Final = {
    "it wants other arguments": "PdfReader.__init__ = lambda self: None",
    "a method is renamed": "PdfReader._cache, PdfReader.cache_indirect_object = PdfReader.cache_indirect_object, None",
    "TypeError": "PdfReader.__init__ = lambda self, *more: None + 1",
    "nothing comes back": "PageObject.extract_text = lambda self: None",
    "no text comes back": "PageObject.extract_text = lambda self: ''",
    "everything is encrypted": "PdfReader.is_encrypted = True\nPdfReader.decrypt = lambda self, password: 0",
    "MemoryError": "def fail(self, *more):\n    raise MemoryError\nPdfReader.__init__ = fail",
    "RecursionError": "PdfReader.__init__ = lambda self, *more: self.__init__()",
    "half installed": "from . import not_there_yet",
    "it ends the program": "def end(self, *more):\n    raise SystemExit\nPdfReader.__init__ = end",
    "it ends the process": "import os\nPdfReader.__init__ = lambda self, *more: os._exit(0)",
    "it ends the process at its import": "import os\nos._exit(0)",
    "it hangs": "import time\nPdfReader.__init__ = lambda self, *more: time.sleep(1000)",
}
"""What is wrong: lines at the end of the library's first module."""
TRIED_EACH_TIME: Final = (
    "a method is renamed",
    "no text comes back",
    "everything is encrypted",
    "MemoryError",
    "half installed",
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
