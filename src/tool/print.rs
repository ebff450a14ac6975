//! Standard output of the tools. A reader that goes away (`| head`) ends the tool quietly, as it does others.

use std::fmt;
use std::io::{self, Write};

/// Prints one line.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::tool::print::line(format_args!($($arguments)*)) };
}
pub(super) use say;

/// Prints one line on standard error: what is no result.
macro_rules! complain {
    ($($arguments:tt)*) => { $crate::tool::print::error_line(format_args!($($arguments)*)) };
}
pub(super) use complain;

pub(super) fn line(text: fmt::Arguments<'_>) {
    end_when_unheard(writeln!(io::stdout().lock(), "{text}"));
}

pub(super) fn error_line(text: fmt::Arguments<'_>) {
    end_when_unheard(writeln!(io::stderr().lock(), "{text}"));
}

/// Ends the process when nobody reads what it prints.
pub(super) fn end_when_unheard(written: io::Result<()>) {
    if let Err(error) = written {
        let unheard = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if unheard { 0 } else { 1 });
    }
}
