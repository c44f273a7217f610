//! Mail: a plain text, handed to a mail server over SMTP. Its Message-ID follows from notification and channel, so that
//! a mailbox that gets it twice can tell. Mail servers are called within the guard, as all else is.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as LettreTls, TlsParameters};
use lettre::transport::smtp::{Error, response::Response};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use wakeful_domain::channel::{Email, SMTP_TIMEOUT, Smtp, Tls};
use wakeful_domain::delivery::Answer;

use super::{Means, Parcel};
use crate::http::AddressError;

/// What one step of the conversation may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn send(means: &Means<'_>, parcel: &Parcel<'_>, target: &Email) -> Answer {
    let message = match message(parcel, target) {
        Ok(message) => message,
        Err(why) => return Answer::Refused(format!("the mail cannot be written: {why}")),
    };
    let smtp = &target.smtp;
    let addresses = match means.guard.addresses(&smtp.host, smtp.port()).await {
        Ok(addresses) => addresses,
        Err(error @ AddressError::Unknown { .. }) => return Answer::deferred(error.to_string()),
        Err(error @ AddressError::Refused { .. }) => return Answer::Refused(format!("the mail server: {error}")),
    };
    let password = smtp.password.as_ref().map(|reference| parcel.secrets.value(reference));
    let sending = through(smtp, password, &addresses, message);
    let too_long = || Answer::deferred(format!("the mail server took longer than {} s", SMTP_TIMEOUT.as_secs()));
    tokio::time::timeout(SMTP_TIMEOUT, sending).await.unwrap_or_else(|_| too_long())
}

fn message(parcel: &Parcel<'_>, target: &Email) -> Result<Message, String> {
    let notification = parcel.notification;
    let mailbox = |address: &String| address.parse().map_err(|error| format!("{address}: {error}"));
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(notification.at.as_millis()).unwrap_or(0));
    // What a line break in a header could smuggle in is not for a title to say.
    let subject = notification.notice.title.split(char::is_control).collect::<Vec<_>>().join(" ");
    let mut message = Message::builder()
        .from(mailbox(&target.from)?)
        .subject(subject)
        .date(at)
        .message_id(Some(format!("<{}.{}@wakeful>", notification.id, parcel.channel.id)))
        .header(ContentType::TEXT_PLAIN);
    for address in &target.to {
        message = message.to(mailbox(address)?);
    }
    message.body(text(parcel)).map_err(|error| error.to_string())
}

fn text(parcel: &Parcel<'_>) -> String {
    let notice = &parcel.notification.notice;
    let about = [
        ("run", notice.run.map(|id| id.to_string())),
        ("schedule", notice.schedule.map(|id| id.to_string())),
        ("agent", notice.agent.map(|id| id.to_string())),
    ];
    let about: String = about.into_iter().filter_map(|(name, id)| Some(format!("{name}: {}\n", id?))).collect();
    format!("{}\n\n-- \n{about}notification: {}\n", notice.text, parcel.notification.id)
}

/// Hands the mail to the first address that takes the connection.
async fn through(smtp: &Smtp, password: Option<&str>, addresses: &[SocketAddr], message: Message) -> Answer {
    let mut answer = Answer::deferred("the mail server has no address");
    for address in addresses {
        let sent = match transport(smtp, password, *address) {
            Ok(transport) => transport.send(message.clone()).await,
            Err(error) => Err(error),
        };
        answer = judge(sent.as_ref());
        let was_reached =
            sent.as_ref().is_ok_and(Response::is_positive) || sent.is_err_and(|error| error.is_response());
        if was_reached {
            return answer;
        }
    }
    answer
}

fn transport(
    smtp: &Smtp,
    password: Option<&str>,
    address: SocketAddr,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    // The address that was checked is called; its certificate must be that of the name.
    let name = || TlsParameters::new(smtp.host.clone());
    let tls = match smtp.tls {
        Tls::None => LettreTls::None,
        Tls::Starttls => LettreTls::Required(name()?),
        Tls::Tls => LettreTls::Wrapper(name()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(address.port())
        .tls(tls)
        .timeout(Some(STEP_TIMEOUT));
    if let (Some(username), Some(password)) = (&smtp.username, password) {
        builder = builder.credentials(Credentials::new(username.clone(), password.to_owned()));
    }
    Ok(builder.build())
}

fn judge(sent: Result<&Response, &Error>) -> Answer {
    let error = match sent {
        Ok(response) => {
            let words = response.message().collect::<Vec<_>>().join(" ");
            return Answer::Accepted(format!("{} {words}", response.code()));
        }
        Err(error) => error,
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let told = format!("the mail server: {error}{cause}");
    // What it refuses for good, and what this end cannot even ask.
    if error.is_permanent() || error.is_client() {
        return Answer::Refused(told);
    }
    Answer::deferred(told)
}
