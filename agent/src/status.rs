//! `dunlin status` and `dunlin logs`: this board, asked at its own door.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    config::{self, Config},
    door::{Place, Token},
};

/// Say what this board does, by its door; fails if it is not well
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    at: At,
    /// Print what the door answers to /v1/board and /v1/apps, as JSON
    #[arg(long)]
    json: bool,
}

/// Print the last lines of an app, by this board's door
#[derive(clap::Args, Debug)]
pub struct LogsArgs {
    /// The app
    app: String,
    /// Go on with what it prints from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args, Debug)]
struct At {
    /// The configuration file, which says where the door is
    #[arg(short, long, value_name = "FILE", default_value = config::PATH)]
    config: PathBuf,
    /// The door: HOST:PORT or unix:PATH, whatever the configuration says
    #[arg(long, value_name = "PLACE")]
    door: Option<Place>,
}

/// Where systemd's unit opens it.
const USUAL: &str = "/run/dunlin/door.sock";

/// How long a door may take to answer, and how often it is asked again for what is new.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(500);

/// Prints how this board is. Its exit code says whether it is well.
pub fn status(args: &StatusArgs) -> Result<u8> {
    let door = Door::find(&args.at)?;
    let (board, apps) = (door.json("/v1/board")?, door.json("/v1/apps")?);
    let well = board["problems"].as_array().is_some_and(Vec::is_empty);
    let text = match args.json {
        true => format!("{:#}\n", serde_json::json!({ "board": board, "apps": apps["apps"] })),
        false => table(&board, &apps["apps"]),
    };
    say(&text)?;
    Ok(u8::from(!well))
}

/// Prints the last lines of an app, and those that come if they are wanted.
pub fn logs(args: &LogsArgs) -> Result<u8> {
    let door = Door::find(&args.at)?;
    let mut last = 0;
    loop {
        let log = door.json(&format!("/v1/apps/{}/log?after={last}", args.app))?;
        let lines = log["lines"].as_array().map_or(&[][..], Vec::as_slice);
        let text: String = lines.iter().map(|line| harmless(text(&line["text"])) + "\n").collect();
        if !say(&text)? {
            return Ok(0);
        }
        last = lines.last().and_then(|line| line["number"].as_u64()).unwrap_or(last);
        if !args.follow {
            return Ok(0);
        }
        std::thread::sleep(AGAIN);
    }
}

/// Whether somebody still reads it.
fn say(text: &str) -> Result<bool> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot print it"),
    }
}

/// A door that can be asked.
struct Door {
    place: Place,
    token: Option<Token>,
}

impl Door {
    fn find(at: &At) -> Result<Self> {
        // Who may not read it may still be let in at the usual place.
        let config = Config::load(&at.config);
        let settings = config.as_ref().ok().and_then(|config| config.door.as_ref());
        let token = settings.and_then(|door| door.token.clone());
        let plain = |place: &&Place| match place {
            Place::Unix { .. } => true,
            Place::Tcp(_) => settings.is_some_and(|door| door.certificate.is_none()),
        };
        let known = settings.map(|door| door.places.iter().find(plain).cloned());
        let place = match (&at.door, known) {
            (Some(place), _) => place.clone(),
            (None, Some(Some(place))) => place,
            (None, Some(None)) => bail!("the door speaks TLS only: let it `listen` at unix:{USUAL} as well"),
            (None, None) => Place::Unix { path: USUAL.into(), mode: 0 },
        };
        Ok(Self { place, token })
    }

    fn json(&self, path: &str) -> Result<Value> {
        let place = &self.place;
        let answer = self
            .ask(path)
            .with_context(|| format!("no answer from the door at {place}: does the agent run, and may you ask it?"))?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("what is at {place} is no door"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        let value: Value =
            serde_json::from_str(body).with_context(|| format!("what is at {place} is no door: {status}"))?;
        ensure!(status == "200", "{}", text(&value["error"]));
        Ok(value)
    }

    fn ask(&self, path: &str) -> io::Result<String> {
        match &self.place {
            Place::Unix { path: socket, .. } => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.exchange(stream, path)
            }
            Place::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.exchange(stream, path)
            }
        }
    }

    /// The door's answers are whole, so that their end is the connection's.
    fn exchange(&self, mut stream: impl Read + Write, path: &str) -> io::Result<String> {
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.as_str()));
        let token = token.unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn table(board: &Value, apps: &Value) -> String {
    let now = board["at"].as_u64().unwrap_or_default();
    let since = |value: &Value| span(now.saturating_sub(value.as_u64().unwrap_or(now)));
    let mut out = String::new();
    let mut line = |name: &str, what: String| {
        // Writing into a string can't fail.
        let _ = writeln!(out, "{name:<9}{}", harmless(&what));
    };
    line(
        "board",
        format!(
            "{} of the fleet {}, up for {}",
            text(&board["device"]),
            text(&board["fleet"]),
            span(board["uptime_s"].as_u64().unwrap_or_default())
        ),
    );
    let link = &board["link"];
    let (up, why) = (link["up"] == true, link["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default());
    line("broker", format!("{} for {}{why}", if up { "connected" } else { "not connected" }, since(&link["since"])));
    let trust = &board["trust"];
    let stale = if trust["stale"] == true { ", and past its time" } else { "" };
    let plan = trust["plan"]["sequence"].as_u64().map_or("none yet".into(), |sequence| format!("{sequence}{stale}"));
    line("plan", format!("{plan}, under root {}", trust["root"]));
    for problem in
        board["problems"].as_array().into_iter().flatten().chain(board["broker"].as_array().into_iter().flatten())
    {
        line("problem", text(problem).into());
    }
    if let Some(refused) = board["refused"].as_object() {
        line(
            "refused",
            format!("{} [{}], {} ago", text(&refused["why"]), text(&refused["code"]), since(&refused["at"])),
        );
    }
    out + &apps_table(apps, since)
}

fn apps_table(apps: &Value, since: impl Fn(&Value) -> String) -> String {
    let apps = apps.as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![["APP", "VERSION", "STATE", "FOR", "PORTS", "MEMORY", "ANSWERED", ""].map(String::from)];
    for app in apps {
        let ports: Vec<_> = app["ports"].as_array().into_iter().flatten().map(ToString::to_string).collect();
        let memory = app["figures"]["memory_bytes"].as_u64().unwrap_or_default();
        rows.push([
            text(&app["app"]).into(),
            app["version"].as_str().unwrap_or("-").into(),
            text(&app["phase"]).into(),
            since(&app["since"]),
            if ports.is_empty() { "-".into() } else { ports.join(",") },
            format!("{} KiB", memory / 1024),
            app["figures"]["requests"].to_string(),
            app["why"].as_str().map(harmless).unwrap_or_default(),
        ]);
    }
    if apps.is_empty() {
        return String::new();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..8).map(width).collect();
    let row = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    "\n".to_owned() + &rows.iter().map(row).collect::<String>()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// What others said must not steer a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let (unit, length) = units.into_iter().find(|(_, length)| seconds >= *length).unwrap_or(("s", 1));
    format!("{} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_words_of_others_harmless() {
        assert_eq!([0, 59, 60, 7_300, 200_000].map(span), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
        assert_eq!(harmless("a\u{1b}[2Jb\tc"), "a\u{fffd}[2Jb\tc");
    }
}
