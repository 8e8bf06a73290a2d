"""Has pages analysed and tells what changed: `{"url": "…"}` calls the tool `analysis_run` and is answered with the score,
the findings that are new since the last time, and those that are gone. Needs that tool to be granted.
"""

import paddock
from paddock import Invalid, Message, Performative

TOOL = "analysis_run"


class Handler(paddock.Agent):
    name = "agent-name"
    description = "Reviews a page and tells what is new since it last looked."
    capabilities = ["review"]
    tools = [TOOL]

    def on_message(self, message: Message) -> None:
        if message.performative != Performative.REQUEST:
            raise Invalid("send request")
        request = paddock.read(message)
        url = request.get("url") if isinstance(request, dict) else None
        if not isinstance(url, str):
            raise Invalid("`url` is missing")
        report = paddock.tool(TOOL, {"url": url})
        findings = {finding["rule"]: finding.get("title", "") for finding in report.get("findings", [])}
        key = f"seen/{url}"[:256]
        before = paddock.load(key, {})
        paddock.save(key, findings)
        paddock.log_info(f"{url}: {len(findings)} findings")
        paddock.reply(
            Performative.INFORM,
            {
                "url": url,
                "scores": report.get("scores"),
                "new": sorted(title for rule, title in findings.items() if rule not in before),
                "gone": sorted(title for rule, title in before.items() if rule not in findings),
            },
        )
