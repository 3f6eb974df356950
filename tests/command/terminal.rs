//! A terminal, and whoever sits at it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::harness::{AS_A_LOGIN, DEADLINE, Site, await_some};

/// Lines and columns.
pub const SIZE: (u16, u16) = (37, 111);

/// A terminal with a program on it, whose controlling terminal it is.
pub struct Terminal {
    /// Its name, as tty(1) has it.
    pub name: String,
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub fn start(site: &Site, program: &str, arguments: &[&str]) -> Self {
        let (ws_row, ws_col) = SIZE;
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let ends = openpty(&size, None).expect("a terminal");
        let slave = File::from(ends.slave);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&slave);
        let name = fs::read_link(format!("/proc/self/fd/{fd}")).expect("proc").display().to_string();
        let mut command = Command::new("env");
        command.args([AS_A_LOGIN, "setsid", "--ctty", "--wait", program]).args(arguments);
        site.set_up(&mut command);
        let stdio = || Stdio::from(slave.try_clone().expect("cloned"));
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("it starts");
        drop((command, slave));
        let keyboard = File::from(ends.master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut reads, seen) = (keyboard.try_clone().expect("cloned"), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO: nobody has it open any more.
            while let Ok(length) = reads.read(&mut bytes) {
                seen.lock().expect("not poisoned").extend_from_slice(&bytes[..length]);
            }
        });
        Self { name, child, keyboard, screen }
    }

    /// The program that it was started with.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("written");
    }

    /// All that was shown.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("not poisoned")).into_owned()
    }

    /// How often something was shown.
    pub fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }

    /// Waits until something is shown.
    pub fn await_text(&self, text: &str) {
        self.await_count(text, 1);
    }

    /// Waits until something is shown this often.
    pub fn await_count(&self, text: &str, count: usize) {
        let begin = Instant::now();
        while self.count(text) < count {
            assert!(begin.elapsed() < DEADLINE, "waited in vain for {text:?}: {}", self.text());
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the program has ended: its code.
    pub fn wait(&mut self) -> Option<i32> {
        let status = await_some("the program on the terminal ends", || self.child.try_wait().expect("ours"));
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
