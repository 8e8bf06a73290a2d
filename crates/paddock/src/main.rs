//! The Paddock server and command line: see [`cli`] for the commands and [`serve`] for how a server is put together.

mod agents;
mod analyze;
mod browser;
mod cli;
mod client;
mod config;
mod config_command;
mod data_dir;
mod demo;
mod doctor;
mod exit;
mod jobs;
mod keys_command;
mod lab;
mod llm;
mod mcp_command;
mod missions;
mod registry_command;
mod serve;
mod status_page;
mod summary;
mod table;
mod top;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Heap profiling is compiled in and asleep until `/debug/pprof/heap` is asked for; memory that a burst used goes
/// back to the system within seconds.
#[expect(unsafe_code, reason = "jemalloc reads its options from a symbol of this name before `main` runs")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] =
    b"prof:true,prof_active:false,lg_prof_sample:19,narenas:4,dirty_decay_ms:2000,muzzy_decay_ms:2000\0";

fn main() -> ExitCode {
    cli::run()
}
