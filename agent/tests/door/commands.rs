//! `dunlin status` and `dunlin logs`, as somebody types them on the board, and `dunlin check` on doors.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use dunlin_core::wire::{Restart, state::Phase};
use dunlin_guests::{ENV, HELLO};

use super::{
    ask::get,
    scene::{Scene, TOKEN, connected},
};
use crate::common::{Fleet, Operator, broker, free_port, release, sign};

fn dunlin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).args(args).env_remove("RUNTIME_DIRECTORY").output().unwrap()
}

async fn asked(args: Vec<String>) -> (i32, String) {
    let output = tokio::task::spawn_blocking(move || dunlin(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + std::str::from_utf8(&output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn args(words: &[&str], door: &str) -> Vec<String> {
    words.iter().copied().chain(["--door", door]).map(Into::into).collect()
}

#[tokio::test]
async fn status_and_logs_tell_what_the_door_does() {
    let mut scene = Scene::new().await;
    scene.deploy("hello", &HELLO, |_| {}).await;
    scene.running("hello").await;
    let evil = "\u{1b}[2J\u{7}";
    scene
        .deploy("env", &ENV, |release| {
            release.restart = Restart::Never;
            release.asks.env = vec![("EVIL".parse().unwrap(), Some(evil.into()))];
        })
        .await;
    scene.phase("env", Phase::Finished).await;
    for door in [format!("unix:{}", scene.socket().display()), format!("127.0.0.1:{}", scene.door)] {
        let (code, text) = asked(args(&["status"], &door)).await;
        assert_eq!(code, 0, "{text}");
        for words in ["pi-1 of the fleet flock", "broker   connected", "plan     2, under root 1", "1.0.0", "finished"]
        {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        let (code, text) = asked(args(&["status", "--json"], &door)).await;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, &json["board"]["device"], &json["apps"][1]["app"]), (0, &"pi-1".into(), &"env".into()));
        let (code, text) = asked(args(&["logs", "env"], &door)).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("EVIL=\u{fffd}[2J\u{fffd}\n") && !text.contains('\u{1b}'), "{text:?}");
        let (code, text) = asked(args(&["logs", "nobody"], &door)).await;
        assert_eq!((code, text.as_str()), (1, "dunlin: this board has no such app: /v1/apps lists those it has\n"));
    }
    let (code, text) = asked(args(&["status"], "127.0.0.1:1")).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no answer from the door at 127.0.0.1:1"), "{text}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn logs_go_on_while_they_are_followed() {
    let mut scene = Scene::new().await;
    let once = |value: &'static str| {
        move |release: &mut dunlin_core::wire::Release| {
            release.restart = Restart::Never;
            release.asks.env = vec![("SAID".parse().unwrap(), Some(value.into()))];
        }
    };
    scene.deploy("env", &ENV, once("first")).await;
    scene.phase("env", Phase::Finished).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["logs", "-f", "env", "--door", &format!("127.0.0.1:{}", scene.door)]);
    let mut child = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let reader = tokio::task::spawn_blocking(move || {
        let mut lines = lines;
        let first = lines.find(|line| line == "SAID=first");
        (first, lines)
    });
    let (first, mut lines) = reader.await.unwrap();
    assert!(first.is_some());
    scene.deploy("env", &ENV, once("second")).await;
    let second = tokio::task::spawn_blocking(move || lines.find(|line| line == "SAID=second")).await.unwrap();
    assert!(second.is_some());
}

/// As systemd starts it, with the folder that `RuntimeDirectory=` makes.
#[tokio::test]
async fn a_service_managers_folder_is_where_the_door_is_and_the_front_door_logs() {
    let (broker, fleet, dir) = (broker::start(), Fleet::new("flock"), tempfile::tempdir().unwrap());
    let (front, path) = (free_port(), |name: &str| dir.path().join(name));
    std::fs::write(path("root.dunlin"), sign(&fleet.root, &fleet.root_key)).unwrap();
    std::fs::create_dir(path("run")).unwrap();
    let text = format!(
        "device = \"pi-1\"\nroot = \"root.dunlin\"\nstate = \"state\"\nbind = \"127.0.0.1\"\n\
         [broker]\nurl = \"{}\"\n[front]\nlisten = \"127.0.0.1:{front}\"\nlog = true\n",
        broker.url
    );
    std::fs::write(path("agent.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.arg("agent").arg("--config").arg(path("agent.toml")).env("RUNTIME_DIRECTORY", path("run"));
    let mut agent = Killed(command.stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(agent.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    connected(&path("run/door.sock")).await;

    let mut operator = Operator::connect(&fleet, &broker).await;
    let release = release("hello", 1, HELLO.bytes, Some(free_port()));
    operator.release(&fleet, &release, HELLO.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&release])).await;
    operator.state("it runs", |state| state.apps.iter().any(|app| app.phase == Phase::Running)).await;
    assert_eq!(get(front, "/hello/a/place?token=hidden").await.status, 200);
    let logged = tokio::task::spawn_blocking(move || { log }.find(|line| line.contains("/hello/a/place"))).await;
    let logged = logged.unwrap().unwrap();
    for part in [
        "INFO front: ",
        "from=127.0.0.1",
        "app=\"hello\"",
        "method=GET",
        "path=\"/hello/a/place\"",
        "status=200",
        "ms=",
    ] {
        assert!(logged.contains(part), "{part} is not in {logged}");
    }
    assert!(!logged.contains("hidden"), "{logged}");
}

#[test]
fn a_door_that_is_open_to_all_is_refused_before_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let check = |door: &str| {
        let text = format!(
            "device = \"pi-1\"\nroot = \"root.dunlin\"\nstate = \"state\"\n[broker]\nurl = \"mqtt://b\"\n{door}"
        );
        let path: &Path = &dir.path().join("agent.toml");
        std::fs::write(path, text).unwrap();
        let output = dunlin(&["check", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "there is no root");
        String::from_utf8(output.stderr).unwrap()
    };
    let open = check("[door]\nlisten = [\"127.0.0.1:1\", \"[::]:8080\"]\n");
    assert!(
        open.contains("[door] is open to the network at [::]:8080, and asks for nothing: set `token_file`"),
        "{open}"
    );
    std::fs::write(dir.path().join("token"), "short\n").unwrap();
    let short = check("[door]\nlisten = \"[::]:8080\"\ntoken_file = \"token\"\n");
    assert!(short.contains("a token has 16 characters or more"), "{short}");
    std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let good = check("[door]\nlisten = \"[::]:8080\"\ntoken_file = \"token\"\n");
    assert!(good.contains("`root`") && !good.contains("[door]"), "{good}");
    assert!(!good.contains(TOKEN));
    let files = check("[front]\nlisten = \"[::]:443\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n");
    assert!(files.contains("[front]: ") && files.contains("k.pem"), "{files}");
}
