//! The common parts of the media servers under load: a process that is measured, and peers' entry to its rooms.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::peer::Peer;

/// A media server as a process of its own.
pub trait Server {
    fn pid(&self) -> u32;

    /// The room's publisher.
    fn publish(&mut self, room: u64) -> Peer;

    /// One more viewer of the room's publisher; `None` where the server takes no more.
    fn watch(&mut self, room: u64) -> Option<Peer>;
}

/// Ends with this.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Process { child: child.expect("a program that is installed") }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child.stdin.as_mut().expect("it is piped")
    }

    pub fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().expect("it is piped, and taken once"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line of a program that has more to say.
pub fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    let length = from.read_line(&mut line).expect("a pipe");
    assert!(length > 0, "the process ended");
    line
}
