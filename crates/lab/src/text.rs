//! Building texts piece by piece.

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($target:expr, $($arguments:tt)*) => {{
        let text: &mut String = &mut $target;
        let _ = std::fmt::Write::write_fmt(text, format_args!($($arguments)*));
    }};
}
pub(crate) use push;
