//! Going through a tab's history, acting on its page, and waiting for it.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{ElementArgs, TabArgs},
    asked::{Asked, Query, compact},
};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    table::{printable, text},
};

#[derive(Debug, Subcommand)]
pub(super) enum ActCommand {
    /// Click an element twice
    Dblclick(ElementArgs),
    /// Put the pointer over an element
    Hover(ElementArgs),
    /// Give an element the focus
    Focus(ElementArgs),
    /// Check a box
    Check(ElementArgs),
    /// Uncheck a box
    Uncheck(ElementArgs),
    /// Choose an option of a list, by its value or its text
    Select(SelectArgs),
    /// Scroll by a screen or by pixels, or until an element shows
    Scroll(ScrollArgs),
    /// Drag an element onto another
    Drag(DragArgs),
    /// Answer the dialog that is open
    Dialog(DialogArgs),
    /// Go back to the page before
    Back(TabArgs),
    /// Go forward to the page after
    Forward(TabArgs),
    /// Load the page again
    Reload(TabArgs),
    /// Wait for an element, a text, an address, or the page
    Wait(WaitArgs),
}

#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    #[command(flatten)]
    element: ElementArgs,
    /// The option
    option: String,
}

#[derive(Debug, Args)]
pub(super) struct ScrollArgs {
    /// `up`, `down`, `left` or `right`; pixels, down or, with a minus, up; or an element: a reference (e5) or a selector
    #[arg(allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct DragArgs {
    #[command(flatten)]
    element: ElementArgs,
    /// The element to drag it onto
    onto: String,
}

#[derive(Debug, Args)]
pub(super) struct DialogArgs {
    /// OK, or Cancel
    #[arg(value_parser = ["accept", "dismiss"])]
    answer: String,
    /// What is entered into a prompt
    entered: Option<String>,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    until: Until,
    /// How the element is to be
    #[arg(long, value_parser = ["visible", "hidden", "attached", "detached"], requires = "what")]
    state: Option<String>,
    /// Milliseconds that it may take [default: 10000]
    #[arg(long, value_name = "MS")]
    timeout: Option<u32>,
    #[command(flatten)]
    tab: TabArgs,
}

/// What is waited for: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Until {
    /// An element, a reference (e5) or a selector, to be seen; or so many milliseconds
    what: Option<String>,
    /// A text that shows
    #[arg(long)]
    text: Option<String>,
    /// A text that shows no more
    #[arg(long, value_name = "TEXT")]
    not_text: Option<String>,
    /// The address: `**` stands for anything, `*` for anything without a slash
    #[arg(long, value_name = "PATTERN")]
    url: Option<String>,
    /// How far the page has come
    #[arg(long, value_parser = ["content-loaded", "ready-state", "network-idle"])]
    load: Option<String>,
    /// An expression that is true
    #[arg(long = "fn", value_name = "EXPRESSION")]
    function: Option<String>,
}

/// Runs one of them.
pub(super) async fn run(asked: &Asked, command: ActCommand) -> CommandResult {
    match command {
        ActCommand::Dblclick(args) => asked.act("dblclick", Some(args), json!({})).await,
        ActCommand::Hover(args) => asked.act("hover", Some(args), json!({})).await,
        ActCommand::Focus(args) => asked.act("focus", Some(args), json!({})).await,
        ActCommand::Check(args) => asked.act("check", Some(args), json!({})).await,
        ActCommand::Uncheck(args) => asked.act("uncheck", Some(args), json!({})).await,
        ActCommand::Select(args) => {
            asked.act("select", Some(args.element), json!({"value": args.option})).await
        }
        ActCommand::Scroll(args) => scroll(asked, args).await,
        ActCommand::Drag(args) => asked.act("drag", Some(args.element), json!({"to": args.onto})).await,
        ActCommand::Dialog(args) => {
            let body = json!({"action": args.answer, "text": args.entered, "tabId": args.tab.tab});
            asked.show(asked.post("/dialog", &compact(body)), print_dialog).await
        }
        ActCommand::Back(args) => turn(asked, "/back", &args).await,
        ActCommand::Forward(args) => turn(asked, "/forward", &args).await,
        ActCommand::Reload(args) => turn(asked, "/reload", &args).await,
        ActCommand::Wait(args) => wait(asked, args).await,
    }
}

async fn turn(asked: &Asked, path: &str, args: &TabArgs) -> CommandResult {
    asked
        .show(asked.request(Method::POST, path, Query::of(args)), |answer| {
            say(format_args!("{}", printable(&text(answer, "url"))));
        })
        .await
}

async fn scroll(asked: &Asked, ScrollArgs { to, tab }: ScrollArgs) -> CommandResult {
    match Scroll::of(&to) {
        Scroll::Screen => asked.act("scroll", None, json!({"direction": to, "tabId": tab.tab})).await,
        Scroll::Pixels(pixels) => {
            asked.act("scroll", None, json!({"scrollY": pixels, "tabId": tab.tab})).await
        }
        Scroll::Element => {
            asked.act("scrollintoview", Some(ElementArgs { element: to, tab }), json!({})).await
        }
    }
}

/// How far a page is to scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scroll {
    Screen,
    Pixels(i32),
    Element,
}

impl Scroll {
    fn of(to: &str) -> Self {
        match to {
            "up" | "down" | "left" | "right" => Self::Screen,
            _ => to.parse().map_or(Self::Element, Self::Pixels),
        }
    }
}

async fn wait(asked: &Asked, args: WaitArgs) -> CommandResult {
    let Until { what, text: shown, not_text, url, load, function } = args.until;
    let ms: Option<u32> = what.as_deref().and_then(|what| what.parse().ok());
    let body = json!({
        "selector": what.filter(|_| ms.is_none()),
        "state": args.state,
        "ms": ms,
        "text": shown,
        "notText": not_text,
        "url": url,
        "load": load,
        "fn": function,
        "timeout": args.timeout,
        "tabId": args.tab.tab,
    });
    let answer = asked.client.json(asked.post("/wait", &compact(body))).await?;
    let waited = answer["waited"] == true;
    if asked.json {
        say(format_args!("{answer:#}"));
    } else if waited {
        say(format_args!("{} after {} ms", printable(&text(&answer, "match")), answer["elapsed"]));
    }
    if waited { Ok(()) } else { Err(CommandError::new(Exit::Refused, text(&answer, "error"))) }
}

fn print_dialog(answer: &Value) {
    let dialog = &answer["dialog"];
    say(format_args!(
        "{}: {} \"{}\"",
        text(answer, "action"),
        text(dialog, "type"),
        printable(&text(dialog, "message"))
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_scrolls_by_a_screen_by_pixels_or_to_an_element() {
        for (to, scroll) in [
            ("down", Scroll::Screen),
            ("400", Scroll::Pixels(400)),
            ("-400", Scroll::Pixels(-400)),
            ("e5", Scroll::Element),
            ("#end", Scroll::Element),
        ] {
            assert_eq!(Scroll::of(to), scroll, "{to}");
        }
    }
}
