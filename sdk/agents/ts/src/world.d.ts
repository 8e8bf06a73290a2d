// What `wit/agent.wit` says, in TypeScript. What is not there comes as `null`; `undefined` and a member that is left out
// mean the same on the way out.

declare module "paddock:agent/types@0.1.0" {
  export type Performative =
    | "accept-proposal" | "agree" | "cancel" | "cfp" | "confirm" | "disconfirm" | "failure" | "inform" | "inform-if"
    | "inform-ref" | "not-understood" | "propagate" | "propose" | "proxy" | "query-if" | "query-ref" | "refuse"
    | "reject-proposal" | "request" | "request-when" | "request-whenever" | "subscribe";

  export interface Content {
    mediaType: string;
    body: Uint8Array;
  }

  /** What messages and drafts have in common. */
  export interface Envelope {
    performative: Performative;
    /** `name`, `capability:x`, `capability:x?all`, `capability:x?any` or `topic:x`. */
    receivers: string[];
    content: Content;
    conversation?: string | null;
    replyWith?: string | null;
    inReplyTo?: string | null;
    replyTo?: string | null;
    protocol?: string | null;
    language?: string | null;
    ontology?: string | null;
    /** Milliseconds since 1970. */
    replyBy?: number | null;
    durable: boolean;
  }

  export interface Message extends Envelope {
    id: string;
    sender: string;
  }

  export type Draft = Envelope;

  export interface Description {
    name?: string | null;
    description: string;
    capabilities: string[];
    tools: string[];
  }

  export interface Start {
    /** The name that the agent was deployed under. */
    name: string;
    isFirst: boolean;
    snapshot?: Uint8Array | null;
  }
}

declare module "paddock:agent/messaging@0.1.0" {
  import type { Content, Draft, Performative } from "paddock:agent/types@0.1.0";
  export function send(draft: Draft): string;
  export function reply(performative: Performative, content: Content): string;
  export function remind(afterMs: number, draft: Draft): void;
  export function subscribe(topic: string): void;
  export function unsubscribe(topic: string): void;
}

declare module "paddock:agent/state@0.1.0" {
  export function get(key: string): Uint8Array | null;
  export function set(key: string, value: Uint8Array): void;
  export function remove(key: string): void;
  export function keys(prefix: string): string[];
}

declare module "paddock:agent/tools@0.1.0" {
  export function isGranted(tool: string): boolean;
  export function call(tool: string, input: string): string;
}

declare module "paddock:agent/log@0.1.0" {
  export function write(level: "trace" | "debug" | "info" | "warn" | "error", text: string): void;
}

declare module "paddock:agent/time@0.1.0" {
  /** Milliseconds since 1970, the same for the whole turn. */
  export function now(): number;
  /** Nanoseconds since some moment. */
  export function elapsed(): number;
}

declare module "paddock:agent/random@0.1.0" {
  export function bytes(count: number): Uint8Array;
}
