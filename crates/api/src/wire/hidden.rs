//! What may hold keys is for those alone who may change it: variables, headers, arguments of commands, parameters of URLs.

use serde_json::Value;

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "***";

/// Hides the keys in the configuration of an adapter or an action.
pub fn hide_keys(config: &mut Value) {
    for field in ["env", "headers"] {
        let values = config.get_mut(field).and_then(Value::as_object_mut);
        values.into_iter().flat_map(|values| values.values_mut()).for_each(|value| *value = HIDDEN.into());
    }
    if let Some(Value::String(url)) = config.get_mut("url") {
        *url = hidden_url(url);
    }
}

/// The same for what runs beside agents, whose command is no secret that its own run shows anyway.
pub fn hide_command(config: &mut Value) {
    hide_keys(config);
    let arguments = config.get_mut("command").and_then(Value::as_array_mut);
    arguments.into_iter().flat_map(|all| all.iter_mut().skip(1)).for_each(|argument| *argument = HIDDEN.into());
}

/// A URL without a password and without parameters.
pub fn hidden_url(url: &str) -> String {
    let (place, query) = match url.split_once('?') {
        Some((place, _)) => (place, format!("?{HIDDEN}")),
        None => (url, String::new()),
    };
    let place = match place.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let user = host.rfind('@').map_or(0, |end| end + 1);
            let hidden = if user > 0 { format!("{HIDDEN}@") } else { String::new() };
            format!("{scheme}://{hidden}{}", &rest[user..])
        }
        None => place.to_owned(),
    };
    place + &query
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_hold_keys_is_hidden() {
        let mut config = json!({
            "command": ["curl", "-H", "x: key"], "env": { "KEY": "key" }, "url": "https://me:key@example.org/a?b=key",
            "headers": { "authorization": "Bearer key", "x": { "secret": "key" } }, "timeout": "5s",
        });
        hide_command(&mut config);
        let hidden = json!({
            "command": ["curl", "***", "***"], "env": { "KEY": "***" }, "url": "https://***@example.org/a?***",
            "headers": { "authorization": "***", "x": "***" }, "timeout": "5s",
        });
        assert_eq!(config, hidden);
        for plain in ["https://example.org/@a", "http://127.0.0.1:7/hook", "no url"] {
            assert_eq!(hidden_url(plain), plain);
        }
    }
}
