//! The output for the user that typed the command. Nobody need be there to read it: that is an error of the caller's to
//! act on, never a panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes the text and a line's end to stdout.
///
/// # Errors
/// Why it was not written: a full disk, or a reader that has gone.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    // In one piece: a reader that takes the first lines and goes has got them all.
    stdout.write_all(format!("{text}\n").as_bytes())?;
    stdout.flush()
}

/// Says on stderr what went wrong, if anybody reads it.
pub fn complain(what: impl Display) {
    let written = io::stderr().lock().write_all(format!("confgate: {what}\n").as_bytes());
    // There is nobody else to be told.
    drop(written);
}
