//! A headless Chromium or Firefox of the test's own, driven over WebDriver by a chromedriver or geckodriver of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::bidi::BiDi;
use super::plain_http::exchange;
use super::ports::Port;
use super::process::Process;
use super::wait::{PATIENCE, until, until_true};

/// A desk's screen, in CSS pixels.
pub const DESKTOP: (u32, u32) = (1440, 900);
/// A telephone's.
pub const PHONE: (u32, u32) = (390, 844);

/// Quiet, deterministic, with three cameras and microphones that need no permission. Ten pictures a second are enough to
/// see that they move, and leave the cores to what is tested.
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream=device-count=3,fps=10",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
];

/// The same for Firefox, as JSON values: a made-up camera and microphone that need no permission, English.
const PREFERENCES: [(&str, &str); 6] = [
    ("media.navigator.streams.fake", "true"),
    ("media.navigator.permission.disabled", "true"),
    ("media.autoplay.default", "0"),
    ("media.volume_scale", "\"0.0\""),
    ("intl.accept_languages", "\"en-US\""),
    ("network.captive-portal-service.enabled", "false"),
];

/// The browser's own features beyond the WebDriver standard.
enum Engine {
    /// The Chrome DevTools Protocol, by chromedriver's vendor commands.
    Chromium,
    /// WebDriver BiDi.
    Firefox(BiDi),
}

/// One browser with one window. A hidden tab is throttled to about a frame a second: one browser per participant.
pub struct Browser {
    pub page: Client,
    engine: Engine,
    session: String,
    driver: Port,
    // Before the profile: nothing writes there when the browser is gone.
    process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with the size of [`DESKTOP`]. Certificates that nobody signed are accepted.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with more flags.
    pub async fn with(flags: &[&str]) -> Self {
        let driver = Port::claim();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", driver.number())).arg("--log-level=WARNING");
        let (process, profile) = launch("chromedriver", command, &driver).await;
        let mut arguments: Vec<String> = FLAGS.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let capabilities = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let (page, session) = connect(&driver, capabilities).await;
        let browser = Self { page, engine: Engine::Chromium, session, driver, process, _profile: profile };
        browser.resize(DESKTOP).await;
        browser
    }

