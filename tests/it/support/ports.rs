//! Ports for the servers that tests start: free, and claimed for as long as the test runs, so that a server may be
//! stopped and started again on the same one.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below what the system hands out to outgoing connections (32768 and up on Linux).
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// A loopback port that no other test takes while this lives.
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    /// Claims a free one. The claim is a lock on a file that all test processes of this machine know.
    pub fn claim() -> Self {
        let claims = std::env::temp_dir().join(format!("confgate-ports-{}", rustix::process::geteuid().as_raw()));
        fs::create_dir_all(&claims).expect("the system's directory for temporary files is writable");
        // Starts anywhere, so that two processes seldom try the same ports one after the other.
        let count = LAST - FIRST;
        let start = rand::random_range(0..count);
        for step in 0..count {
            let number = FIRST + (start + step) % count;
            let claim = File::create(claims.join(number.to_string())).expect("a port's lock file is ours");
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port between {FIRST} and {LAST}");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
