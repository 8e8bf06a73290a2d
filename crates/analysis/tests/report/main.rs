//! The report of a page analysis, in each of its forms.

#![cfg(test)]

mod forms;
mod html;
mod palette;
mod pictures;
mod sample;
mod scores;
mod structure;
mod write;
