//! What agents cost. Prints the figures of one case in one line, for the lab:
//! `cargo bench --bench agents -- json route 1000`.
//!
//! | case | what it does |
//! |---|---|
//! | `route N` | N native agents pass messages of 1 KiB round as fast as they go |
//! | `peers N` | the same, in turns with the actors of kameo |
//! | `batch` | 10,000 messages at once, 1,000 tasks for a pool of ten, answers one after the other |
//! | `load KIND N RATE SIZE S` | so many messages a second to N agents, at their times, for S seconds |
//! | `burst KIND` | 1,000 a second, ten seconds of 50,000, and 1,000 again |
//! | `durable N` | N senders, each with its next durable message when the last is on the disk |
//! | `recover KIND N` | a server with N agents is killed at work, and another begins in its place |
//! | `guests KIND N` | messages of 1 KiB into N components that reply |
//! | `spawn KIND` | new agents, until each has answered its first message |
//! | `memory KIND N` | what a component costs that is warm, and one that is parked |
//! | `crowd KIND WARM PARKED` | so many of both at once |
//! | `profile KIND` | processor time of 1,000 idle agents, of 10,000 messages, of 100 new agents |
//! | `overhead` | the same computation in a native agent and in a component |
//! | `limits` | how much memory an agent gets under each limit, and how quickly |
//! | `hostile URL` | what a server's other callers notice of a hundred hostile agents |
//!
//! KIND is `native` where that makes sense, or a kind of component: `wat`, `rust`, `ts` (`QuickJS`) or `py` (`CPython`).
//! What cannot be measured because a component is not there is `null`. With `PADDOCK_BENCH_SHORT` set everything is
//! smaller and shorter: to see that it works, not how fast.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are what it is for")]

mod batch;
mod component;
mod durable;
mod figures;
mod guests;
mod hostile;
mod limits;
mod load;
mod memory;
mod overhead;
mod peers;
mod profile;
mod recover;
mod route;
mod server;
mod spawn;
mod text;
#[path = "component/work.rs"]
mod work;

use std::path::Path;

use futures_util::{FutureExt as _, future::LocalBoxFuture};

use self::figures::Figures;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc is told by where its symbols have a prefix.
const ALLOCATOR_OPTIONS: &str = "_RJEM_MALLOC_CONF";

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn case<'a>(words: &[&'a str]) -> LocalBoxFuture<'a, Figures> {
    match *words {
        ["route", count] => route::route(number(count)).boxed_local(),
        ["peers", count] => peers::peers(number(count)).boxed_local(),
        ["batch"] => batch::batch().boxed_local(),
        ["load", kind, agents, rate, size, seconds] => {
            let load = load::Load { agents: number(agents), rate: number(rate), size: number(size) };
            load::load(kind, load, number(seconds)).boxed_local()
        }
        ["burst", kind] => load::burst(kind).boxed_local(),
        ["durable", senders] => durable::durable(number(senders)).boxed_local(),
        ["recover", kind, count] => recover::recover(kind, number(count)).boxed_local(),
        ["guests", kind, count] => guests::guests(kind, number(count)).boxed_local(),
        ["spawn", kind] => spawn::spawn(kind).boxed_local(),
        ["memory", kind, count] => memory::memory(kind, number(count)).boxed_local(),
        ["crowd", kind, warm, parked] => memory::crowd(kind, number(warm), number(parked)).boxed_local(),
        ["profile", kind] => profile::profile(kind).boxed_local(),
        ["overhead"] => overhead::overhead().boxed_local(),
        ["limits"] => limits::limits().boxed_local(),
        ["hostile", url] => hostile::hostile(url).boxed_local(),
        ref other => panic!("unknown case {other:?}"),
    }
}

/// Begins again with an allocator that gives back at once what is free, so that memory is what is in use.
fn with_exact_memory(arguments: &[String]) -> ! {
    let program = std::env::current_exe().unwrap();
    let mut again = std::process::Command::new(program);
    again.args(arguments).env(ALLOCATOR_OPTIONS, "dirty_decay_ms:0,muzzy_decay_ms:0");
    std::process::exit(again.status().unwrap().code().unwrap_or(1))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match words.as_slice() {
        // As a benchmark among others it has nothing to say.
        [] | ["--list" | "--test", ..] => {}
        ["child", "recover", kind, count, dir] => {
            runtime.block_on(recover::child(kind, number(count), Path::new(dir)));
        }
        ["json", "memory" | "crowd", ..] if std::env::var_os(ALLOCATOR_OPTIONS).is_none() => {
            with_exact_memory(&arguments)
        }
        ["json", words @ ..] => {
            let figures = runtime.block_on(case(words));
            println!("{}", serde_json::to_string(&figures).unwrap());
        }
        other => panic!("unknown case {other:?}"),
    }
}
