//! A mail server: a real one on loopback that speaks as much SMTP as handing over a mail needs. It answers as it was
//! told to, and remembers what came.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail that was taken, or would have been.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and text, as they came, without the dots of the protocol.
    pub text: String,
    /// What came with `AUTH PLAIN`, in Base64.
    pub login: String,
}

impl Mail {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.split("\r\n").find_map(|line| line.strip_prefix(start.as_str())).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Inner {
    mails: Vec<Mail>,
    /// What is answered to the next `RCPT TO`, instead of 250.
    refusals: Vec<String>,
}

/// The mail server; it ends with the test.
#[derive(Debug, Clone)]
pub struct MailServer {
    inner: Arc<Mutex<Inner>>,
    pub port: u16,
}

impl MailServer {
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
    pub async fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = MailServer { inner: Arc::default(), port: listener.local_addr().unwrap().port() };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                // A client that hangs up in the middle has handed nothing over.
                tokio::spawn(async move { own.converse(stream).await.ok() });
            }
        });
        server
    }

    /// Refuses the next mail in these words, as `450 4.2.1 try later`.
    pub fn refuse(&self, words: &str) {
        self.inner.lock().unwrap().refusals.push(words.to_owned());
    }

    /// The mails that were taken.
    pub fn mails(&self) -> Vec<Mail> {
        self.inner.lock().unwrap().mails.clone()
    }

    async fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream);
        let mut mail = Mail::default();
        say(&mut lines, "220 mail.example ready").await?;
        let mut line = String::new();
        loop {
            line.clear();
            if lines.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let word = line.trim_end().to_owned();
            let (verb, rest) = word.split_at(word.find([' ', ':']).unwrap_or(word.len()));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => say(&mut lines, "250-mail.example\r\n250-AUTH PLAIN\r\n250 8BITMIME").await?,
                "AUTH" => {
                    mail.login = rest.trim_start().trim_start_matches("PLAIN ").to_owned();
                    say(&mut lines, "235 2.7.0 welcome").await?;
                }
                "MAIL" => {
                    mail.from = address(rest);
                    say(&mut lines, "250 2.1.0 ok").await?;
                }
                "RCPT" => {
                    let refusal = self.inner.lock().unwrap().refusals.pop();
                    mail.to.push(address(rest));
                    say(&mut lines, refusal.as_deref().unwrap_or("250 2.1.5 ok")).await?;
                }
                "DATA" => {
                    say(&mut lines, "354 go on").await?;
                    mail.text = text(&mut lines).await?;
                    self.inner.lock().unwrap().mails.push(std::mem::take(&mut mail));
                    say(&mut lines, "250 2.0.0 queued as 4711").await?;
                }
                "QUIT" => return say(&mut lines, "221 bye").await,
                "NOOP" | "RSET" => say(&mut lines, "250 ok").await?,
                _ => say(&mut lines, "502 5.5.1 what?").await?,
            }
        }
    }
}

async fn say(lines: &mut BufReader<TcpStream>, words: &str) -> std::io::Result<()> {
    lines.get_mut().write_all(format!("{words}\r\n").as_bytes()).await
}

/// What stands between the angle brackets.
fn address(rest: &str) -> String {
    rest.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

/// All up to the line with a single dot.
async fn text(lines: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
