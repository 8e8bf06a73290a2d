// Turns many small messages into few: what it is told with `inform` is collected, and every so often one message with all
// of it goes to whoever the configuration names: `{"to": "reviewer", "every_ms": 60000, "at_most": 100}`.

import { Invalid, type Json, agent, load, read, remind, reply, save, send } from "./paddock.ts";

interface Config {
  to?: string;
  every_ms?: number;
  at_most?: number;
}

/** What the agent is called where it was deployed: it reminds itself. */
let self = "";

const config = (): Config => load<Config>("config") ?? {};

export const handler = agent({
  describe: () => ({
    name: "agent-name",
    description: "Collects what it is told and passes it on as one message every so often.",
    capabilities: ["digest"],
  }),

  init(start) {
    self = start.name;
  },

  handle(message) {
    switch (message.performative) {
      case "inform":
        collect(message.sender, read(message));
        return;
      case "request":
        // The reminder that it sent to itself, or somebody who does not want to wait.
        reply("agree", { passed_on: passOn() });
        return;
      case "agree":
        return;
      default:
        throw new Invalid(`send inform or request, not ${message.performative}`);
    }
  },
});

function collect(from: string, what: Json): void {
  const items = load<Json[]>("items") ?? [];
  const { every_ms = 60_000, at_most = 100 } = config();
  if (items.length === 0) remind(every_ms, self, "request", {});
  items.push({ from, what });
  save("items", items);
  if (items.length >= at_most) passOn();
}

function passOn(): number {
  const items = load<Json[]>("items") ?? [];
  const { to } = config();
  if (items.length === 0) return 0;
  send(to ?? "topic:digest", "inform", { count: items.length, items });
  save("items", []);
  return items.length;
}
