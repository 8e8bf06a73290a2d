"""Runs what its configuration says: `{"script": "def on_message(message): paddock.reply(…)"}`.

One component serves every agent that is a script, so that each costs a copy of the interpreter's memory and none of its
code. The script is a module with a function `on_message(message)`; `paddock` and `Performative` are there already.
"""

import paddock
from paddock import Invalid, Message, Performative, Start


#: What the script defines.
module: dict = {}


class Handler(paddock.Agent):
    name = "agent-name"
    description = "Does what the script in its configuration says."
    capabilities = ["script"]

    def on_start(self, start: Start) -> None:
        script = paddock.load("config", {}).get("script")
        if isinstance(script, str):
            module.update({"paddock": paddock, "Performative": Performative, "__name__": "script"})
            exec(compile(script, "script", "exec"), module)

    def on_message(self, message: Message) -> None:
        run = module.get("on_message")
        if run is None:
            raise Invalid("this agent's configuration has no `script` with a function `on_message`")
        run(message)
