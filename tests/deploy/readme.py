"""The commands that README.md tells a newcomer to type, so that the scripts type the very same."""

import re


def commands_of(readme: str, section: str) -> list[str]:
    """Return the indented blocks of commands of a section, in order; lines that end with a backslash as they stand."""
    text = f"\n{readme}".partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return ["".join(line[4:] for line in block.splitlines(keepends=True)) for block in blocks]
