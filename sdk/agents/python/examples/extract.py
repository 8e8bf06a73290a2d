"""Finds what is said in a text: `{"text": "…"}` is answered with the amounts, dates, e-mail addresses and links in it.

What it found is counted by kind, and told to whoever asks with `query-ref`.
"""

import re

import paddock
from paddock import Invalid, Message, Performative

PATTERNS = {
    "amounts": re.compile(r"(?:€|\$|£|EUR|USD)\s?\d[\d.,]*|\d[\d.,]*\s?(?:€|\$|£|EUR\b|USD\b)"),
    "dates": re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}\.\d{1,2}\.\d{4}\b"),
    "emails": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "links": re.compile(r"https?://[^\s<>\"')]+"),
}
TEXT_MAX = 100_000


class Handler(paddock.Agent):
    name = "agent-name"
    description = "Finds amounts, dates, e-mail addresses and links in texts."
    capabilities = ["extract"]

    def on_message(self, message: Message) -> None:
        if message.performative == Performative.QUERY_REF:
            paddock.reply(Performative.INFORM, paddock.load("found", {}))
        elif message.performative == Performative.REQUEST:
            self.extract(paddock.read(message))
        else:
            raise Invalid("send request or query-ref")

    def extract(self, request) -> None:
        text = request.get("text") if isinstance(request, dict) else None
        if not isinstance(text, str) or len(text) > TEXT_MAX:
            raise Invalid(f"`text` must be a text of up to {TEXT_MAX} characters")
        found = {kind: pattern.findall(text) for kind, pattern in PATTERNS.items()}
        totals = paddock.load("found", {})
        paddock.save("found", {kind: totals.get(kind, 0) + len(hits) for kind, hits in found.items()})
        paddock.reply(Performative.INFORM, found)
