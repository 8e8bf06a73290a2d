// The official SDKs of OpenAI and Anthropic, LangChain and the Vercel AI SDK, against simulated providers of every dialect.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { scratch, serve } from './paddock.mjs';

// Of this seed, the first request is refused for its limits and the next three are not.
const HESITANT = 'sim:?seed=189&limit=0.5&retry_after=300ms';
const provider = (name, url, more = '') => `[[llm.providers]]\nname = "${name}"\nurl = "${url}"\n${more}`;
// The gateway waits for no place, so that its callers have to.
const CONFIG = ['[llm]\nwait_max = "0s"\n']
  .concat(['openai', 'anthropic', 'gemini'].map((dialect) => provider(dialect, 'sim:?seed=5', `dialect = "${dialect}"\n`)))
  .concat(provider('limited', 'sim:?rpm=1&retry_after=300ms', 'models = ["limited"]\n'))
  .concat(['hesitant-one', 'hesitant-two'].map((name) => provider(name, HESITANT)))
  .concat(provider('failing', 'sim:?error=1'))
  .join('');
const MODELS = ['openai/m', 'anthropic/m', 'gemini/m'];
const WEATHER = { type: 'object', properties: { city: { const: 'Paris' } }, required: ['city'] };
const THING = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };
const PICTURE = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const user = (content) => [{ role: 'user', content }];

// One server for all: `after` hooks of this file stop it.
const hooks = [];
const held = { after: (hook) => hooks.push(hook) };
let base;
before(async () => {
  const file = join(scratch(held), 'llm.toml');
  writeFileSync(file, CONFIG);
  ({ base } = await serve(held, ['--config', file]));
});
after(async () => {
  for (const hook of hooks.reverse()) await hook();
});
/** A `fetch` that keeps what each attempt of an SDK was answered. */
function watched() {
  const answers = [];
  const watch = async (...request) => {
    const answer = await fetch(...request);
    answers.push(answer);
    return answer;
  };
  return { answers, watch };
}
const openai = (options = {}) => new OpenAI({ baseURL: `${base}/llm/v1`, apiKey: 'unused', ...options });
const anthropic = (options = {}) => new Anthropic({ baseURL: `${base}/llm`, apiKey: 'unused', ...options });

