//! What the commands ask the server for.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{AskArgs, BreakerAction, BreakersArgs, LlmArgs, LlmCommand, RouteArgs, UsageArgs},
    show, sim,
};
use crate::{
    cli::say,
    client::Client,
    exit::{CommandError, CommandResult, Exit},
    table::terminal_width,
    top::{TopArgs, repeat},
};

/// Runs one of them.
pub(crate) async fn run(args: LlmArgs) -> CommandResult {
    if let LlmCommand::Sim(args) = &args.command {
        return sim::run(args).await;
    }
    let asked = Asked { client: args.asked.client()?, json: args.asked.json };
    match args.command {
        LlmCommand::Top(args) => asked.top(&args).await,
        LlmCommand::Routes => asked.show(asked.get("/llm/routes"), show::routes).await,
        LlmCommand::Route(args) => asked.route(&args).await,
        LlmCommand::Breakers(args) => asked.breakers(&args).await,
        LlmCommand::Usage(args) => asked.usage(&args).await,
        LlmCommand::Ask(args) => asked.ask(&args).await,
        LlmCommand::Sim(_) => Ok(()),
    }
}

struct Asked {
    client: Client,
    json: bool,
}

impl Asked {
    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.request(Method::GET, path)
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.request(Method::POST, path).json(body)
    }

    async fn show(
        &self,
        request: reqwest::RequestBuilder,
        lines: fn(&Value, Option<usize>) -> Vec<String>,
    ) -> CommandResult {
        let answer = self.client.json(request).await?;
        if self.json {
            say(format_args!("{answer:#}"));
            return Ok(());
        }
        for line in lines(&answer, terminal_width()) {
            say(format_args!("{line}"));
        }
        Ok(())
    }

    async fn top(&self, args: &TopArgs) -> CommandResult {
        if self.json {
            return self.show(self.get("/llm/status"), show::status).await;
        }
        let look = async || {
            let status = self.client.json(self.get("/llm/status")).await?;
            Ok::<_, CommandError>(show::status(&status, terminal_width()))
        };
        repeat(args.interval, args.once, look).await
    }

    async fn route(&self, args: &RouteArgs) -> CommandResult {
        let messages = json!([{"role": "user", "content": args.prompt}]);
        let body = json!({"model": args.model, "request": {"messages": messages}});
        let mut request = self.post("/llm/route", &body);
        for (name, value) in [("x-paddock-tags", &args.tags), ("x-paddock-class", &args.class)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        self.show(request, show::explanation).await
    }

    async fn breakers(&self, args: &BreakersArgs) -> CommandResult {
        let Some(action) = args.action else {
            return self.show(self.get("/llm/breakers"), show::breakers).await;
        };
        let action = match action {
            BreakerAction::Open => "open",
            BreakerAction::Close => "close",
            BreakerAction::Reset => "reset",
        };
        let body = json!({
            "action": action, "provider": args.provider, "model": args.model, "credential": args.credential,
        });
        self.show(self.post("/llm/breakers", &body), show::breakers).await
    }

    async fn usage(&self, args: &UsageArgs) -> CommandResult {
        let mut query = vec![("group", args.by.as_str())];
        query.extend(args.from.as_deref().map(|from| ("from", from)));
        query.extend(args.to.as_deref().map(|to| ("to", to)));
        if args.all {
            query.push(("all", "true"));
        }
        if args.csv {
            query.push(("format", "csv"));
        }
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = self.get(&format!("/llm/usage?{encoded}"));
        if !args.csv {
            return self.show(request, show::usage).await;
        }
        let table = self.client.send(request).await?.text().await;
        let table = table.map_err(|error| CommandError::from_error(Exit::NoServer, &error))?;
        say(format_args!("{}", table.trim_end()));
        Ok(())
    }

    async fn ask(&self, args: &AskArgs) -> CommandResult {
        let body = json!({"model": args.model, "prompt": args.prompt, "system": args.system});
        self.show(self.post("/tools/llm_complete", &body), show::completion).await
    }
}
