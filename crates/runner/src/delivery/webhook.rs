//! A receiver over HTTP: the CloudEvent, signed as Standard Webhooks says. The id is that of the notification, so that a
//! receiver that gets it twice can tell.

use std::time::Duration;

use wakeful_domain::channel::{HTTP_TIMEOUT, Webhook};
use wakeful_domain::delivery::Answer;

use super::{Means, Parcel, cloud_event};
use crate::http::{self, Call, CallError, call};

/// The media type of CloudEvents in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// Statuses of 4xx that another attempt may mend.
const TEMPORARY: &[u16] = &[408, 425, 429];

pub(super) async fn send(means: &Means<'_>, parcel: &Parcel<'_>, target: &Webhook) -> Answer {
    let own = target.headers.iter().map(|(name, value)| (name.clone(), parcel.secrets.of(value).to_owned()));
    let headers: Vec<_> = [("content-type".to_owned(), CLOUD_EVENT.to_owned())].into_iter().chain(own).collect();
    let body = cloud_event(parcel.notification).to_string();
    post(means, parcel, parcel.secrets.of(&target.url), &headers, &body).await
}

/// Posts a body and judges the answer.
pub(super) async fn post(
    means: &Means<'_>,
    parcel: &Parcel<'_>,
    url: &str,
    headers: &[(String, String)],
    body: &str,
) -> Answer {
    let request = Call {
        url,
        method: "POST",
        headers,
        body: body.as_bytes(),
        id: &parcel.notification.id.to_string(),
        at: parcel.at,
        key: parcel.key,
        timeout: HTTP_TIMEOUT,
    };
    match call(means.guard, &request).await {
        Ok(answer) => judge(&answer),
        Err(error) => failed(&error),
    }
}

fn judge(answer: &http::Answer) -> Answer {
    let told = format!("status {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    match answer.status {
        200..=299 => Answer::Accepted(format!("status {}", answer.status)),
        status if status >= 500 || TEMPORARY.contains(&status) => {
            Answer::Deferred { detail: told, retry_after: answer.retry_after_s.map(Duration::from_secs) }
        }
        _ => Answer::Refused(told),
    }
}

/// In words of its own: those of the error name the URL, which may be a secret.
fn failed(error: &CallError) -> Answer {
    match error {
        CallError::TimedOut { after, .. } => {
            Answer::deferred(format!("the receiver did not answer within {} s", after.as_secs()))
        }
        CallError::Unreachable { why, .. } => Answer::deferred(format!("the receiver could not be reached: {why}")),
        CallError::BadUrl { why, .. } => Answer::Refused(format!("the URL cannot be called: {why}")),
        CallError::AddressRefused { address, what, .. } => Answer::Refused(format!(
            "the receiver is at {address}, which is {what}: let it in with `wakeful up --http-allow {address}`"
        )),
        CallError::Redirected { .. } => {
            Answer::Refused("the receiver redirects to where nothing is sent: name the final URL in the channel".into())
        }
        CallError::BadHeader { name } => Answer::Refused(format!("the value of the header {name} cannot be sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_may_mend_is_tried_again() {
        let check = |status: u16, expected: &str| {
            let answer = http::Answer { status, retry_after_s: Some(7), body: b"no\nway".to_vec(), is_cut: false };
            let found = match judge(&answer) {
                Answer::Accepted(_) => "accepted",
                Answer::Deferred { retry_after, .. } => {
                    assert_eq!(retry_after, Some(Duration::from_secs(7)));
                    "deferred"
                }
                Answer::Refused(_) => "refused",
            };
            assert_eq!(found, expected, "{status}");
        };
        for status in [200, 201, 202, 204] {
            check(status, "accepted");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            check(status, "deferred");
        }
        for status in [300, 304, 400, 401, 403, 404, 410, 413, 422] {
            check(status, "refused");
        }
    }

    #[test]
    fn no_failure_tells_the_url() {
        let url = || "https://hooks.example/T1/B2/hunter2".to_owned();
        for error in [
            CallError::TimedOut { url: url(), after: HTTP_TIMEOUT },
            CallError::Unreachable { url: url(), why: "connection refused".into() },
            CallError::BadUrl { url: url(), why: "it names no host".into() },
            CallError::AddressRefused { url: url(), address: [127, 0, 0, 1].into(), what: "this host" },
            CallError::Redirected { url: url(), location: url(), why: "it leaves https" },
        ] {
            assert!(!failed(&error).detail().contains("hunter2"), "{error}");
        }
    }
}
