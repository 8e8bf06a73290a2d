// Runs what its configuration says: `{"script": "paddock.reply('inform', paddock.read(message))", "capabilities": […]}`.
// One component serves every agent that is a script, so that each costs a copy of the interpreter's memory and none of
// its code. The script is the body of a function of `message` and `paddock`, once per message.

import * as paddock from "./paddock.ts";
import { type Message, Invalid, agent, load } from "./paddock.ts";

let run: ((message: Message, own: typeof paddock) => void) | undefined;

export const handler = agent({
  describe: () => ({
    name: "agent-name",
    description: "Does what the script in its configuration says.",
    capabilities: ["script"],
  }),

  init() {
    const script = load<{ script?: string }>("config")?.script;
    if (typeof script !== "string") return;
    run = new Function("message", "paddock", `"use strict";\n${script}`) as typeof run;
  },

  handle(message) {
    if (run === undefined) throw new Invalid("this agent has no `script` in its configuration");
    run(message, paddock);
  },
});
