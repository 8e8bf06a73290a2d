//! The files of `sdk/`, as part of this program.

use super::Language;

/// The world of agents.
pub(super) const WIT: &str = include_str!("../../../../../sdk/wit/agent.wit");

type Files = &'static [(&'static str, &'static str)];

macro_rules! sdk {
    ($path:literal) => {
        include_str!(concat!("../../../../../sdk/agents/", $path))
    };
}

/// Where the agent's own code is.
pub(super) const fn main(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Ts => "src/agent.ts",
        Language::Py => "app.py",
        Language::C => "src/agent.c",
    }
}

/// Examples by name; each is the agent's own code.
pub(super) const fn examples(language: Language) -> Files {
    match language {
        Language::Rust => {
            &[("tally", sdk!("rust/examples/tally.rs")), ("bidder", sdk!("rust/examples/bidder.rs"))]
        }
        Language::Ts => &[
            ("triage", sdk!("ts/examples/triage.ts")),
            ("digest", sdk!("ts/examples/digest.ts")),
            ("script", sdk!("ts/examples/script.ts")),
        ],
        Language::Py => &[
            ("extract", sdk!("python/examples/extract.py")),
            ("reviewer", sdk!("python/examples/reviewer.py")),
            ("script", sdk!("python/examples/script.py")),
        ],
        Language::C => &[("limiter", sdk!("c/examples/limiter.c")), ("dedupe", sdk!("c/examples/dedupe.c"))],
    }
}

/// What every project of the language has beside it.
pub(super) const fn support(language: Language) -> Files {
    match language {
        Language::Rust => &[
            ("Cargo.toml", sdk!("rust/Cargo.toml")),
            ("src/paddock.rs", sdk!("rust/src/paddock.rs")),
            (".gitignore", "/target\n/*.wasm\n"),
        ],
        Language::Ts => &[
            ("package.json", sdk!("ts/package.json")),
            ("tsconfig.json", sdk!("ts/tsconfig.json")),
            ("src/paddock.ts", sdk!("ts/src/paddock.ts")),
            ("src/world.d.ts", sdk!("ts/src/world.d.ts")),
            (".gitignore", "/node_modules\n/build\n/*.wasm\n"),
        ],
        Language::Py => &[
            ("paddock.py", sdk!("python/paddock.py")),
            ("requirements.txt", sdk!("python/requirements.txt")),
            (".gitignore", "/.venv\n__pycache__\n/*.wasm\n"),
        ],
        Language::C => &[
            ("paddock/agent.h", sdk!("c/paddock/agent.h")),
            ("paddock/agent.c", sdk!("c/paddock/agent.c")),
            ("paddock/paddock.h", sdk!("c/paddock/paddock.h")),
            ("paddock/paddock.c", sdk!("c/paddock/paddock.c")),
            (".gitignore", "/build\n/*.wasm\n"),
        ],
    }
}
