//! A D-Bus client for a few calls in a row: one connection, one deadline, no thread and no runtime.
//!
//! zbus makes and reads the messages. Its connections are not used: they leave an executor's thread
//! behind in a process that speaks D-Bus once, at its start, and have no time limit on connecting.
//! Rests on the D-Bus Specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use zbus::address::{Transport, transport::UnixSocket};
use zbus::message::{EndianSig, Header, Type};
use zbus::zvariant::serialized::{Context, Data};
use zbus::zvariant::{DynamicDeserialize, DynamicType, Endian};

/// Longer messages than this are none that we asked for. The specification allows 128 MiB.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Longer lines than this are no part of the authentication.
const LONGEST_LINE: usize = 1 << 10;
/// The part of a message that tells how long the rest is.
const PROLOGUE: usize = 16;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A server address of the D-Bus specification, such as `unix:path=/run/dbus/system_bus_socket`.
    pub address: String,
    /// A bus, which passes messages on; otherwise the program that is called.
    pub is_bus: bool,
}

/// Why there is no answer, or which.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The deadline has passed.
    #[error("no answer in time")]
    TimedOut,
    /// The peer does not accept who we are.
    #[error("the authentication was answered with \"{0}\"")]
    Rejected(String),
    /// The answer is an error.
    #[error("{message} ({name})")]
    Refused {
        /// Its name, such as `org.freedesktop.DBus.Error.AccessDenied`.
        name: String,
        /// What it says.
        message: String,
    },
    /// What came, or what was to be sent, is not D-Bus.
    #[error("{0}")]
    Malformed(String),
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<zbus::zvariant::Error> for Error {
    fn from(error: zbus::zvariant::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An object, and the program it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The program's name on a bus.
    pub program: &'a str,
    /// The object's path.
    pub path: &'a str,
}

/// A message that was received.
pub struct Message {
    data: Data<'static, 'static>,
    body: usize,
}

impl Message {
    /// What it is, and about what.
    ///
    /// # Errors
    /// It is not D-Bus.
    pub fn header(&self) -> Result<Header<'_>, Error> {
        Ok(self.data.deserialize()?.0)
    }

    /// Its content, if that is of the type expected.
    ///
    /// # Errors
    /// It is not.
    pub fn body<T: for<'d> DynamicDeserialize<'d>>(&self) -> Result<T, Error> {
        let data = self.data.slice(self.body..);
        Ok(data.deserialize_for_dynamic_signature(self.header()?.signature())?.0)
    }
}

/// A connection.
pub struct Connection {
    stream: UnixStream,
    is_bus: bool,
    deadline: Instant,
    /// Those that came while something else was waited for.
    signals: Vec<Message>,
}

