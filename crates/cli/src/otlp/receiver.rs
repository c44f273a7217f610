//! One request to the receiver, what came of it, and telling it sparsely: once when it fails, once when it works again.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;
use wakeful_engine::{Engine, Meter};

use super::target::Target;

/// A receiver that takes longer is as good as none.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer, which is a few bytes; more is passed over.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A receiver is not waited for longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// Some of it was refused: how many items, and why.
    InPart(i64, String),
    /// It may be taken later, and not before this has passed if it says so.
    Later(String, Option<Duration>),
    /// It will not be taken.
    Refused(String),
}

/// The way to the receiver.
#[derive(Debug)]
pub struct Receiver {
    client: Client,
    engine: Engine,
    signal: &'static str,
    shown: String,
    is_failing: bool,
}

impl Receiver {
    /// `signal` is what people read in the log.
    pub fn new(engine: Engine, target: &Target, signal: &'static str) -> reqwest::Result<Receiver> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .default_headers(target.headers.clone())
            .build()?;
        Ok(Receiver { client, engine, signal, shown: target.shown.clone(), is_failing: false })
    }

    /// Sends an encoded message; it can be waited for beside other things.
    pub fn send(&self, url: &Url, message: Vec<u8>) -> impl Future<Output = Sent> + Send + 'static + use<> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let request = request.body(message);
        async move {
            match request.send().await {
                Ok(response) => judge(response).await,
                Err(error) => Sent::Later(plain(&error), None),
            }
        }
    }

    /// Counts and tells what came of a request.
    pub fn note(&mut self, sent: &Sent) {
        let why = match sent {
            Sent::Taken => None,
            Sent::InPart(count, why) => Some(format!("it refused {count} of them: {why}")),
            Sent::Later(why, _) | Sent::Refused(why) => Some(why.clone()),
        };
        let (signal, shown) = (self.signal, &self.shown);
        match (&why, self.is_failing) {
            (Some(why), false) => tracing::warn!("{signal} cannot be sent to {shown}: {why}; told again when they can"),
            (None, true) => tracing::info!("{signal} are sent to {shown} again"),
            (Some(_), true) | (None, false) => {}
        }
        if why.is_some() {
            self.engine.meters().count(Meter::OtlpFailures);
        }
        self.is_failing = why.is_some();
    }
}

async fn judge(mut response: Response) -> Sent {
    let status = response.status();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Sent::Later(format!("it answers {status}"), wait),
        status if !status.is_success() => Sent::Refused(format!("it answers {status}")),
        _ => {
            let mut body = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > ANSWER_BYTES_MAX {
                    return Sent::Taken;
                }
            }
            partly(&body)
        }
    }
}

/// The answers for traces and metrics have the same fields. One that is none is taken for a plain yes.
fn partly(body: &[u8]) -> Sent {
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    match answer.partial_success {
        Some(partial) if partial.rejected_spans > 0 => Sent::InPart(partial.rejected_spans, partial.error_message),
        _ => Sent::Taken,
    }
}

/// What went wrong, without the address: it may hold a password.
fn plain(error: &reqwest::Error) -> String {
    match () {
        () if error.is_timeout() => "it does not answer in time".to_owned(),
        () if error.is_connect() => "no connection".to_owned(),
        () => "the request failed".to_owned(),
    }
}
