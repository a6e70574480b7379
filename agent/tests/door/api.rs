//! What the door answers is what its own description says, and what the board does.

use dunlin_core::wire::state::Phase;
use dunlin_guests::{ENV, HELLO, KEEP_ALIVE, TRAP};
use serde_json::Value;

use super::{
    ask::{Answer, get, raw, raw_unix, request},
    scene::{PASSWORD, Scene},
    schema::wrong,
};
use crate::common::get as ask_app;

const PATHS: [&str; 6] = ["/v1/board", "/v1/apps", "/v1/apps/hello", "/v1/apps/hello/log", "/v1/events", "/v1/history"];

/// A board with an app that runs, one that fails, and one that printed its secrets itself.
async fn busy() -> Scene {
    let mut scene = Scene::new().await;
    scene
        .deploy("hello", &HELLO, |release| release.asks.env = vec![("K".parse().unwrap(), Some("env-value-1".into()))])
        .await;
    scene.running("hello").await;
    scene.deploy("trap", &TRAP, |_| {}).await;
    scene.phase("trap", Phase::BackingOff).await;
    scene
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let mut scene = busy().await;
    let document = scene.get("/v1/openapi.json").await.json();
    // Something that is refused, and something on its way.
    scene.operator.publish(&dunlin_core::wire::Topic::Plan, "rubbish").await;
    scene.until("/v1/board", |board| board["refused"]["code"] == "malformed").await;
    scene.until("/v1/history", |history| history["apps"]["hello"]["requests"][0].is_u64()).await;
    let paths = document["paths"].as_object().unwrap();
    let mut asked = 0;
    for (path, methods) in paths {
        let answer = scene.get(&path.replace("{name}", "trap")).await;
        let content = methods["get"]["responses"]["200"]["content"].as_object().unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(content.keys().next().unwrap(), answer.header("content-type"), "{path}");
        if let Some(json) = content.get("application/json") {
            assert_eq!(wrong(&document, &json["schema"], &answer.json(), path), None);
            asked += 1;
        }
    }
    assert_eq!(asked, PATHS.len());
    // Neither is what is described everything that there might be: a board before its first plan.
    let fresh = Scene::new().await;
    for path in ["/v1/board", "/v1/apps", "/v1/events", "/v1/history"] {
        let schema = &paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(wrong(&document, schema, &fresh.get(path).await.json(), path), None);
    }
    let lost = scene.get("/v1/apps/nobody").await;
    assert_eq!(lost.status, 404);
    assert_eq!(wrong(&document, &document["components"]["schemas"]["Error"], &lost.json(), "error"), None);
}

#[tokio::test]
async fn an_app_is_told_with_its_figures_and_its_lines() {
    let mut scene = Scene::new().await;
    let port = scene.deploy("keep", &KEEP_ALIVE, |_| {}).await;
    scene.running("keep").await;
    for _ in 0..5 {
        ask_app(port).await;
    }
    let app = scene.until("/v1/apps/keep", |app| app["figures"]["requests"] == 5).await;
    assert_eq!((&app["phase"], &app["ports"][0], &app["version"]), (&"running".into(), &port.into(), &"1.0.0".into()));
    let figures = &app["figures"];
    assert_eq!((&figures["accepted"], &figures["starts"], &figures["restarts"]), (&5.into(), &1.into(), &0.into()));
    for figure in ["fuel", "memory_bytes", "received_bytes", "sent_bytes"] {
        assert!(figures[figure].as_u64().unwrap() > 0, "{figure}: {figures}");
    }
    // Its next release goes on counting where this one stops.
    scene.deploy("keep", &KEEP_ALIVE, |_| {}).await;
    scene
        .board
        .app("the next", |app| app.phase == Phase::Running && app.version.as_ref().unwrap().as_str() == "2.0.0")
        .await;
    ask_app(port).await;
    scene.until("/v1/apps/keep", |app| app["figures"]["requests"] == 6 && app["figures"]["starts"] == 2).await;

    scene.deploy("env", &ENV, |release| release.restart = dunlin_core::wire::Restart::Never).await;
    scene.phase("env", Phase::Finished).await;
    let lines = scene.get("/v1/apps/env").await.json()["lines"].as_array().unwrap().clone();
    assert!(lines.len() > 1, "{lines:?}");
    let first = lines[0]["number"].as_u64().unwrap();
    let later = scene.get(&format!("/v1/apps/env/log?after={first}")).await.json();
    assert_eq!(later["lines"].as_array().unwrap()[..], lines[1..]);
}

