//! The settings of channels and their filter, case by case.

use serde_json::json;

use super::*;
use crate::id::IdSource;

fn channel(target: Value) -> Result<Channel, String> {
    let mut ids = IdSource::new(1);
    let at = Timestamp::from_millis(1);
    Ok(Channel {
        id: ids.next(at),
        company: ids.next(at),
        name: "ops".into(),
        target: serde_json::from_value(target).map_err(|error| error.to_string())?,
        filter: Filter::default(),
        state: State::Enabled,
        state_reason: None,
        paced_until: at,
        created_at: at,
        updated_at: at,
    })
}

#[track_caller]
fn check(target: Value, expected: &str) {
    let told = match channel(target.clone()) {
        Ok(channel) => channel.problem().map(|(field, message)| format!("{field}: {message}")).unwrap_or_default(),
        Err(error) => error,
    };
    assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{target}: {told}");
}

#[test]
fn every_field_of_a_target_is_checked() {
    let secret = json!({ "secret": "key" });
    check(json!({ "webhook": { "url": "https://a.example", "headers": { "x-team": "blue", "x-key": secret } } }), "");
    check(json!({ "webhook": { "url": secret } }), "");
    check(json!({ "webhook": {} }), "missing field `url`");
    check(json!({ "webhook": { "url": 3 } }), "must be a text or {\"secret\": NAME}");
    check(json!({ "webhook": { "url": "x", "headers": { "a b": "c" } } }), "target.webhook.headers.a b: is no name");
    check(
        json!({ "webhook": { "url": "x", "headers": { "x": "a\nb" } } }),
        "target.webhook.headers.x: holds a control",
    );
    let own = json!({ "webhook": { "url": "x", "headers": { "Webhook-Id": "1" } } });
    check(own, "target.webhook.headers.Webhook-Id: is set by the signature");
    check(json!({ "slack": { "url": secret } }), "");
    check(json!({ "slack": { "url": "https://hooks.example/T/B/x" } }), "must be {\"secret\": NAME}");
    check(json!({ "slack": { "url": { "secret": "key", "file": true } } }), "`file` is for the variables");
    check(json!({ "command": { "command": ["notify", "--now"], "timeout": "2m" } }), "");
    check(json!({ "command": { "command": [] } }), "target.command.command: must name a program");
    check(json!({ "command": { "command": ["x"], "timeout": "1h" } }), "target.command.timeout: must be a duration");
    check(json!({ "pigeon": {} }), "unknown variant `pigeon`");
}

#[test]
fn a_mailbox_and_its_server_are_checked() {
    let email = |change: fn(&mut Value)| {
        let mut email = json!({ "to": ["ann@a.example"], "from": "w@a.example", "smtp": { "host": "mail.a.example" } });
        change(&mut email);
        json!({ "email": email })
    };
    check(email(|_| ()), "");
    check(email(|email| email["to"] = json!([])), "target.email.to: must have 1 to 50");
    for bad in ["ann", "@a.example", "ann@", "Ann <ann@a.example>", "a@b@c", "a b@c", "a@b\r\nBcc: c@d"] {
        let mut target = email(|_| ());
        target["email"]["to"] = json!(["ann@a.example", bad]);
        check(target, "target.email.to[1]: must be an address");
    }
    check(email(|email| email["smtp"]["host"] = json!("a b")), "target.email.smtp.host");
    check(email(|email| email["smtp"]["port"] = json!(0)), "target.email.smtp.port");
    check(email(|email| email["smtp"]["username"] = json!("w")), "target.email.smtp.password: is required");
    check(
        email(|email| email["smtp"]["password"] = json!({ "secret": "p" })),
        "target.email.smtp.username: is required",
    );
    check(email(|email| email["smtp"]["password"] = json!("hunter2")), "must be {\"secret\": NAME}");
    let ports = [(Tls::None, 25), (Tls::Starttls, 587), (Tls::Tls, 465)];
    for (tls, port) in ports {
        assert_eq!(Smtp { host: "h".into(), port: None, tls, username: None, password: None }.port(), port);
    }
}

#[test]
fn names_and_filters_have_limits() {
    let with = |change: fn(&mut Channel)| {
        let mut channel = channel(json!({ "slack": { "url": { "secret": "key" } } })).unwrap();
        change(&mut channel);
        channel.problem().map(|(field, _)| field)
    };
    assert_eq!(with(|_| ()), None);
    for name in ["", " ops", "a\nb", "chn_1", &"x".repeat(101)] {
        let mut channel = channel(json!({ "slack": { "url": { "secret": "key" } } })).unwrap();
        name.clone_into(&mut channel.name);
        assert_eq!(channel.problem().unwrap().0, "name", "{name}");
    }
    assert_eq!(with(|channel| channel.filter.kinds = Some(vec![])).as_deref(), Some("filter.kinds"));
}

#[test]
fn a_filter_lets_through_what_every_part_of_it_does() {
    let mut ids = IdSource::new(2);
    let at = Timestamp::from_millis(1);
    let (agent, other): (AgentId, AgentId) = (ids.next(at), ids.next(at));
    let notice = Notice {
        company: ids.next(at),
        kind: NotificationKind::Action,
        level: Level::Warning,
        cause: None,
        title: "t".into(),
        text: "t".into(),
        metadata: Value::Null,
        agent: Some(agent),
        run: None,
        schedule: None,
    };
    let check = |filter: Value, expected: bool| {
        let read: Filter = serde_json::from_value(filter.clone()).unwrap();
        assert_eq!(read.lets_through(&notice), expected, "{filter}");
    };
    check(json!({}), true);
    check(json!({ "kinds": ["action", "heartbeat"] }), true);
    check(json!({ "kinds": ["escalation"] }), false);
    check(json!({ "min_level": "info" }), true);
    check(json!({ "min_level": "warning" }), true);
    check(json!({ "min_level": "critical" }), false);
    check(json!({ "agents": [agent] }), true);
    check(json!({ "agents": [other] }), false);
    check(json!({ "agents": [agent], "kinds": ["escalation"] }), false);
    // What is about no schedule is about none of these.
    let schedule: ScheduleId = ids.next(at);
    check(json!({ "schedules": [schedule] }), false);
}

#[test]
fn a_target_says_which_secrets_it_needs_and_is_written_as_it_is_read() {
    let read = |target: &Value| serde_json::from_value::<Target>(target.clone()).unwrap();
    let check = |target: Value, expected: &[(&str, &str)]| {
        let needed = read(&target);
        let needed: Vec<_> =
            needed.secrets().into_iter().map(|(field, secret)| (field, secret.secret.clone())).collect();
        let expected: Vec<_> = expected.iter().map(|(field, name)| ((*field).to_owned(), (*name).to_owned())).collect();
        assert_eq!(needed, expected);
        assert_eq!(serde_json::to_value(read(&target)).unwrap(), target);
    };
    check(
        json!({ "webhook": { "url": { "secret": "u" }, "headers": { "a": { "secret": "h" }, "b": "plain" } } }),
        &[("target.webhook.url", "u"), ("target.webhook.headers.a", "h")],
    );
    check(json!({ "slack": { "url": { "secret": "s" } } }), &[("target.slack.url", "s")]);
    check(json!({ "command": { "command": ["x"] } }), &[]);
    let smtp = json!({ "host": "h", "tls": "none", "username": "w", "password": { "secret": "p" } });
    check(json!({ "email": { "to": ["a@b"], "from": "c@d", "smtp": smtp } }), &[("target.email.smtp.password", "p")]);
}
