//! A child process of a test: its output is kept and shown where the test fails, and it ends with the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::wait::until;

/// Most lines that a failed test shows of each process, the newest.
const SHOWN: usize = 400;
/// How long a process is given to end by itself when its test is over.
const GRACE: Duration = Duration::from_millis(1500);
/// How long the lines of a process that has ended may take to be read; longer only where a descendant holds its output.
const OUTPUT_DRAIN: Duration = Duration::from_secs(1);
/// `nobody` of Debian: for servers that refuse to run as root, or should not.
const NOBODY: u32 = 65534;

/// Which of its two outputs a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub output: Output,
    pub text: String,
}

/// A running child, killed with its descendants when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<Line>>,
}

impl Process {
    /// Starts it with nothing to read. It stays in the test's process group, so that whoever ends the test's group
    /// ends it too.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        let (sender, lines) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        collect(child.stdout.take().expect("stdout is piped"), Output::Stdout, sender.clone());
        collect(child.stderr.take().expect("stderr is piped"), Output::Stderr, sender);
        Self { name: name.to_owned(), child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything written until now.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// Waits for a line in which `find` finds something, those already written included. `None` where there is none
    /// within that time or before the process ends.
    pub async fn line<T>(&self, within: Duration, find: impl Fn(&Line) -> Option<T>) -> Option<T> {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| find(line).is_some()));
        match tokio::time::timeout(within, found).await {
            Ok(Ok(lines)) => lines.iter().find_map(find),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end, and for the last of what it wrote.
    pub async fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        let status = until(within, async || self.exited()).await?;
        until(OUTPUT_DRAIN, async || self.is_silent().then_some(())).await;
        Some(status)
    }

    /// Whether nobody can write a line any more.
    fn is_silent(&self) -> bool {
        self.lines.has_changed().is_err()
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            let sent = kill_process(Pid::from_child(&self.child), signal);
            sent.expect("an unreaped child of ours can be signalled");
        }
    }

    /// Ends it and all its descendants at once, and waits for its end.
    pub fn kill(&mut self) {
        let family = descendants(self.pid());
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be waited for");
        family.iter().for_each(Relative::kill);
    }

    fn show(&self) {
        let dead = Instant::now();
        while !self.is_silent() && dead.elapsed() < OUTPUT_DRAIN {
            thread::sleep(Duration::from_millis(1));
        }
        let lines = self.lines.borrow();
        eprintln!("---- {} ({} lines)", self.name, lines.len());
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
            eprintln!("{} | {}", self.name, line.text);
        }
    }

    /// Asks it to end, then insists (a second signal means at once), and gives up waiting after [`GRACE`].
    fn ask_to_end(&mut self) {
        let begun = Instant::now();
        for ask_again_after in [GRACE / 3, GRACE] {
            self.signal(Signal::TERM);
            while begun.elapsed() < ask_again_after {
                if self.exited().is_some() {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = descendants(self.pid());
        self.ask_to_end();
        self.kill();
        family.iter().for_each(Relative::kill);
        if thread::panicking() {
            self.show();
        }
    }
}

fn collect(from: impl Read + Send + 'static, output: Output, lines: Arc<watch::Sender<Vec<Line>>>) {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            lines.send_modify(|lines| lines.push(Line { output, text }));
            bytes.clear();
        }
    });
}

/// A process as `/proc` shows it. With its time of start it is told from a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relative {
    pid: u32,
    parent: u32,
    /// Clock ticks since the machine started.
    started: u64,
}

impl Relative {
    /// proc(5), `stat`: pid, name in parentheses (may hold anything), state, parent; the time of start is field 22.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
        let parent = after_name.nth(1)?.parse().ok()?;
        let started = after_name.nth(17)?.parse().ok()?;
        Some(Self { pid, parent, started })
    }

    /// Kills it if it is still there.
    fn kill(&self) {
        let same = Self::read(self.pid).is_some_and(|now| now.started == self.started);
        if let Some(pid) = Pid::from_raw(self.pid as i32).filter(|_| same) {
            let _gone_meanwhile = kill_process(pid, Signal::KILL);
        }
    }
}

/// The process's children, their children and so on.
fn descendants(of: u32) -> Vec<Relative> {
    let everybody: Vec<Relative> = fs::read_dir("/proc")
        .expect("Linux has /proc")
        .filter_map(|entry| Relative::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found: Vec<Relative> = everybody.iter().filter(|p| p.parent == of).copied().collect();
    let mut next = 0;
    while let Some(above) = found.get(next).map(|p| p.pid) {
        found.extend(everybody.iter().filter(|p| p.parent == above));
        next += 1;
    }
    found
}

/// Where the tests run as root: makes the command run as `nobody`, and what is in the directory theirs.
pub fn unprivileged(command: &mut Command, directory: &Path) {
    if rustix::process::geteuid().is_root() {
        hand_over(directory);
        command.uid(NOBODY).gid(NOBODY);
    }
}

fn hand_over(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("root may change an owner");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("our own directory is readable") {
            hand_over(&entry.expect("our own directory is readable").path());
        }
    }
}
