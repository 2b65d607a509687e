"""HTML from nested calls; whatever is no HTML yet is escaped."""

import base64
from collections.abc import Iterable
from html import escape

# Elements without content, and so without an end.
_VOID = ("img", "meta", "br")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element: `tag("a", "here", href="#top", class_="link")`.

    Args:
      name: of the element.
      children: `Html` is taken as it is, everything else as text.
      attributes: an underscore at the end of a name is dropped; one of value None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after another, escaped where they are no `Html`."""
    return Html(
        between.join(part if isinstance(part, Html) else escape(str(part)) for part in parts)
    )


def picture(png: bytes, description: str, **attributes: object) -> Html:
    """An image within the page.

    Args:
      png: the file's content.
      description: for those who can't see it.
      attributes: of the element.
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return tag("img", src=source, alt=description, **attributes)


def table(
    heads: Iterable[object],
    rows: Iterable[Iterable[object]],
    *,
    numbers_from: int = 1,
    groups: Iterable[tuple[str, int]] = (),
) -> Html:
    """A table that scrolls sideways where it doesn't fit.

    Args:
      heads: of the columns.
      rows: cells, `Html` or text.
      numbers_from: columns from here on hold figures, which stand to the right.
      groups: heads above the heads, with the number of columns that each spans.
    """

    def row(cells: Iterable[object], name: str) -> Html:
        return tag(
            "tr",
            *(
                tag(name, cell, class_="number" if place >= numbers_from else None)
                for place, cell in enumerate(cells)
            ),
        )

    above = [tag("th", name, colspan=columns, class_="group") for name, columns in groups]
    head = join([tag("tr", *above) if above else Html(), row(heads, "th")])
    body = tag("tbody", *(row(cells, "td") for cells in rows))
    return tag("div", tag("table", tag("thead", head), body), class_="scroll")
