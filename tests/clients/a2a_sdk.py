"""The A2A SDK from PyPI against an agent: its card, messages, tasks and streams in both versions, and what is wrong.

Usage: a2a_sdk.py BASE AGENT, where the agent answers a request with what it says.
"""

import asyncio
import sys

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers import get_artifact_text, get_data_parts, get_message_text, new_data_message, new_text_message
from a2a.types import GetTaskRequest, Role, SendMessageRequest, TaskState
from a2a.utils.errors import A2AError

BASE, AGENT = sys.argv[1:]


async def answer(client, message):
    """The one message that an agent answers with."""
    answers = [response async for response in client.send_message(SendMessageRequest(message=message))]
    assert len(answers) == 1 and answers[0].HasField("message"), answers
    return answers[0].message


async def talks(http, card, conversation):
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
    said = await answer(client, new_text_message("hello", role=Role.ROLE_USER, context_id=conversation))
    assert get_message_text(said) == "hello" and said.context_id == conversation, said
    assert said.role == Role.ROLE_AGENT, said
    said = await answer(client, new_data_message({"colour": "green"}, role=Role.ROLE_USER))
    assert get_data_parts(said.parts) == [{"colour": "green"}], said
    assert said.context_id, "a conversation that goes on has a name"

    # What is said over A2A is a conversation like any other.
    timeline = (await http.get(f"{BASE}/agents/conversations/{conversation}")).json()
    said = [entry["entry"]["performative"] for entry in timeline["entries"]]
    assert said == ["request", "inform"], timeline


async def follows(http, card):
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=True)).create(card)
    request = SendMessageRequest(message=new_text_message("hello", role=Role.ROLE_USER))
    events = [event async for event in client.send_message(request)]
    assert events[0].HasField("task"), events
    told = [get_artifact_text(event.artifact_update.artifact) for event in events if event.HasField("artifact_update")]
    assert told == ["hello"], events
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED, events
    task = await client.get_task(GetTaskRequest(id=events[0].task.id))
    assert task.status.state == TaskState.TASK_STATE_COMPLETED, task
    assert [get_artifact_text(artifact) for artifact in task.artifacts] == ["hello"], task


async def is_told_what_is_wrong(http, card):
    card.supported_interfaces[0].url = f"{BASE}/a2a/nobody"
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
    try:
        await answer(client, new_text_message("hello", role=Role.ROLE_USER))
    except A2AError as error:
        assert "nobody" in str(error), error
    else:
        raise AssertionError("an agent that is not there answered")


async def main():
    # One for each version: the SDK notes the version that it speaks in its client's headers.
    for version in ["1.0", "0.3"]:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            server = await A2ACardResolver(http, BASE).get_agent_card()
            assert AGENT in [skill.id for skill in server.skills], server
            card = await A2ACardResolver(http, f"{BASE}/a2a/{AGENT}").get_agent_card()
            assert card.name == AGENT and list(card.skills[0].tags) == ["paint"], card
            assert card.description == "Paints what it is told", card
            spoken = [interface for interface in card.supported_interfaces if interface.protocol_version == version]
            del card.supported_interfaces[:]
            card.supported_interfaces.extend(spoken)

            await talks(http, card, f"fence-{version}")
            if card.capabilities.streaming:
                await follows(http, card)
            await is_told_what_is_wrong(http, card)
    print("ok")


asyncio.run(main())
