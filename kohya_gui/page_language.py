"""Pages in the language of whoever asks. Gradio builds its pages once, in English, as one record of components: here that record is put into another
language on its way out, so that a page is right at its first paint and nothing is swapped in the browser.

What is drawn later, by a handler or a route, speaks through `text.say` and `text.words`, which know the request's language too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kohya_gui.form.block import Draw, draw_of
from kohya_gui.form.section import SECTION
from kohya_gui.text import ENGLISH, Words, speaking

COOKIE = "studio_language"
_BEFORE, _AFTER = "window.gradio_config = ", ";</script>"
_IN_LABELS = ("label", "info", "placeholder")
_BUTTONS = ("button", "downloadbutton", "duplicatebutton")


@dataclass(frozen=True)
class Translation:
    """How a page's record of components is put into one language. `drawn` makes HTML anew, by a component's number.

    `script_texts` are English sentences that the pages' own scripts say; `asked` is filled with every sentence that was looked up.
    """

    words: Words
    drawn: Mapping[int, Draw] = field(default_factory=dict)
    script_texts: frozenset[str] = frozenset()
    asked: set[str] = field(default_factory=set)

    def apply(self, config: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """`config` with its texts replaced, in place."""
        with speaking(self.words):
            for component in config.get("components", ()):
                self._component(component)
        if "head" in config:
            config["head"] = self._script() + (config["head"] or "")
        return config

    def page(self, html: str) -> str:
        """A page of Gradio's with the record in it; any other text as it is."""
        start = html.find(_BEFORE)
        end = html.find(_AFTER, start)
        if start < 0 or end < 0:
            return html
        start += len(_BEFORE)
        made = _as_script(self.apply(json.loads(html[start:end])))
        return (html[:start] + made + html[end:]).replace('lang="en"', f'lang="{self.words.language}"', 1)

    def _component(self, component: Mapping[str, Any]) -> None:
        props, id_ = component["props"], str(component["props"].get("elem_id") or "")
        make = self.drawn.get(component["id"])
        if make is not None:
            props["value"] = str(make())
        elif id_.startswith(SECTION):
            props["label"] = self.words.title(id_.removeprefix(SECTION), props["label"])
        else:
            self._labels(props, ("value",) if component["type"] in _BUTTONS else ())

    def _labels(self, props: MutableMapping[str, Any], further: Sequence[str]) -> None:
        for name in (*_IN_LABELS, *further):
            if isinstance(props.get(name), str) and props[name].strip():
                props[name] = self._text(props[name])
        if isinstance(props.get("choices"), list):
            props["choices"] = [[self._choice(name), value] for name, value in props["choices"]]

    def _text(self, english: str) -> str:
        self.asked.add(english)
        return self.words.text(english)

    def _choice(self, name: Any) -> Any:
        """A choice may be a file's name or a number as well as a word, so that it need not be in the catalogue."""
        return self.words.text(name) if isinstance(name, str) else name

    def _script(self) -> str:
        texts = {english: self.words.text(english) for english in sorted(self.script_texts)}
        return f"<script>window.STUDIO_LANGUAGE={_as_script(self.words.language)};window.STUDIO_WORDS={_as_script(texts)}</script>"


@dataclass(frozen=True)
class PageLanguage:
    """The middleware: it gives each request the words of its cookie (or `default`), and puts Gradio's pages into that language."""

    app: ASGIApp
    known: Mapping[str, Words]
    default: str = ENGLISH
    drawn: Mapping[int, Draw] = field(default_factory=dict)
    script_texts: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, speaking the reader's language."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        words = self.known[chosen_language(Headers(scope=scope), self.known, self.default)]
        with speaking(words):
            if words.language == ENGLISH or scope["method"] != "GET":
                await self.app(scope, receive, send)
            else:
                await self.app(scope, receive, _Rewriter(send, Translation(words, self.drawn, self.script_texts), scope["path"]))


@dataclass
class _Rewriter:
    """Holds back an answer that is a page or a page's record, and sends it translated; everything else streams through."""

    send: Send
    translation: Translation
    path: str
    start: Message | None = None
    body: bytearray = field(default_factory=bytearray)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._concerns(Headers(raw=message["headers"])):
                await self.send(message)
                return
            self.start = message
        elif self.start is None:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish()

    def _concerns(self, headers: Headers) -> bool:
        kind = headers.get("content-type", "")
        return "content-encoding" not in headers and (kind.startswith("text/html") or (kind.startswith("application/json") and self._is_record))

    @property
    def _is_record(self) -> bool:
        return self.path.endswith("/config")

    async def _finish(self) -> None:
        if self.start is None:
            raise RuntimeError("the body of an answer came before its start")
        made = (await run_in_threadpool(self._made, self.body.decode("utf-8"))).encode("utf-8")
        MutableHeaders(scope=self.start)["content-length"] = str(len(made))
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": made})

    def _made(self, text: str) -> str:
        return json.dumps(self.translation.apply(json.loads(text))) if self._is_record else self.translation.page(text)


def chosen_language(headers: Headers, known: Mapping[str, Words], default: str) -> str:
    """The language of the request's cookie, if there is such a language."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return default
    return cookie.value if cookie is not None and cookie.value in known else default


def drawn_blocks(blocks: Mapping[int, object]) -> Mapping[int, Draw]:
    """How those of Gradio's blocks that are drawn for each language are drawn, by their numbers."""
    return {number: draw for number, block in blocks.items() if (draw := draw_of(block)) is not None}


def _as_script(value: object) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&'\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
