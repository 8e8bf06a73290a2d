// A thin layer over Paddock's world: JSON in messages and state, failures as exceptions.

import { write } from "paddock:agent/log@0.1.0";
import * as messaging from "paddock:agent/messaging@0.1.0";
import * as store from "paddock:agent/state@0.1.0";
import * as toolbox from "paddock:agent/tools@0.1.0";
import type { Content, Description, Draft, Message, Performative, Start } from "paddock:agent/types@0.1.0";

export type { Content, Description, Draft, Message, Performative, Start };
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };

/** What an agent has to be. */
export interface Agent {
  describe(): Partial<Description> & { description: string };
  /** Before the first message of every life of the agent. */
  init?(start: Start): void;
  handle(message: Message): void;
}

/** The message is at fault: its sender is told so, and it is not tried again. */
export class Invalid extends Error {}
/** It may go well later. */
export class Retryable extends Error {}

/** `export const handler = agent({ … })` makes the agent. */
export function agent(own: Agent) {
  const failing = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const tag = error instanceof Invalid ? "invalid" : error instanceof Retryable ? "retryable" : "fatal";
      throw { tag, val: text };
    }
  };
  return {
    describe: () => ({ capabilities: [], tools: [], name: undefined, ...own.describe() }),
    init: (start: Start) => failing(() => own.init?.(start)),
    handle: (message: Message) => failing(() => own.handle(message)),
  };
}

/** Values that functions of the world throw (`result<_, string>`) become exceptions of ours. */
function refused<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new Invalid(describe(error));
  }
}

function describe(error: unknown): string {
  const payload = (error as { payload?: unknown } | null)?.payload ?? error;
  if (typeof payload === "string") return payload;
  const detail = (payload as { detail?: unknown } | null)?.detail;
  return typeof detail === "string" ? detail : String((payload as Error | null)?.message ?? payload);
}

export function json(value: unknown): Content {
  return { mediaType: "application/json", body: encode(JSON.stringify(value) ?? "null") };
}

/** What a message says; its sender is told if it is not JSON. */
export function read<T = Json>(message: Message): T {
  try {
    return JSON.parse(text(message.content)) as T;
  } catch {
    throw new Invalid("the content is not JSON");
  }
}

export function text(content: Content): string {
  return decode(content.body);
}

export function reply(performative: Performative, value: unknown): string {
  return refused(() => messaging.reply(performative, json(value)));
}

export function send(receivers: string | string[], performative: Performative, value: unknown, more: Partial<Draft> = {}): string {
  return refused(() => messaging.send(draft(receivers, performative, value, more)));
}

/** Sends a message after some milliseconds. */
export function remind(afterMs: number, receivers: string | string[], performative: Performative, value: unknown): void {
  refused(() => messaging.remind(Math.round(afterMs), draft(receivers, performative, value)));
}

export function draft(receivers: string | string[], performative: Performative, value: unknown, more: Partial<Draft> = {}): Draft {
  const none = {
    conversation: undefined, replyWith: undefined, inReplyTo: undefined, replyTo: undefined, protocol: undefined,
    language: undefined, ontology: undefined, replyBy: undefined, durable: false,
  };
  return { ...none, performative, receivers: [receivers].flat(), content: json(value), ...more };
}

/** Forwards a message as it is, in its conversation; answers go to its sender. */
export function forward(message: Message, receiver: string): string {
  const { id: _id, sender, ...rest } = message;
  return refused(() => messaging.send({ ...rest, receivers: [receiver], replyTo: message.replyTo ?? sender }));
}

export function load<T = Json>(key: string): T | undefined {
  const value = store.get(key);
  return value == null ? undefined : (JSON.parse(decode(value)) as T);
}

export function save(key: string, value: unknown): void {
  refused(() => store.set(key, encode(JSON.stringify(value) ?? "null")));
}

export const remove = store.remove;
export const keys = store.keys;

/** Calls a tool that the agent was granted. */
export function tool<T = Json>(name: string, input: unknown): T {
  try {
    return JSON.parse(toolbox.call(name, JSON.stringify(input))) as T;
  } catch (error) {
    throw new Retryable(`${name}: ${describe(error)}`);
  }
}

export const log = {
  info: (text: string) => write("info", text),
  warn: (text: string) => write("warn", text),
  error: (text: string) => write("error", text),
};

// QuickJS has neither TextEncoder nor TextDecoder.
function encode(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return new Uint8Array(bytes);
}

function decode(bytes: Uint8Array): string {
  const parts: string[] = [];
  let index = 0;
  const next = () => (bytes[index++] ?? 0) & 63;
  while (index < bytes.length) {
    const first = bytes[index++] ?? 0;
    let code = first;
    if (first >= 0xf0) code = ((first & 7) << 18) | (next() << 12) | (next() << 6) | next();
    else if (first >= 0xe0) code = ((first & 15) << 12) | (next() << 6) | next();
    else if (first >= 0xc0) code = ((first & 31) << 6) | next();
    parts.push(String.fromCodePoint(Math.min(code, 0x10ffff)));
  }
  return parts.join("");
}