for (const model of MODELS) {
  describe(`openai SDK, ${model}`, () => {
    test('chats', async () => {
      const answer = await openai().chat.completions.create({ model, messages: user('[sim reply="Hello there"]') });
      assert.equal(answer.choices[0].message.content, 'Hello there');
      assert.equal(answer.usage.completion_tokens, 2);
    });

    test('streams', async () => {
      const stream = await openai().chat.completions.create({
        model, stream: true, stream_options: { include_usage: true }, messages: user('[sim reply="one two three"]'),
      });
      let [text, usage] = ['', null];
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? '';
        usage = chunk.usage ?? usage;
      }
      assert.equal(text, 'one two three');
      assert.equal(usage.completion_tokens, 3);
    });

    test('calls tools, whole and streamed', async () => {
      const tools = [{ type: 'function', function: { name: 'get_weather', parameters: WEATHER } }];
      const request = { model, tools, messages: user('[sim tool=get_weather]') };
      const { choices } = await openai().chat.completions.create(request);
      assert.equal(choices[0].finish_reason, 'tool_calls');
      const [call] = choices[0].message.tool_calls;
      assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Paris' });
      const result = { role: 'tool', tool_call_id: call.id, content: '14 degrees' };
      const messages = [...request.messages, choices[0].message, result, ...user('[sim reply="It is mild"]')];
      const next = await openai().chat.completions.create({ ...request, messages });
      assert.equal(next.choices[0].message.content, 'It is mild');
      const streamed = await openai().chat.completions.stream(request).finalChatCompletion();
      assert.deepEqual(JSON.parse(streamed.choices[0].message.tool_calls[0].function.arguments), { city: 'Paris' });
    });

    test('sees pictures and answers in JSON', async () => {
      const content = [
        { type: 'text', text: 'What is it?' },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${PICTURE}` } },
      ];
      const { choices } = await openai().chat.completions.create({
        model, messages: user(content),
        response_format: { type: 'json_schema', json_schema: { name: 'thing', strict: true, schema: THING } },
      });
      assert.deepEqual(JSON.parse(choices[0].message.content), { ok: true });
    });

    test('uses responses, whole and streamed', async () => {
      const request = { model, input: '[sim reply="Hello there"]' };
      const answer = await openai().responses.create(request);
      assert.equal(answer.output_text, 'Hello there');
      const stream = await openai().responses.create({ ...request, stream: true });
      let [text, last] = ['', null];
      for await (const event of stream) {
        if (event.type === 'response.output_text.delta') text += event.delta;
        last = event;
      }
      assert.equal(text, 'Hello there');
      assert.equal(last.type, 'response.completed');
      assert.equal(last.response.usage.output_tokens, 2);
    });

    test('uses responses that follow a schema', async () => {
      const format = { type: 'json_schema', name: 'thing', strict: true, schema: THING };
      const request = { model, input: 'a thing', text: { format } };
      const { output_text: text } = await openai().responses.create(request);
      assert.deepEqual(JSON.parse(text), { ok: true });
      const streamed = await openai().responses.stream(request).finalResponse();
      assert.deepEqual(JSON.parse(streamed.output[0].content[0].text), { ok: true });
    });
  });

  describe(`anthropic SDK, ${model}`, () => {
    test('sends messages', async () => {
      const message = await anthropic().messages.create({ model, max_tokens: 50, messages: user('[sim reply="Hello there"]') });
      assert.deepEqual(message.content.map((block) => block.text), ['Hello there']);
      assert.equal(message.stop_reason, 'end_turn');
      assert.equal(message.usage.output_tokens, 2);
    });

    test('streams', async () => {
      const stream = anthropic().messages.stream({ model, max_tokens: 50, messages: user('[sim reply="one two three"]') });
      let text = '';
      stream.on('text', (delta) => (text += delta));
      const final = await stream.finalMessage();
      assert.equal(text, 'one two three');
      assert.equal(final.content[0].text, 'one two three');
      assert.equal(final.usage.output_tokens, 3);
    });

    test('uses tools, whole and streamed', async () => {
      const request = {
        model, max_tokens: 50, messages: user('[sim tool=get_weather]'), tools: [{ name: 'get_weather', input_schema: WEATHER }],
      };
      const message = await anthropic().messages.create(request);
      assert.equal(message.stop_reason, 'tool_use');
      const [call] = message.content;
      assert.deepEqual(call.input, { city: 'Paris' });
      const result = { type: 'tool_result', tool_use_id: call.id, content: '14 degrees' };
      const messages = [
        ...request.messages, { role: 'assistant', content: message.content },
        ...user([result, { type: 'text', text: '[sim reply="It is mild"]' }]),
      ];
      const next = await anthropic().messages.create({ ...request, messages });
      assert.equal(next.content[0].text, 'It is mild');
      const streamed = await anthropic().messages.stream(request).finalMessage();
      assert.deepEqual(streamed.content[0].input, { city: 'Paris' });
    });

    test('answers in JSON, whole and streamed', async () => {
      const format = { type: 'json_schema', schema: THING };
      const request = { model, max_tokens: 50, messages: user('a thing'), output_config: { format } };
      const message = await anthropic().messages.create(request);
      assert.deepEqual(JSON.parse(message.content[0].text), { ok: true });
      const streamed = await anthropic().messages.stream(request).finalMessage();
      assert.deepEqual(JSON.parse(streamed.content[0].text), { ok: true });
    });

    test('sees pictures and counts tokens', async () => {
      const source = { type: 'base64', media_type: 'image/png', data: PICTURE };
      const messages = user([{ type: 'image', source }, { type: 'text', text: '[sim reply="A dot"]' }]);
      const message = await anthropic().messages.create({ model, max_tokens: 50, messages });
      assert.equal(message.content[0].text, 'A dot');
      const { input_tokens: count } = await anthropic().messages.countTokens({ model, messages });
      assert.ok(count > 0);
    });
  });
}

describe('embeddings, models, failures, retries', () => {
  test('embeds', async () => {
    for (const model of ['openai/m', 'gemini/m']) {
      const { data } = await openai().embeddings.create({ model, input: ['a kettle', 'a pot'], dimensions: 8 });
      assert.equal(data.length, 2);
      assert.equal(data[0].embedding.length, 8);
    }
  });

  test('lists models', async () => {
    const { data } = await openai().models.list();
    assert.deepEqual(data.map((model) => model.id), ['limited']);
    const page = await anthropic().models.list();
    assert.deepEqual(page.data.map((model) => model.id), ['limited']);
  });

  test('fails with the errors that each SDK knows', async () => {
    const request = { model: 'limitde', max_tokens: 5, messages: user('hello') };
    await assert.rejects(openai().chat.completions.create(request), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError, String(error));
      assert.equal(error.code, 'model_not_found');
      assert.match(error.message, /did you mean `limited`/);
      return true;
    });
    await assert.rejects(anthropic().messages.create(request), Anthropic.NotFoundError);
    const wrong = { ...request, model: 'openai/m', messages: 'hello' };
    await assert.rejects(anthropic().messages.create(wrong), Anthropic.BadRequestError);
    const refused = { ...request, model: 'openai/m', messages: user('[sim status=422]') };
    await assert.rejects(openai().chat.completions.create(refused), OpenAI.UnprocessableEntityError);
  });

  test('throws when a stream breaks', async () => {
    const request = { model: 'openai/m', max_tokens: 50, messages: user('[sim break_after=2]'), stream: true };
    await assert.rejects(async () => {
      for await (const _ of await openai().chat.completions.create(request));
    }, OpenAI.APIError);
    await assert.rejects(async () => {
      for await (const _ of await anthropic().messages.create({ ...request, model: 'gemini/m' }));
    }, Anthropic.APIError);
  });

  test('says that a limit is reached, and when to come back', async () => {
    const request = { model: 'limited', messages: user('hello') };
    await openai().chat.completions.create(request);
    const again = openai({ maxRetries: 0 }).chat.completions.create(request);
    await assert.rejects(again, (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError, String(error));
      assert.equal(error.headers.get('retry-after-ms'), '300');
      return true;
    });
  });

  const CALLS = {
    'openai SDK': (model, options) => openai(options).chat.completions.create({ model, messages: user('hello') }),
    'anthropic SDK': (model, options) => anthropic(options).messages.create({ model, max_tokens: 50, messages: user('hello') }),
  };
  for (const [index, [sdk, call]] of Object.entries(CALLS).entries()) {
    const number = ['one', 'two'][index];

    test(`${sdk}: waits as long as it is told, tries again and succeeds`, async () => {
      const { answers, watch } = watched();
      const answer = await call(`hesitant-${number}/m`, { maxRetries: 2, fetch: watch });
      assert.ok(answer.id);
      assert.equal(answers[0].status, 429);
      assert.equal(answers[0].headers.get('retry-after-ms'), '300');
      assert.ok(answers.length > 1);
      assert.equal(answers.at(-1).status, 200);
    });

    test(`${sdk}: does not repeat what the gateway has repeated`, async () => {
      const { answers, watch } = watched();
      await assert.rejects(call(`failing/${number}`, { maxRetries: 2, fetch: watch }), { status: 502 });
      assert.equal(answers.length, 1, 'it was told not to try again');
      assert.equal(answers[0].headers.get('x-should-retry'), 'false');
    });
  }
});

describe('other people\'s frameworks', () => {
  test('LangChain chats and streams', async () => {
    const model = new ChatOpenAI({ model: 'anthropic/m', apiKey: 'unused', configuration: { baseURL: `${base}/llm/v1` } });
    assert.equal((await model.invoke('[sim reply="Hello there"]')).content, 'Hello there');
    let text = '';
    for await (const chunk of await model.stream('[sim reply="one two"]')) text += chunk.content;
    assert.equal(text, 'one two');
  });

  test('the Vercel AI SDK generates and streams', async () => {
    const provider = createOpenAI({ baseURL: `${base}/llm/v1`, apiKey: 'unused' });
    for (const model of [provider.chat('gemini/m'), provider.responses('anthropic/m')]) {
      const { text } = await generateText({ model, prompt: '[sim reply="Hello there"]' });
      assert.equal(text, 'Hello there');
      let streamed = '';
      for await (const part of streamText({ model, prompt: '[sim reply="one two"]' }).textStream) streamed += part;
      assert.equal(streamed, 'one two');
    }
  });
});
