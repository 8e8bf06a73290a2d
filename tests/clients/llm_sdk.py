"""The official Python SDKs of OpenAI and Anthropic, against simulated providers of every dialect.

Usage: llm_sdk.py BASE, where the server's providers are called `openai`, `anthropic` and `gemini`.
"""

import json
import sys

import anthropic
import openai

BASE = sys.argv[1]
MODELS = ["openai/m", "anthropic/m", "gemini/m"]
SCHEMA = {"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

vendor = openai.OpenAI(base_url=f"{BASE}/llm/v1", api_key="unused")
claude = anthropic.Anthropic(base_url=f"{BASE}/llm", api_key="unused")


def said(text):
    return [{"role": "user", "content": text}]


def chats(model):
    answer = vendor.chat.completions.create(model=model, messages=said('[sim reply="Hello there"]'))
    assert answer.choices[0].message.content == "Hello there", answer
    assert answer.usage.completion_tokens == 2, answer.usage
    stream = vendor.chat.completions.create(
        model=model, messages=said('[sim reply="one two three"]'), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "one two three", text
    assert chunks[-1].usage.completion_tokens == 3, chunks[-1]


def calls_tools(model):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    answer = vendor.chat.completions.create(model=model, messages=said("[sim tool=get_weather]"), tools=tools)
    call = answer.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Paris"}, call
    tools = [{"name": "get_weather", "input_schema": SCHEMA}]
    message = claude.messages.create(model=model, max_tokens=50, messages=said("[sim tool=get_weather]"), tools=tools)
    assert message.stop_reason == "tool_use" and message.content[0].input == {"city": "Paris"}, message


def sees_pictures(model):
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    answer = vendor.chat.completions.create(
        model=model, messages=said([url, {"type": "text", "text": '[sim reply="A dot"]'}])
    )
    assert answer.choices[0].message.content == "A dot", answer
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": '[sim reply="A dot"]'}]
    message = claude.messages.create(model=model, max_tokens=50, messages=said(blocks))
    assert message.content[0].text == "A dot", message


def structures_output(model):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    answer = vendor.chat.completions.create(
        model=model,
        messages=said("a thing"),
        response_format={"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content) == {"ok": True}, answer


def responds(model):
    answer = vendor.responses.create(model=model, input='[sim reply="Hello there"]')
    assert answer.output_text == "Hello there", answer
    with vendor.responses.stream(model=model, input='[sim reply="one two three"]') as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == "one two three", final


def sends_messages(model):
    message = claude.messages.create(model=model, max_tokens=50, messages=said('[sim reply="Hello there"]'))
    assert message.content[0].text == "Hello there" and message.usage.output_tokens == 2, message
    with claude.messages.stream(model=model, max_tokens=50, messages=said('[sim reply="one two three"]')) as stream:
        assert "".join(stream.text_stream) == "one two three"
        assert stream.get_final_message().usage.output_tokens == 3
    assert claude.messages.count_tokens(model=model, messages=said("hello")).input_tokens > 0


def embeds():
    for model in ["openai/m", "gemini/m"]:
        answer = vendor.embeddings.create(model=model, input=["a kettle", "a pot"], dimensions=8)
        assert [len(item.embedding) for item in answer.data] == [8, 8], answer


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was expected")


def fails_as_the_vendors_do():
    raises(openai.NotFoundError, lambda: vendor.chat.completions.create(model="none", messages=said("a")))
    raises(anthropic.NotFoundError, lambda: claude.messages.create(model="none", max_tokens=5, messages=said("a")))
    refused = said("[sim status=422]")
    raises(
        openai.UnprocessableEntityError,
        lambda: vendor.chat.completions.create(model="openai/m", messages=refused),
    )
    broken = said("[sim break_after=2]")
    raises(
        openai.APIError,
        lambda: list(vendor.chat.completions.create(model="openai/m", messages=broken, stream=True)),
    )
    raises(
        anthropic.APIError,
        lambda: list(claude.messages.create(model="gemini/m", max_tokens=50, messages=broken, stream=True)),
    )


for name in MODELS:
    for check in [chats, calls_tools, sees_pictures, structures_output, responds, sends_messages]:
        check(name)
embeds()
fails_as_the_vendors_do()
print("ok")
