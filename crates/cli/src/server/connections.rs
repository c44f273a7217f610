//! Connections of clients: taken, bounded in number, and closed if nothing comes. Whoever opens many and says nothing, or half
//! of something, must not take the open files that runs and the store need.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Without a limit of the system's own.
const CONNECTIONS_MAX: usize = 10_000;
/// Wait for the head of a request, the first or the next. Longer than clients keep idle connections (90 s is usual), so that none
/// is closed while a request is on its way.
const HEAD_WITHIN: Duration = Duration::from_secs(100);
/// After an accept that failed, as for want of open files.
const PAUSE: Duration = Duration::from_secs(1);

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open at once; more wait in the system's queue.
    connections: usize,
    head_within: Duration,
}

impl Bounds {
    /// Half of the files that this process may open.
    pub fn of_system() -> Bounds {
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        let connections = files.map_or(CONNECTIONS_MAX, |files| (files / 2).clamp(1, CONNECTIONS_MAX));
        Bounds { connections, head_within: HEAD_WITHIN }
    }
}

/// Answers clients until `is_over`, and then those that wait for an answer.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, is_over: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    // Its tasks end with it.
    let mut open = JoinSet::new();
    let mut is_over = pin!(is_over);
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, accept(&listener).await.0)
        };
        let (permit, stream) = tokio::select! {
            (permit, stream) = next => (permit, stream),
            () = &mut is_over => break,
        };
        while open.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.head_within);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        open.spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!("a connection has ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Answers are small: waiting for more to send only delays them.
                stream.set_nodelay(true).ok();
                return (stream, from);
            }
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!("no connection can be taken: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the client has gone before it was taken.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server, and what stops it.
    async fn serving(bounds: Bounds) -> (SocketAddr, oneshot::Sender<()>, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, router, bounds, async {
            stopped.await.ok();
        });
        (address, stop, serving)
    }

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn who_sends_half_a_request_holds_others_up_for_a_moment_and_no_longer() {
        let (address, stop, serving) =
            serving(Bounds { connections: 3, head_within: Duration::from_millis(300) }).await;
        let clients = async {
            let mut halves = Vec::new();
            for _ in 0..3 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
                halves.push(stream);
            }
            let held_up = timeout(Duration::from_millis(100), ask(address)).await;
            assert!(held_up.is_err(), "as many as may be are open");
            assert!(ask(address).await.ends_with("here"));
            for mut half in halves {
                let mut rest = Vec::new();
                timeout(PATIENCE, half.read_to_end(&mut rest)).await.unwrap().ok();
            }
            stop.send(()).unwrap();
        };
        timeout(PATIENCE, async { tokio::join!(serving, clients) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_waits_for_no_idle_connection() {
        let (address, stop, serving) = serving(Bounds { connections: 3, head_within: 10 * PATIENCE }).await;
        let clients = async {
            let mut idle = TcpStream::connect(address).await.unwrap();
            idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 64];
            assert!(idle.read(&mut answer).await.unwrap() > 0);
            stop.send(()).unwrap();
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.unwrap();
        };
        timeout(PATIENCE, async { tokio::join!(serving, clients) }).await.unwrap();
    }
}
