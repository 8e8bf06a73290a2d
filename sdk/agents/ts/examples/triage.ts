// Sorts requests by what they say: `{"text": "…"}` is forwarded to whoever has the capability of the first rule that
// fits, in its conversation, so that the answer goes to whoever asked. Without one it is answered with `refuse`. The
// rules come from the configuration: `{"rules": [{"words": ["refund", "invoice"], "capability": "billing"}]}`.

import { type Message, Invalid, agent, forward, load, log, read, reply, save } from "./paddock.ts";

interface Rule {
  words: string[];
  capability: string;
}

const STANDARD: Rule[] = [
  { words: ["refund", "invoice", "charged", "payment"], capability: "billing" },
  { words: ["broken", "error", "crash", "slow"], capability: "support" },
];

/** How often each capability was chosen, kept in the agent's state. */
type Counts = Record<string, number>;

export const handler = agent({
  describe: () => ({
    name: "agent-name",
    description: "Forwards requests to whoever can handle them, by the words in them.",
    capabilities: ["triage"],
  }),

  handle(message) {
    if (message.performative === "query-ref") {
      reply("inform", load<Counts>("counts") ?? {});
      return;
    }
    if (message.performative !== "request") {
      throw new Invalid(`send request or query-ref, not ${message.performative}`);
    }
    sort(message);
  },
});

function sort(message: Message): void {
  const { text } = read<{ text?: unknown }>(message);
  if (typeof text !== "string") throw new Invalid("`text` is missing");
  const words = new Set(text.toLowerCase().match(/\p{L}+/gu) ?? []);
  const rules = load<{ rules?: Rule[] }>("config")?.rules ?? STANDARD;
  const rule = rules.find((rule) => rule.words.some((word) => words.has(word)));
  const counts = load<Counts>("counts") ?? {};
  const chosen = rule?.capability ?? "nobody";
  save("counts", { ...counts, [chosen]: (counts[chosen] ?? 0) + 1 });
  if (rule === undefined) {
    reply("refuse", { reason: "no rule fits this request" });
    return;
  }
  log.info(`to ${rule.capability}: ${text.slice(0, 80)}`);
  forward(message, `capability:${rule.capability}`);
}
