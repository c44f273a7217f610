//! A program of this host: the CloudEvent on its standard input; exit code 0 says that it has it.

use wakeful_domain::channel::Command;
use wakeful_domain::delivery::Answer;

use super::{Means, Parcel, cloud_event};
use crate::ask::{AskError, Question, ask};

pub(super) async fn send(means: &Means<'_>, parcel: &Parcel<'_>, target: &Command) -> Answer {
    let question = Question {
        // An attempt that an earlier server began may still be swept up.
        id: &format!("{}-{}", parcel.delivery, parcel.attempt),
        command: &target.command,
        input: format!("{}\n", cloud_event(parcel.notification)),
        env: means.environment.to_vec(),
        below: means.asked,
        timeout: target.time_limit(),
    };
    match ask(means.shims, question).await {
        // What it prints is nobody's business, however long.
        Ok(_) | Err(AskError::TooLong) => Answer::Accepted("exit code 0".into()),
        Err(error @ AskError::NotStarted(_)) => Answer::Refused(format!("the command failed: {error}")),
        Err(
            error @ (AskError::TimedOut(_)
            | AskError::Failed { .. }
            | AskError::Unreadable(_)
            | AskError::Unwatched
            | AskError::Stuck(_)),
        ) => Answer::deferred(format!("the command failed: {error}")),
    }
}
