"""HTML is escaped unless it says that it is markup."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.markup import Markup, join, tag


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))), st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_no_text_and_no_attribute_can_add_an_element(text: str, attribute: str) -> None:
    found = read(tag("p", text, title=attribute))
    assert (found.tags, found.text, found.attributes) == (["p"], text, {"title": attribute})


def test_markup_inside_stays_markup() -> None:
    assert tag("p", tag("b", "<"), " & ", Markup("<hr>")) == "<p><b>&lt;</b> &amp; <hr></p>"


def test_attributes_that_are_none_or_false_are_left_out() -> None:
    assert tag("input", disabled=False, value=None, hidden=True, data_x=0, class_="a") == '<input hidden data-x="0" class="a">'


def test_lists_and_nothing_join() -> None:
    assert join(["a", None, [1, Markup("<br>")]]) == "a1<br>"