    /// Starts a Firefox with the size of [`DESKTOP`]. Certificates that nobody signed are accepted.
    pub async fn firefox() -> Self {
        let (driver, bidi) = (Port::claim(), Port::claim());
        let mut command = Command::new("geckodriver");
        command.arg(format!("--port={}", driver.number())).arg(format!("--websocket-port={}", bidi.number()));
        let (process, profile) = launch("geckodriver", command, &driver).await;
        let preferences: serde_json::Map<String, Value> = PREFERENCES
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.parse().expect("a JSON value")))
            .collect();
        let capabilities = json!({
            "browserName": "firefox",
            "acceptInsecureCerts": true,
            "webSocketUrl": true,
            "moz:firefoxOptions": { "binary": "firefox-esr", "args": ["-headless"], "prefs": preferences },
        });
        let (page, session) = connect(&driver, capabilities).await;
        let engine = Engine::Firefox(BiDi::connect(bidi, &session).await);
        let browser = Self { page, engine, session, driver, process, _profile: profile };
        browser.resize(DESKTOP).await;
        browser
    }

    pub async fn goto(&self, url: &str) {
        self.page.goto(url).await.unwrap_or_else(|e| panic!("cannot open {url}: {e}"));
    }

    /// Gives the page that viewport, exactly: a window has a least width, an emulated screen has none.
    pub async fn resize(&self, (width, height): (u32, u32)) {
        match &self.engine {
            Engine::Chromium => {
                let mobile = width < 500;
                let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
                self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
            }
            Engine::Firefox(bidi) => bidi.set_viewport(width, height).await,
        }
    }

    /// Runs that script before those of each page that is opened from then on.
    pub async fn run_before_pages(&self, script: &str) {
        match &self.engine {
            Engine::Chromium => {
                self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
            }
            Engine::Firefox(bidi) => bidi.add_preload_script(script).await,
        }
    }

    /// A command of the Chrome DevTools Protocol, of a Chromium.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        self.vendor("goog/cdp/execute", &json!({ "cmd": command, "params": params })).await
    }

    /// Waits for the element.
    pub async fn find(&self, css: &str) -> Element {
        let found = self.page.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|e| panic!("no element {css}: {e}"))
    }

    /// Waits until the element is there and shown, and clicks it.
    pub async fn click(&self, css: &str) {
        let clicked = until(PATIENCE, async || {
            let element = self.page.find(Locator::Css(css)).await.ok()?;
            element.click().await.ok()
        });
        assert!(clicked.await.is_some(), "no element to click: {css}");
    }

    /// Waits for the element, empties it and types that text into it.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap_or_else(|e| panic!("{css} cannot be emptied: {e}"));
        field.send_keys(text).await.unwrap_or_else(|e| panic!("{css} takes no text: {e}"));
    }

    /// The element's text as it is shown.
    pub async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap_or_else(|e| panic!("{css} has no text: {e}"))
    }

    /// Waits until the element shows a text that holds that one.
    pub async fn shows(&self, css: &str, text: &str) {
        until_true(&format!("{css} shows {text}"), async || {
            let Ok(element) = self.page.find(Locator::Css(css)).await else { return false };
            element.text().await.is_ok_and(|shown| shown.contains(text))
        })
        .await;
    }

    /// Runs the body of a JavaScript function and gives what it returns.
    pub async fn run(&self, body: &str) -> Value {
        self.page.execute(body, Vec::new()).await.unwrap_or_else(|e| panic!("{e} in {body}"))
    }

    /// Waits until that JavaScript expression is true.
    pub async fn holds(&self, expression: &str) {
        let body = format!("return Boolean({expression})");
        until_true(expression, async || self.run(&body).await == json!(true)).await;
    }

    /// Saves what is seen as `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let png = self.page.screenshot().await.expect("a browser can paint its page");
        // Cargo gives integration tests `target/tmp`.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target");
        let path = target.join("screenshots").join(format!("{name}.png"));
        std::fs::create_dir_all(path.parent().expect("it is in screenshots")).expect("target is writable");
        std::fs::write(&path, png).expect("target is writable");
        path
    }

    /// The console's errors since the last call: uncaught exceptions, violations of the content security policy, loads
    /// that failed.
    pub async fn console_errors(&self) -> Vec<String> {
        if let Engine::Firefox(bidi) = &self.engine {
            return bidi.take_errors();
        }
        let entries = self.vendor("se/log", &json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap_or_else(|| panic!("no list: {entries}")).clone();
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        errors.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Fails the test where the console got an error.
    pub async fn assert_quiet_console(&self) {
        let errors = self.console_errors().await;
        assert!(errors.is_empty(), "the console got errors: {errors:#?}");
    }

    /// A command that chromedriver has beyond the WebDriver standard: the `value` that it answers.
    async fn vendor(&self, command: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        let request = http::Request::post(&path).header("host", "localhost").header("content-type", "application/json");
        let request = request.body(body.to_string().into()).expect("the request is well-formed");
        let (_, answer) = exchange(self.driver.address(), request).await.expect("chromedriver answers");
        let answer: Value = serde_json::from_str(&answer).expect("chromedriver answers JSON");
        assert!(answer["value"].get("error").is_none(), "{command}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    /// Asked to end, a driver leaves its browser behind.
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// Starts a driver with a directory of its own: browsers write beside their profile too (crash reports, caches of
/// fonts).
async fn launch(name: &str, mut command: Command, port: &Port) -> (Process, TempDir) {
    let profile = tempfile::Builder::new().prefix("confgate-browser-").tempdir();
    let profile = profile.expect("the system's directory for temporary files is writable");
    command.env("HOME", profile.path()).env("TMPDIR", profile.path());
    let process = Process::start(name, &mut command);
    let address = port.address();
    until_true(&format!("{name} listens"), async || TcpStream::connect(address).await.is_ok()).await;
    (process, profile)
}

/// A session with those capabilities, and its id.
async fn connect(driver: &Port, capabilities: Value) -> (Client, String) {
    let Value::Object(capabilities) = capabilities else { unreachable!("it is written as an object") };
    let mut builder = ClientBuilder::new(HttpConnector::new());
    let page = builder.capabilities(capabilities).connect(&format!("http://{}", driver.address())).await;
    let page = page.unwrap_or_else(|e| panic!("the browser does not start: {e}"));
    let session = page.session_id().await.expect("the driver answers").expect("a session was made");
    (page, session)
}
