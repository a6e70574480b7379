//! A real Chromium, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>): as much of it as these tests use.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// Long enough for a browser on a busy machine, and never waited for when all is well.
const LIMIT: Duration = Duration::from_secs(60);

/// Why the browser can't be had; nothing if it can.
pub fn missing() -> Option<&'static str> {
    let there =
        |program| Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    (!there("chromium") || !there("chromedriver")).then_some("chromium and chromium-driver are not installed")
}

/// One window, its own profile, and the driver that goes with it.
pub struct Browser {
    port: u16,
    session: String,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The window goes with the driver otherwise.
            let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        self.driver.kill().unwrap();
        self.driver.wait().unwrap();
    }
}

impl Browser {
    /// A window of this size, for somebody who likes it dark or not.
    pub fn open(width: u32, height: u32, dark: bool) -> Self {
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        // "ChromeDriver was started successfully on port 12345."
        let port = lines.map(Result::unwrap).find_map(|line| {
            let (_, rest) = line.split_once("successfully on port ")?;
            rest.trim_end_matches('.').parse().ok()
        });
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { port: port.expect("a port"), session: String::new(), driver, _profile: profile };
        let args = [
            "--headless=new".into(),
            // As root, in a container, there is neither a sandbox nor much shared memory.
            "--no-sandbox".into(),
            "--disable-dev-shm-usage".into(),
            "--disable-gpu".into(),
            "--hide-scrollbars".into(),
            format!("--user-data-dir={}", browser._profile.path().display()),
            format!("--window-size={width},{height}"),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.say("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session").into();
        let scheme = json!([{ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } }]);
        browser.devtools("Emulation.setEmulatedMedia", &json!({ "features": scheme }));
        // A window has a least width that a phone is narrower than.
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        browser.devtools("Emulation.setDeviceMetricsOverride", &size);
        browser
    }

    pub fn go(&self, address: &str) {
        self.in_session("POST", "/url", &json!({ "url": address }));
    }

    /// What a script says of the page.
    pub fn look(&self, script: &str) -> Value {
        self.in_session("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Looks until something is so.
    pub fn until(&self, what: &str, script: &str) {
        let start = Instant::now();
        while self.look(script) != Value::Bool(true) {
            assert!(
                start.elapsed() < LIMIT,
                "not within {LIMIT:?}: {what}\n{}",
                self.look("return document.body.innerText")
            );
        }
    }

    /// Presses a key, as the person at the keyboard would.
    pub fn press(&self, key: &str) {
        let down_and_up = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        self.in_session(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": down_and_up }] }),
        );
    }

    /// What the page complained of since it was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.in_session("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }

    /// A picture of the page, as PNG; from top to bottom, or of what is in the window.
    pub fn picture(&self, whole: bool) -> Vec<u8> {
        let picture =
            self.devtools("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": whole }));
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.in_session("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn in_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.say(method, &format!("/session/{}{path}", self.session), body)
    }

    fn say(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = exchange(self.port, method, path, body);
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }
}

fn exchange(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer).unwrap();
    serde_json::from_slice(&answer).unwrap()
}
