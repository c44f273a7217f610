//! The servers that listen to this shim: any number, coming and going. Nothing here ever blocks, and
//! no reader, however slow, costs more than a bounded buffer. What they miss is on disk.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::super::protocol::{Order, Report, encode, take_line};

/// More than this waiting for one reader, and it is cut off.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// A longer order is no order. The longest input may be six times as long once it is escaped.
const ORDER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Read in one turn at most; the rest in the next.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// One server.
pub struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    waiting: Vec<u8>,
    /// The latest hint, sent when nothing else waits: hints replace each other.
    hint: Option<Vec<u8>>,
    pub is_open: bool,
}

impl Connection {
    /// `received` is what was already read from the stream.
    pub fn new(stream: UnixStream, received: Vec<u8>) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, received, waiting: Vec::new(), hint: None, is_open: true })
    }

    /// Says something that is said once.
    pub fn send(&mut self, report: &Report) {
        if let Ok(line) = encode(report) {
            self.waiting.extend_from_slice(&line);
        }
        self.flush();
    }

    /// Says how far the log has grown.
    pub fn hint(&mut self, report: &Report) {
        self.hint = encode(report).ok();
        self.flush();
    }

    /// Whether something waits for the reader.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what the reader takes now.
    pub fn flush(&mut self) {
        while self.is_open {
            if self.waiting.is_empty() {
                let Some(hint) = self.hint.take() else { return };
                self.waiting = hint;
            }
            match self.stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.is_open = false,
            }
        }
        self.is_open &= self.waiting.len() <= WAITING_BYTES_MAX;
    }

    /// Takes the orders that have arrived.
    pub fn receive(&mut self) -> Vec<Order> {
        let mut bytes = [0; 16 * 1024];
        let mut in_turn = 0;
        while in_turn < TURN_BYTES_MAX {
            match self.stream.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.received.extend_from_slice(&bytes[..count]);
                    in_turn += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    self.is_open = false;
                    break;
                }
            }
        }
        let mut orders = Vec::new();
        while let Some(line) = take_line(&mut self.received) {
            // An order of a later version that we do not understand is left alone.
            orders.extend(serde_json::from_slice::<Order>(&line));
        }
        self.is_open &= self.received.len() < ORDER_BYTES_MAX;
        if self.received.is_empty() {
            self.received.shrink_to(TURN_BYTES_MAX / 16);
        }
        orders
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
