//! Compiled code on disk.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use paddock_platform::{task::Tasks, units::ByteSize};

use super::support::{echo, fixture, guest, options};
use crate::wasm::{Wasm, WasmOptions};

fn files(root: &std::path::Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(root).unwrap().flatten();
    let mut files: Vec<PathBuf> =
        dirs.flat_map(|dir| fs::read_dir(dir.path()).unwrap().flatten()).map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_compiled_is_mapped_by_the_next_process() {
    let first = fixture(options());
    first.module(echo()).await;
    let kept = files(first.cache.path());
    assert_eq!(kept.len(), 1);
    let written = fs::metadata(&kept[0]).unwrap().len();
    let again = Wasm::start(options(), first.cache.path().to_owned(), &Tasks::default()).unwrap();
    again.prepare(Bytes::from(echo())).await.unwrap();
    assert_eq!(files(first.cache.path()), kept);
    assert_eq!(fs::metadata(&kept[0]).unwrap().len(), written);
}

#[tokio::test]
async fn code_that_is_not_as_it_was_written_is_compiled_again() {
    let first = fixture(options());
    first.module(echo()).await;
    let kept = files(first.cache.path()).remove(0);
    let whole = fs::read(&kept).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    for damaged in [flipped, whole[..whole.len() / 3].to_vec(), Vec::new()] {
        // As another process would leave it: the code is mapped here, and must not change beneath.
        fs::remove_file(&kept).unwrap();
        fs::write(&kept, &damaged).unwrap();
        let again = Wasm::start(options(), first.cache.path().to_owned(), &Tasks::default()).unwrap();
        again.prepare(Bytes::from(echo())).await.unwrap();
        assert_eq!(fs::read(&kept).unwrap(), whole);
    }
}

#[tokio::test]
async fn code_of_other_settings_is_not_used() {
    let first = fixture(options());
    first.module(echo()).await;
    let metered = WasmOptions { fuel: true, ..options() };
    let other = Wasm::start(metered, first.cache.path().to_owned(), &Tasks::default()).unwrap();
    other.prepare(Bytes::from(echo())).await.unwrap();
    assert_eq!(files(first.cache.path()).len(), 2);
}

#[tokio::test]
async fn the_cache_keeps_to_its_bound() {
    let fixture = fixture(WasmOptions { cache_max: ByteSize::bytes(1), ..options() });
    for number in 0..3 {
        fixture.module(guest("", "", &format!("(drop (i32.const {number}))"), "")).await;
        assert_eq!(files(fixture.cache.path()).len(), 1, "the newest is kept");
    }
}
