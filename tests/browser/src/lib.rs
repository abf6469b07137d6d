//! A browser to test the page of the window with: chromedriver and Chromium, and what tests do with them.

#![expect(clippy::unwrap_used, reason = "for tests alone")]

use fantoccini::{
    Client, ClientBuilder, Locator,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use url::{ParseError, Url};

/// How long a state is waited for that has to come.
const LIMIT: Duration = Duration::from_secs(120);

/// A browser with one page, closed at the end of the test.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Driver,
}

/// The process of chromedriver, which ends with its browsers.
#[derive(Debug)]
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Chromium(&'static str, Value);

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": self.1 });
        (Method::POST, Some(body.to_string()))
    }
}

impl Browser {
    /// Starts one, and opens this address in it.
    pub async fn open(address: &str) -> Self {
        let (driver, port) = start_driver();
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1180,760"] });
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        client.goto(address).await.unwrap();
        Self { client, driver }
    }

    /// The page in the dark scheme, or in the light one.
    pub async fn set_dark(&self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", features).await;
    }

    /// The page as wide as this.
    pub async fn set_size(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    async fn chromium(&self, command: &'static str, params: Value) {
        self.client
            .issue_cmd(Chromium(command, params))
            .await
            .unwrap();
    }

    /// Clicks on what this CSS selector finds, once it is there.
    pub async fn click(&self, css: &str) {
        let wait = self.client.wait().at_most(LIMIT);
        let found = wait.for_element(Locator::Css(css)).await;
        found
            .unwrap_or_else(|_| panic!("there is no {css}"))
            .click()
            .await
            .unwrap();
    }

    /// Clicks on the element of this kind that has this text, once it is there.
    pub async fn click_text(&self, css: &str, text: &str) {
        let script = "const [css, text] = arguments; const found = [...document.querySelectorAll(css)].find((it) => \
                      it.textContent.includes(text) && it.checkVisibility()); found?.click(); return Boolean(found);";
        self.until(script, &[css.into(), text.into()]).await;
    }

    /// Waits until what this selector finds has this text in it.
    pub async fn sees(&self, css: &str, text: &str) {
        let script = "const [css, text] = arguments; return [...document.querySelectorAll(css)].some((it) => \
                      it.checkVisibility() && it.innerText.includes(text));";
        self.until(script, &[css.into(), text.into()]).await;
    }

    /// Waits until a script is true.
    pub async fn until(&self, script: &str, arguments: &[Value]) {
        let waited = tokio::time::timeout(LIMIT, async {
            while self.run(script, arguments).await != Value::Bool(true) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if waited.await.is_err() {
            let page = self.run("return document.body.innerText", &[]).await;
            panic!("never true: {script} {arguments:?}\n{page}");
        }
    }

    /// What a script returns.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        match self.client.execute(script, arguments.to_vec()).await {
            Ok(value) => value,
            // The page was just loaded anew.
            Err(error) if error.is_stale_element_reference() => Value::Null,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// Types into what this selector finds.
    pub async fn keys(&self, css: &str, keys: &str) {
        let found = self.client.find(Locator::Css(css)).await.unwrap();
        found.send_keys(keys).await.unwrap();
    }

    /// Types to what has the focus.
    pub async fn keys_to_focus(&self, keys: &str) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    /// Writes a picture of the page: into the folder `HEADCOUNT_SCREENSHOTS`, or among what is built.
    pub async fn screenshot(&self, name: &str) {
        let folder = std::env::var_os("HEADCOUNT_SCREENSHOTS");
        let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        let folder = folder.map_or_else(built, PathBuf::from);
        std::fs::create_dir_all(&folder).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        assert!(picture.len() > 5_000, "{name} is empty");
        std::fs::write(folder.join(format!("window-{name}.png")), picture).unwrap();
    }

    /// Closes it. Fails if the page has said that something is wrong.
    pub async fn close(self) {
        let errors = self.run("return window.headcountErrors ?? []", &[]).await;
        assert_eq!(errors, json!([]));
        self.client.close().await.unwrap();
        drop(self.driver);
    }
}

/// On a port that the system chose, which chromedriver prints.
fn start_driver() -> (Driver, u16) {
    let mut child = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is missing: apt-get install chromium chromium-driver");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let driver = Driver(child);
    for line in stdout.lines() {
        let line = line.unwrap();
        let port = line
            .rsplit_once("successfully on port ")
            .map(|(_, port)| port.trim_end_matches('.'));
        if let Some(port) = port.and_then(|port| port.parse().ok()) {
            return (driver, port);
        }
    }
    panic!("chromedriver did not say on which port it listens");
}
