"""The official Python SDKs of OpenAI and Anthropic, against simulated providers of every dialect.

Usage: llm_sdk.py BASE, where the server's providers are called `openai`, `anthropic` and `gemini`; of `hesitant-one` and
`hesitant-two` each refuses its first call for its limits, and `failing` fails.
"""

import json
import sys
import time

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
    named = {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}
    answer = vendor.responses.create(model=model, input="a thing", text={"format": named})
    assert json.loads(answer.output_text) == {"ok": True}, answer
    asked = {"format": {"type": "json_schema", "schema": schema}}
    message = claude.messages.create(model=model, max_tokens=50, messages=said("a thing"), output_config=asked)
    assert json.loads(message.content[0].text) == {"ok": True}, message
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


def tries_again_when_that_helps():
    def calls(number):
        answers = []
        hooks = {"response": [answers.append]}
        openai_client = openai.DefaultHttpxClient(event_hooks=hooks)
        anthropic_client = anthropic.DefaultHttpxClient(event_hooks=hooks)
        if number == "one":
            client = vendor.with_options(max_retries=2, http_client=openai_client)
            return answers, lambda model: client.chat.completions.create(model=model, messages=said("hello"))
        client = claude.with_options(max_retries=2, http_client=anthropic_client)
        return answers, lambda model: client.messages.create(model=model, max_tokens=50, messages=said("hello"))

    for number, failure in [("one", openai.InternalServerError), ("two", anthropic.InternalServerError)]:
        answers, call = calls(number)
        assert call(f"hesitant-{number}/m").id
        statuses = [answer.status_code for answer in answers]
        assert statuses[0] == 429 and len(statuses) > 1 and statuses[-1] == 200, statuses
        assert answers[0].headers["retry-after-ms"] == "300", answers[0].headers
        answers, call = calls(number)
        raises(failure, lambda: call(f"failing/{number}"))
        assert [answer.status_code for answer in answers] == [502], "it was told not to try again"
        assert answers[0].headers["x-should-retry"] == "false", answers[0].headers


def waits_for(batch):
    until = time.monotonic() + 60
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < until, batch
        time.sleep(0.1)
        batch = vendor.batches.retrieve(batch.id)
    return batch


def carries_batches_out():
    def line(name, model, prompt):
        body = {"model": model, "messages": said(prompt)}
        return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})

    replies = {name: f'[sim reply="I am {name}"]' for name in MODELS}
    lines = [line(name, name, prompt) for name, prompt in replies.items()] + [line("refused", "openai/m", "[sim status=422]")]
    file = vendor.files.create(file=("asked.jsonl", "\n".join(lines).encode()), purpose="batch")
    assert vendor.files.retrieve(file.id).filename == "asked.jsonl"
    batch = vendor.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"why": "test"}
    )
    batch = waits_for(batch)
    assert batch.status == "completed" and batch.metadata == {"why": "test"}, batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (4, 3, 1), batch
    answered = [json.loads(text) for text in vendor.files.content(batch.output_file_id).text.splitlines()]
    for answer in answered:
        said_back = answer["response"]["body"]["choices"][0]["message"]["content"]
        assert said_back == f"I am {answer['custom_id']}", answer
    refused = json.loads(vendor.files.content(batch.error_file_id).text)
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("refused", 422), refused
    assert batch.id in [known.id for known in vendor.batches.list(limit=1)]
    assert file.id in [known.id for known in vendor.files.list(purpose="batch")]
    assert vendor.files.delete(file.id).deleted
    raises(openai.NotFoundError, lambda: vendor.files.retrieve(file.id))
    raises(openai.BadRequestError, lambda: vendor.files.create(file=b"{}", purpose="fine-tune"))
    wrong = vendor.files.create(file=b"nonsense", purpose="batch")
    failed = waits_for(
        vendor.batches.create(input_file_id=wrong.id, endpoint="/v1/chat/completions", completion_window="24h")
    )
    assert failed.status == "failed" and failed.errors.data[0].line == 1, failed
    slow = vendor.files.create(file="\n".join(line(str(n), "openai/m", "[sim stall=3s]") for n in range(50)).encode(), purpose="batch")
    batch = vendor.batches.create(input_file_id=slow.id, endpoint="/v1/chat/completions", completion_window="1h")
    assert vendor.batches.cancel(batch.id).status == "cancelling"
    assert waits_for(batch).status == "cancelled"


def answers_later():
    call = vendor.chat.completions.with_raw_response.create(
        model="anthropic/m", messages=said('[sim reply="Later"]'), extra_headers={"Prefer": "respond-async, wait=60"}
    )
    assert call.headers["preference-applied"] == "respond-async", call.headers
    assert call.parse().choices[0].message.content == "Later"


for name in MODELS:
    for check in [chats, calls_tools, sees_pictures, structures_output, responds, sends_messages]:
        check(name)
embeds()
fails_as_the_vendors_do()
tries_again_when_that_helps()
carries_batches_out()
answers_later()
print("ok")
