//! A real Chromium without a screen, spoken to over its debugging pipe: messages of the `DevTools`
//! protocol, each ended by a zero byte, on its descriptors 3 and 4.
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::lab::Host;

/// For anything a page should do.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one page; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    last_id: u64,
}

impl Browser {
    /// Starts it inside `host`, with its profile in `folder`.
    pub fn start(host: &Host, folder: &Path) -> Result<Self> {
        let (its_in, to) = pipe()?;
        let (from, its_out) = pipe()?;
        let mut command = host.command("chromium");
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg("about:blank")
            .stderr(std::process::Stdio::null());
        let fds = [its_in.as_raw_fd(), its_out.as_raw_fd()];
        // SAFETY: dup2 and fcntl are async-signal-safe; the descriptors are open until after spawn.
        // They are moved out of the way of 3 and 4 first.
        unsafe {
            command.pre_exec(move || {
                let aside = fds.map(|fd| libc::fcntl(fd, libc::F_DUPFD, 10));
                for (fd, wanted) in aside.iter().zip([3, 4]) {
                    if *fd < 0 || libc::dup2(*fd, wanted) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let child = command.spawn().context("chromium")?;
        drop((its_in, its_out));
        let mut browser = Self {
            child,
            to: to.into(),
            from: BufReader::new(from.into()),
            session: None,
            last_id: 0,
        };
        let made = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({"targetId": made["targetId"], "flatten": true}),
        )?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// One command of the protocol, and its answer.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes)?;
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer)?;
            if answer.pop() != Some(0) {
                bail!("chromium has ended, at {method}");
            }
            let answer: Value = serde_json::from_slice(&answer)?;
            // Events have no id.
            if answer["id"] != self.last_id {
                continue;
            }
            if !answer["error"].is_null() {
                bail!("{method}: {}", answer["error"]);
            }
            return Ok(answer["result"].clone());
        }
    }

    /// Goes to a page, and waits until it has loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let gone = self.call("Page.navigate", &json!({"url": url}))?;
        if let Some(error) = gone["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        self.wait("document.readyState === 'complete'")
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &parameters)?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) -> Result<()> {
        let begun = Instant::now();
        while self.evaluate(expression)? != true {
            if begun.elapsed() > PATIENCE {
                bail!("never so: {expression}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Presses a key and lets it go: `Tab`, `Enter`, `j`, ` `.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            one => (i32::from(one.to_ascii_uppercase().as_bytes()[0]), one),
        };
        let mut event = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" },
            "key": key,
            "windowsVirtualKeyCode": code,
        });
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", &event)?;
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", &up)?;
        Ok(())
    }

    /// Makes the page as wide as a phone or a desk.
    pub fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers too: they are a process group of their own.
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: kill takes plain numbers; the child was not waited for, so the group is ours.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.wait();
    }
}

/// The end to read from, and the end to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((reader.into(), writer.into()))
}
