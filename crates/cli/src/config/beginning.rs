//! A first configuration, written for this machine, from which one learns: every setting with what it is without a
//! word, and the kinds of things that are declared. `# ` begins a comment, `#` alone a line that can be taken in.

use std::path::PathBuf;

use serde_json::json;

use super::settings::{Setting, of_section, sections};
use crate::commands::doctor::programs;
use crate::environment;

/// What is found out about the machine.
#[derive(Debug)]
pub struct Beginning {
    /// Agent CLIs by the names of their adapters, the best first.
    programs: Vec<(&'static str, PathBuf)>,
    time_zone: String,
}

/// Of the agent that a new configuration declares.
const AGENT: &str = "first";

const HEAD: &str = "\
# The configuration of Wakeful on this machine.
# `wakeful check` says every mistake in it, `wakeful config show` what each setting is and who says so,
# `wakeful daemon reload` has a running server read it again. A line that begins with `#` and no space is an example:
# take the `#` away and it holds. The first part is the server itself: what is written is what holds without a word.
# Each setting is an option of `wakeful up` and a variable, too; an option goes before a variable, a variable before
# this file.
";

const DECLARED: &str = "
# The second part is what is to be there. `wakeful up` makes it once it is up, `wakeful apply` at any time; what you
# change by hand stays as you changed it. See docs/concepts/configuration.md.
";

impl Beginning {
    /// Looks around on this machine.
    pub fn here() -> Beginning {
        let time_zone = environment::time_zone().unwrap_or_else(|| "UTC".into());
        Beginning { programs: programs::found(), time_zone }
    }

    /// The name of the agent that it declares.
    pub fn agent(&self) -> &'static str {
        AGENT
    }

    pub fn text(&self) -> String {
        let server = sections().into_iter().map(|section| {
            let settings = of_section(section).map(described).collect::<String>();
            format!("\n[{section}]\n{settings}")
        });
        format!("{HEAD}{}{DECLARED}{}", server.collect::<String>(), self.declared())
    }

    fn declared(&self) -> String {
        let zone = &self.time_zone;
        let (found, adapter) = match self.programs.first() {
            Some((adapter, path)) => (format!("{} is here", path.display()), format!("{{ type = \"{adapter}\" }}")),
            None => {
                let command = r#"["sh", "-c", "echo woken because: $WAKEFUL_REASON"]"#;
                let found = "no agent CLI was found on the PATH, so this one is a mere command";
                (found.to_owned(), format!("{{ type = \"process\", command = {command} }}"))
            }
        };
        let others = self
            .programs
            .iter()
            .skip(1)
            .map(|(adapter, path)| format!("# `{adapter}` is here too: {}\n", path.display()));
        format!(
            r#"
# An agent is who is woken: {found}.
{}[[agents]]
name = "{AGENT}"
adapter = {adapter}
# Its own clock, off unless it is said. Each wake of a model costs.
#heartbeat = {{ enabled = true, every = "30m" }}

# What wakes agents by the clock.
#[[schedules]]
#name = "standup"
#trigger = {{ cron = "0 9 * * MON-FRI", time_zone = "{zone}" }}
#target = {{ wake = {{ agent = "{AGENT}", reason = "Look at the open tasks" }} }}

# Where people are told what they have to know; `wakeful secret set slack-ops` keeps the URL.
#[[channels]]
#name = "ops"
#target = {{ slack = {{ url = {{ secret = "slack-ops" }} }} }}
#filter = {{ min_level = "warning" }}
"#,
            others.collect::<String>()
        )
    }
}

fn described(setting: &'static Setting) -> String {
    let Setting { key, says, unset, option, kind, .. } = setting;
    let value = unset.value();
    let (value, without) = match value.is_null() {
        true => (json!(kind.example()), format!(" Without it: {unset}.")),
        false => (value, String::new()),
    };
    format!("# {says}.{without} (--{option}, {})\n#{key} = {value}\n", setting.variable())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::declared::read;

    /// Takes every example in.
    fn taken_in(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_written_holds_as_it_is_and_with_every_example_taken_in() {
        let claude = vec![("claude", PathBuf::from("/bin/claude")), ("codex", PathBuf::from("/bin/codex"))];
        for programs in [vec![], claude] {
            let beginning = Beginning { programs, time_zone: "Europe/Paris".into() };
            let text = beginning.text();
            let configuration = read(Path::new("w.toml"), &text).unwrap();
            assert_eq!((configuration.declared.len(), configuration.settings.len()), (1, 0), "{text}");
            let whole = read(Path::new("w.toml"), &taken_in(&text)).unwrap();
            assert_eq!(whole.declared.len(), 3, "{text}");
            assert_eq!(whole.settings.len(), sections().into_iter().flat_map(of_section).count());
            assert!(text.contains("Europe/Paris") && text.contains("WAKEFUL_LISTEN"), "{text}");
        }
    }
}
