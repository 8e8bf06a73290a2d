"""A thin layer over Paddock's world: JSON in messages and state, failures as exceptions.

An agent's module (`app.py`) derives `Handler` from :class:`Agent` and says what it is and does.
"""

import json
from typing import Any, Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, messaging, state, tools
from wit_world.imports.types import (
    Content,
    Description,
    Draft,
    Failure_Fatal,
    Failure_Invalid,
    Failure_Retryable,
    Message,
    Performative,
    Start,
)

__all__ = [
    "Agent", "Invalid", "Message", "Performative", "Retryable", "Start",
    "draft", "keys", "load", "log_info", "read", "remind", "remove", "reply", "save", "send", "tool",
]


class Invalid(Exception):
    """The message is at fault: its sender is told so, and it is not tried again."""


class Retryable(Exception):
    """It may go well later."""


class Agent(exports.Handler):
    """What an agent has to be. Every call gets an object of its own: what is kept in memory belongs to the module."""

    name: Optional[str] = None
    description: str = ""
    capabilities: list[str] = []
    tools: list[str] = []

    def on_start(self, start: Start) -> None:
        """Before the first message of every life of the agent."""

    def on_message(self, message: Message) -> None:
        """Handles one message."""
        raise Invalid("this agent handles nothing")

    def describe(self) -> Description:
        return Description(self.name, self.description, list(self.capabilities), list(self.tools))

    def init(self, start: Start) -> None:
        self._guarded(self.on_start, start)

    def handle(self, message: Message) -> None:
        self._guarded(self.on_message, message)

    def _guarded(self, run, argument) -> None:
        try:
            run(argument)
        except Invalid as error:
            raise Err(Failure_Invalid(str(error)))
        except Retryable as error:
            raise Err(Failure_Retryable(str(error)))
        except Err:
            raise
        except Exception as error:
            raise Err(Failure_Fatal(f"{type(error).__name__}: {error}"))


def _refused(run, *arguments):
    try:
        return run(*arguments)
    except Err as error:
        raise Invalid(str(error.value))


def _content(value: Any) -> Content:
    return Content("application/json", json.dumps(value).encode())


def read(message: Message) -> Any:
    """What a message says; its sender is told if it is not JSON."""
    try:
        return json.loads(bytes(message.content.body))
    except ValueError:
        raise Invalid("the content is not JSON")


def reply(performative: Performative, value: Any) -> str:
    """Answers the message that is being handled."""
    return _refused(messaging.reply, performative, _content(value))


def draft(receiver: str, performative: Performative, value: Any, **more: Any) -> Draft:
    """A message to be sent; `more` are fields of the envelope, such as `conversation`."""
    fields = dict.fromkeys(
        ["conversation", "reply_with", "in_reply_to", "reply_to", "protocol", "language", "ontology", "reply_by"]
    )
    fields["durable"] = False
    fields.update(more)
    return Draft(performative=performative, receivers=[receiver], content=_content(value), **fields)


def send(receiver: str, performative: Performative, value: Any, **more: Any) -> str:
    return _refused(messaging.send, draft(receiver, performative, value, **more))


def remind(after_ms: int, receiver: str, performative: Performative, value: Any) -> None:
    """Sends a message after some milliseconds."""
    _refused(messaging.remind, after_ms, draft(receiver, performative, value))


def load(key: str, default: Any = None) -> Any:
    value = state.get(key)
    return default if value is None else json.loads(bytes(value))


def save(key: str, value: Any) -> None:
    _refused(state.set, key, json.dumps(value).encode())


def remove(key: str) -> None:
    state.remove(key)


def keys(prefix: str = "") -> list[str]:
    return state.keys(prefix)


def tool(name: str, input: Any) -> Any:
    """Calls a tool that the agent was granted."""
    try:
        return json.loads(tools.call(name, json.dumps(input)))
    except Err as error:
        problem = error.value
        raise Retryable(f"{name}: {problem.kind}: {problem.detail}")


def log_info(text: str) -> None:
    log.write(log.Level.INFO, text)
