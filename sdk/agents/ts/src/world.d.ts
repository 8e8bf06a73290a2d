// What `wit/agent.wit` says, in TypeScript.

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
    conversation?: string;
    replyWith?: string;
    inReplyTo?: string;
    replyTo?: string;
    protocol?: string;
    language?: string;
    ontology?: string;
    /** Milliseconds since 1970. */
    replyBy?: bigint;
    durable: boolean;
  }

  export interface Message extends Envelope {
    id: string;
    sender: string;
  }

  export type Draft = Envelope;

  export interface Description {
    name?: string;
    description: string;
    capabilities: string[];
    tools: string[];
  }

  export interface Start {
    /** The name that the agent was deployed under. */
    name: string;
    isFirst: boolean;
    snapshot?: Uint8Array;
  }
}

declare module "paddock:agent/messaging@0.1.0" {
  import type { Content, Draft, Performative } from "paddock:agent/types@0.1.0";
  export function send(draft: Draft): string;
  export function reply(performative: Performative, content: Content): string;
  export function remind(afterMs: bigint, draft: Draft): void;
  export function subscribe(topic: string): void;
  export function unsubscribe(topic: string): void;
}

declare module "paddock:agent/state@0.1.0" {
  export function get(key: string): Uint8Array | undefined;
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
  export function now(): bigint;
  /** Nanoseconds since some moment. */
  export function elapsed(): bigint;
}

declare module "paddock:agent/random@0.1.0" {
  export function bytes(count: number): Uint8Array;
}
