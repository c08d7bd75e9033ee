"""HTML in which nothing from outside can be markup: what is no `Html` is escaped, whoever forgets to."""

from html import escape
from typing import Final

_VOID: Final = frozenset({"meta"})


class Html(str):
    """Markup: what `element` and `joined` return, and what is written in the code as such. Never text from outside."""

    __slots__ = ()


def element(tag: str, *children: Html | str | None, **attributes: str | None) -> Html:
    """Return an element. A child or an attribute's value that is None is left out; a name may end in "_" (class_)."""
    parts = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    ]
    start = f"<{tag}{''.join(parts)}>"
    return Html(start if tag in _VOID else f"{start}{joined(*children)}</{tag}>")


def joined(*children: Html | str | None) -> Html:
    """Return several children as one."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children if child is not None))
