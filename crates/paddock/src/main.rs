//! The Paddock server and command line.

fn main() {}