impl Connection {
    /// Connects. Everything that is done with the connection has to be done before the deadline.
    ///
    /// # Errors
    /// Nobody listens, or does not accept us, or not in time.
    pub fn open(peer: &Peer, deadline: Instant) -> Result<Self, Error> {
        let stream = connect(&peer.address, deadline)?;
        let mut new = Self { stream, is_bus: peer.is_bus, deadline, signals: Vec::new() };
        // The user's number in ASCII, in hexadecimal. The kernel vouches for it.
        let uid: String =
            nix::unistd::geteuid().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        new.write(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let answer = new.read_line()?;
        if !answer.starts_with("OK ") {
            return Err(Error::Rejected(answer));
        }
        new.write(b"BEGIN\r\n")?;
        if new.is_bus {
            let _: String = new.call(BUS, "org.freedesktop.DBus", "Hello", &())?;
        }
        Ok(new)
    }

    /// Asks a bus for the signals that match a rule; from anybody else they come unasked.
    ///
    /// # Errors
    /// See [`Connection::call`].
    pub fn watch(&mut self, rule: &str) -> Result<(), Error> {
        if self.is_bus { self.call(BUS, "org.freedesktop.DBus", "AddMatch", &rule) } else { Ok(()) }
    }

    /// Calls a method, and waits for the answer.
    ///
    /// # Errors
    /// The answer is an error, or of another type, or does not come.
    pub fn call<B, R>(
        &mut self,
        object: Object<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<R, Error>
    where
        B: serde::Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let mut message = zbus::Message::method_call(object.path, method)?.interface(interface)?;
        if self.is_bus {
            message = message.destination(object.program)?;
        }
        let serial = self.send(&message.build(body)?)?;
        loop {
            let message = self.receive()?;
            let header = message.header()?;
            let ours = header.reply_serial().map(u32::from) == Some(serial);
            match header.message_type() {
                Type::MethodReturn if ours => return message.body(),
                Type::Error if ours => {
                    let name = header.error_name().map_or_else(String::new, ToString::to_string);
                    return Err(Error::Refused { name, message: message.body().unwrap_or_default() });
                }
                Type::Signal => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits for a signal of this name whose content is the one wanted.
    ///
    /// # Errors
    /// It does not come, or one of this name has another type.
    pub fn wait_for<T: for<'d> DynamicDeserialize<'d>>(
        &mut self,
        signal: &str,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T, Error> {
        let mut earlier = std::mem::take(&mut self.signals).into_iter();
        loop {
            let message = match earlier.next() {
                Some(message) => message,
                None => self.receive()?,
            };
            let header = message.header()?;
            if header.message_type() == Type::Signal && header.member().is_some_and(|name| name == signal) {
                let content = message.body()?;
                if wanted(&content) {
                    return Ok(content);
                }
            }
        }
    }

    /// The other end of a connection: accepts whoever calls.
    #[cfg(test)]
    pub(super) fn accept(stream: UnixStream, deadline: Instant) -> Result<Self, Error> {
        let mut new = Self { stream, is_bus: false, deadline, signals: Vec::new() };
        assert!(new.read_line()?.starts_with("\0AUTH EXTERNAL "));
        new.write(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
        assert_eq!(new.read_line()?, "BEGIN");
        Ok(new)
    }

    /// Sends a message, and gives its number.
    pub(super) fn send(&mut self, message: &zbus::Message) -> Result<u32, Error> {
        self.write(message.data())?;
        Ok(message.primary_header().serial_num().into())
    }

    /// Waits for a message.
    pub(super) fn receive(&mut self) -> Result<Message, Error> {
        let mut bytes = vec![0; PROLOGUE];
        self.read_exact(&mut bytes)?;
        let endian = Endian::from(EndianSig::try_from(bytes[0])?);
        let number = |at: usize| {
            let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            let number = match endian {
                Endian::Little => u32::from_le_bytes(four),
                Endian::Big => u32::from_be_bytes(four),
            };
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let (body, fields) = (number(4), number(12));
        // The body begins at a multiple of eight.
        let begins = PROLOGUE.saturating_add(fields.min(LONGEST_MESSAGE).next_multiple_of(8));
        let length = begins.saturating_add(body);
        if fields > LONGEST_MESSAGE || length > LONGEST_MESSAGE {
            return Err(zbus::Error::ExcessData.into());
        }
        bytes.resize(length, 0);
        self.read_exact(&mut bytes[PROLOGUE..])?;
        Ok(Message { data: Data::new(bytes, Context::new_dbus(endian, 0)), body: begins })
    }

    fn read_line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        // A byte at a time: what follows the line is another's to read.
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > LONGEST_LINE {
                return Err(zbus::Error::ExcessData.into());
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().into())
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(left(self.deadline)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) => timed_out(error)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(self.deadline)?))?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => timed_out(error)?,
            }
        }
        Ok(())
    }
}

/// What answers the calls to the bus itself.
pub(super) const BUS: Object<'_> = Object { program: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };

/// std's connect has no time limit, and a program that hangs leaves its callers waiting in it.
fn connect(address: &str, deadline: Instant) -> Result<UnixStream, Error> {
    let address: zbus::Address = address.parse()?;
    let address = match address.transport() {
        Transport::Unix(unix) => match unix.path() {
            UnixSocket::File(path) => UnixAddr::new(path.as_path()),
            UnixSocket::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
            _ => Err(nix::Error::EAFNOSUPPORT),
        },
        _ => Err(nix::Error::EAFNOSUPPORT),
    }
    .map_err(io::Error::from)?;
    let kind = (AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let socket = socket::socket(kind.0, kind.1, kind.2, None).map_err(io::Error::from)?;
    let left = left(deadline)?;
    let micros = i64::from(left.subsec_micros());
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    socket::setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, micros))
        .map_err(io::Error::from)?;
    match socket::connect(socket.as_raw_fd(), &address) {
        Ok(()) => Ok(socket.into()),
        Err(error) => Err(timed_out(error.into()).err().unwrap_or(Error::TimedOut)),
    }
}

/// What is left until the deadline; never zero, which would mean for ever.
fn left(deadline: Instant) -> Result<Duration, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    // The kernel counts in microseconds.
    if left < Duration::from_micros(1) { Err(Error::TimedOut) } else { Ok(left) }
}

/// The error of a socket with a time limit; none where the call is to be made again.
fn timed_out(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => Err(Error::TimedOut),
        _ => Err(error.into()),
    }
}
