//! The smallest HTTP/1.1 client that will do: one keep-alive connection, one request at a time.
//! A full client would be measured with the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The headers that say who asks, and of whom.
    headers: String,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `address` (`host:port`) with a token.
    pub fn open(address: &str, token: &str) -> Result<Connection> {
        Connection::with_headers(address, &format!("host: {address}\r\nauthorization: Bearer {token}\r\n"))
    }

    /// Connects with a session of the console, as a browser has it.
    pub fn open_console(address: &str, cookie: &str) -> Result<Connection> {
        Connection::with_headers(address, &format!("host: {address}\r\nwakeful-console: 1\r\ncookie: {cookie}\r\n"))
    }

    fn with_headers(address: &str, headers: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Connection { stream, headers: headers.to_owned(), buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Begins a stream of events, of which nothing is read: what comes is the kernel's to keep.
    pub fn listen(&mut self, path: &str) -> Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\n{}accept: text/event-stream\r\n\r\n", self.headers);
        Ok(self.stream.write_all(head.as_bytes())?)
    }

    /// Sends a request, reads the answer: status and body.
    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.headers,
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body.as_bytes());
        self.stream.write_all(&message)?;
        self.answer()
    }

    /// The same, as JSON; any status but 2xx is an error.
    pub fn json(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.request(method, path, &text)?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    /// The cookie that the answer to `path` sets.
    pub fn cookie_of(mut self, path: &str, body: &str) -> Result<String> {
        self.request("POST", path, body)?;
        let head = String::from_utf8_lossy(&self.buffer).into_owned();
        let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).context("no cookie is set")?;
        Ok(line.split(';').next().unwrap_or_default().to_owned())
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        self.buffer.clear();
        let mut chunk = [0; 16 * 1024];
        let head_end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match self.stream.read(&mut chunk)? {
                0 => bail!("the server closed the connection"),
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        while self.buffer.len() < head_end + length {
            match self.stream.read(&mut chunk)? {
                0 => bail!("the server closed the connection"),
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
        Ok((status, self.buffer[head_end..head_end + length].to_vec()))
    }
}
