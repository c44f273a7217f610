//! A browser of one's own, signed in at a server of one's own. Dropping it leaves no process behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions, MouseActions, PointerAction};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{PATIENCE, Server, end_all_of};

/// Between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A browser at a server.
pub struct Console {
    pub driver: Client,
    pub server: Server,
    process: Child,
    profile: TempDir,
}

/// The browser asks nobody but the server: without these it looks for its maker's hosts.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1280,900",
];

impl Console {
    /// A browser that is signed in at a new server, as its administrator.
    pub async fn open() -> Console {
        let console = Console::closed(Server::start().await).await;
        console.sign_in().await;
        console
    }

    /// A browser that nobody has signed in with.
    pub async fn closed(server: Server) -> Console {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `cargo xtask test` installs it");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = told.expect("chromedriver says its port");
        let profile_argument = format!("--user-data-dir={}", profile.path().join("profile").display());
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([profile_argument.as_str()]).collect();
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let driver = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Console { driver, server, process, profile }
    }

    /// Signs in by a link, as `wakeful open` does.
    pub async fn sign_in(&self) {
        let (status, link) = self.server.post("/session/links", &json!({})).await;
        assert_eq!(status, 201, "{link}");
        self.driver.goto(&format!("{}{}", self.server.address(), link["path"].as_str().unwrap())).await.unwrap();
        self.until("h1", |text| text == "Inbox").await;
    }

    /// Opens a page of the default company.
    pub async fn goto(&self, page: &str) {
        self.driver.goto(&format!("{}/c/default/{page}", self.server.address())).await.unwrap();
    }

    /// The path and query of the page that is open.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", url.path())
    }

    /// Waits until the text of the first element that `css` names is as wanted, and gives it.
    pub async fn until(&self, css: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let script = "const found = document.querySelector(arguments[0]); return found ? found.innerText : null;";
        let found = self.until_script(script, vec![json!(css)], |value| value.as_str().is_some_and(&is_wanted)).await;
        found.as_str().unwrap().to_owned()
    }

    /// Waits until the page holds a text.
    pub async fn until_shown(&self, text: &str) {
        self.until("body", |shown| shown.contains(text)).await;
    }

    /// Waits until a script answers as wanted, and gives the answer.
    pub async fn until_script(&self, script: &str, arguments: Vec<Value>, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.driver.execute(script, arguments.clone()).await;
            match answer {
                Ok(value) if is_wanted(&value) => return value,
                last if began.elapsed() > PATIENCE => {
                    panic!("{script} {arguments:?}: not as wanted, at last {last:?}\n{}", self.text().await)
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// What a script answers now.
    pub async fn ask(&self, script: &str) -> Value {
        self.driver.execute(script, vec![]).await.unwrap()
    }

    /// All text of the page.
    pub async fn text(&self) -> String {
        self.ask("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the first element that `css` names, once it is there.
    pub async fn click(&self, css: &str) {
        self.until_script("return document.querySelector(arguments[0]) !== null", vec![json!(css)], |found| {
            found == true
        })
        .await;
        self.driver.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Fills a field in.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.driver.find(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses keys, one after another, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let mut actions = KeyActions::new("keyboard".into());
        for value in keys.chars() {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.driver.perform_actions(actions).await.unwrap();
    }

    /// Presses a key that is no letter.
    pub async fn key(&self, key: Key) {
        self.press(&char::from(key).to_string()).await;
    }

    /// Presses a key while Control is held down.
    pub async fn with_control(&self, value: char) {
        let control = char::from(Key::Control);
        let actions = KeyActions::new("keyboard".into())
            .then(KeyAction::Down { value: control })
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value })
            .then(KeyAction::Up { value: control });
        self.driver.perform_actions(actions).await.unwrap();
    }

    /// Puts the pointer on an element.
    pub async fn point_at(&self, css: &str) {
        let element = self.driver.find(Locator::Css(css)).await.unwrap();
        let to = PointerAction::MoveToElement { element, duration: None, x: 0.0, y: 0.0 };
        self.driver.perform_actions(MouseActions::new("mouse".into()).then(to)).await.unwrap();
    }

    /// Tells the browser's own tools to do something.
    pub async fn tell_browser(&self, command: &'static str, parameters: Value) {
        self.driver.issue_cmd(BrowserCommand { command, parameters }).await.unwrap();
    }

    /// Waits until the page is fed by its stream.
    pub async fn until_live(&self) {
        self.until_script("return document.querySelector('live-pill')?.dataset.state", vec![], |state| state == "live")
            .await;
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The browser has a group of its own: it is known by its environment.
        end_all_of(self.profile.path());
        self.process.wait().ok();
    }
}

/// A command of the browser's developer tools, through its driver.
#[derive(Debug)]
struct BrowserCommand {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for BrowserCommand {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(json!({ "cmd": self.command, "params": self.parameters }).to_string()))
    }
}
