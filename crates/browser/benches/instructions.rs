//! Instructions of reading and writing an accessibility snapshot, counted under valgrind: an agent asks for one after
//! nearly every action.
//!
//! `scripts/instructions.sh` counts them together with those of the other crates.

#![expect(missing_docs, reason = "what the macros make is public and has none")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use paddock_browser::snapshot::{Format, Rendered, Snapshot};
use serde_json::json;

const NODES: u32 = 1_000;

/// What the walk returns of a page of a shop: headings, links and buttons, a field here and there.
fn walked(nodes: u32) -> String {
    let node = |number: u32| {
        let name = format!("Item {number} of the catalogue");
        match number % 5 {
            0 => json!([number, number % 7, 0, name, 0, 64, { "level": 2 }]),
            1 => json!([number, number % 7, 1, name, 1, 320, { "value": "3", "placeholder": "how many" }]),
            2 => json!([number, number % 7, 2, name, 2, 257]),
            _ => json!([number, number % 7, 3, name, 3, 320]),
        }
    };
    json!({
        "document": "1.1",
        "url": "https://shop.example/catalogue?page=2",
        "title": "Catalogue",
        "outcome": "ok",
        "roles": ["heading", "textbox", "button", "link"],
        "tags": ["h2", "input", "button", "a"],
        "nodes": (0..nodes).map(node).collect::<Vec<_>>(),
        "refNext": nodes,
        "truncated": false,
    })
    .to_string()
}

#[library_benchmark(setup = walked)]
#[bench::thousand_nodes(NODES)]
fn parse(text: String) -> usize {
    Snapshot::parse(black_box(&text)).map_or(0, |snapshot| snapshot.nodes.len())
}

fn snapshot(format: Format, tokens_max: Option<u32>) -> (Snapshot, Format, Option<u32>) {
    (Snapshot::parse(&walked(NODES)).unwrap_or_default(), format, tokens_max)
}

#[library_benchmark(setup = snapshot)]
#[bench::compact(Format::Compact, None)]
#[bench::compact_within_2000_tokens(Format::Compact, Some(2_000))]
#[bench::json(Format::Json, None)]
fn render((snapshot, format, tokens_max): (Snapshot, Format, Option<u32>)) -> Rendered {
    black_box(&snapshot).render(format, tokens_max)
}

library_benchmark_group!(name = snapshots, benchmarks = [parse, render]);
main!(library_benchmark_groups = snapshots);