#[tokio::test]
async fn metrics_are_open_metrics_and_count_what_happened() {
    let mut scene = busy().await;
    scene.operator.publish(&dunlin_core::wire::Topic::Plan, "rubbish").await;
    scene.until("/v1/board", |board| board["refusals"]["malformed"] == 1).await;
    let metrics = scene.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.ends_with("\n# EOF\n"));
    for line in [
        "# TYPE dunlin_app_received_bytes counter",
        "# UNIT dunlin_app_received_bytes bytes",
        "dunlin_link_up 1",
        "dunlin_link_sessions_total 1",
        "dunlin_plan_sequence 2",
        "dunlin_root_version 1",
        "dunlin_healthy 1",
        "dunlin_refusals_total{code=\"malformed\"} 1",
        "dunlin_refusals_total{code=\"fork\"} 0",
        "dunlin_app_up{app=\"hello\"} 1",
        "dunlin_app_up{app=\"trap\"} 0",
        "dunlin_app_starts_total{app=\"hello\"} 1",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} is not in\n{}", metrics.body);
    }
    let value = |name: &str| {
        let line = metrics.body.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.trim().parse::<u64>().unwrap()
    };
    assert!(value("process_resident_memory_bytes ") > 1 << 20);
    assert!(value("process_start_time_seconds ") > 1_600_000_000);
    assert!(value("dunlin_app_memory_bytes{app=\"hello\"}") > 0);
}

#[tokio::test]
async fn well_means_a_plan_or_a_broker_and_a_disk_that_writes() {
    let scene = Scene::new().await;
    let health = scene.get("/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"), "a broker");
    let lonely = Scene::with(|config| config.broker.url = "mqtt://127.0.0.1:1".parse().unwrap()).await;
    let health = lonely.get("/healthz").await;
    assert_eq!(
        (health.status, health.body.as_str()),
        (503, "there is no plan to obey, and no broker to hear of one\n")
    );
    assert!(lonely.get("/metrics").await.body.contains("\ndunlin_healthy 0\n"));
    let board = lonely.until("/v1/board", |board| board["link"]["why"].is_string()).await;
    assert_eq!(board["link"]["up"], false);
}

/// Whatever it was told in confidence is nowhere in what it tells.
#[tokio::test]
async fn no_answer_holds_a_secret() {
    let scene = busy().await;
    for path in PATHS.into_iter().chain(["/", "/healthz", "/metrics", "/v1/apps/trap", "/nothing"]) {
        let answer = raw(scene.door, request("GET", path, "").as_bytes()).await;
        assert!(answer.len() > 100, "{path}");
        for secret in [PASSWORD, "env-value-1"] {
            assert!(!answer.contains(secret), "{secret} in {path}");
        }
    }
}

#[tokio::test]
async fn it_speaks_on_a_socket_in_a_folder_too_and_takes_the_place_of_one_that_was_left() {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new().await;
    let whatever_host = request("GET", "/v1/board", "Host: anything\r\n");
    let answer = Answer::parse(&raw_unix(&scene.socket(), whatever_host.as_bytes()).await);
    assert_eq!(answer.json()["device"], "pi-1");
    assert_eq!(std::fs::metadata(scene.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    let socket = scene.socket();
    let state = scene.board.stop().await;
    assert!(!socket.exists(), "it goes with the agent");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "as after a power cut");
    let door = scene.door;
    let board = crate::common::Board::start_with(Default::default(), state, &scene.fleet, &scene.broker, |config| {
        let places = vec![super::scene::tcp(door), dunlin::door::Place::Unix { path: socket.clone(), mode: 0o660 }];
        config.door = Some(dunlin::door::Settings { places, token: None, certificate: None });
    });
    // The places open in no order: this one is sure to come.
    let opened = async {
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::common::LIMIT, opened).await.unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    drop(board);
}

#[tokio::test]
async fn head_is_get_without_the_rest() {
    let scene = Scene::new().await;
    let whole = get(scene.door, "/v1/openapi.json").await;
    let head = Answer::parse(&raw(scene.door, request("HEAD", "/v1/openapi.json", "").as_bytes()).await);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    assert_eq!(head.header("content-type"), whole.header("content-type"));
    assert!(matches!(whole.json(), Value::Object(_)));
}
