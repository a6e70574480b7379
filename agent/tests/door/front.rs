//! The front door before a real guest.

use dunlin_core::wire::{Start, state::Phase};
use dunlin_guests::HELLO;

use super::{
    ask::{Answer, get, get_with, raw},
    scene::Scene,
};
use crate::common::LIMIT;

#[tokio::test]
async fn one_port_leads_to_every_app_and_wakes_those_that_sleep() {
    let mut scene = Scene::new().await;
    scene.deploy("hello", &HELLO, |_| {}).await;
    scene.running("hello").await;
    scene.deploy("sleeper", &HELLO, |release| release.start = Start::OnDemand { idle_ms: 200 }).await;
    scene.phase("sleeper", Phase::Asleep).await;
    for (path, host) in [("/hello/", "board"), ("/", "hello.board"), ("/any/path?x=y", "hello.localhost")] {
        let answer = get_with(scene.front, path, &format!("Host: {host}:{}\r\n", scene.front)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, WASM!"), "{host}{path}");
    }
    for _ in 0..2 {
        let answer = get(scene.front, "/sleeper/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, WASM!"));
        scene.phase("sleeper", Phase::Asleep).await;
    }
    let bare = get(scene.front, "/hello?x").await;
    assert_eq!((bare.status, bare.header("location")), (308, "/hello/?x"));
    for path in ["/", "/nobody/", "/v1/board", "/metrics"] {
        assert_eq!(get(scene.front, path).await.status, 404, "{path}: it leads to apps alone");
    }
    let counted = scene.get("/metrics").await.body;
    assert!(counted.contains("\ndunlin_front_requests_total{app=\"hello\",status=\"2xx\"} 3\n"), "{counted}");

    // What the plan takes away is not to be had here any more.
    scene.operator.plan(&scene.fleet, &scene.fleet.plan(3, &[])).await;
    scene.until("/v1/apps", |apps| apps["apps"].as_array().unwrap().is_empty()).await;
    assert_eq!(get(scene.front, "/hello/").await.status, 404);
}

#[tokio::test]
async fn over_tls_with_a_certificate_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let [chain, key] = ["front.pem", "front.key"].map(|name| dir.path().join(name));
    let renew = || {
        let pair = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(&chain, pair.cert.pem()).unwrap();
    };
    renew();
    let certificate = dunlin::door::Certificate { chain: chain.clone(), key: key.clone() };
    let mut scene = Scene::with(|config| {
        config.front.as_mut().unwrap().certificate = Some(certificate.clone());
        config.door.as_mut().unwrap().certificate = Some(certificate);
    })
    .await;
    scene.deploy("hello", &HELLO, |_| {}).await;
    scene.running("hello").await;
    for (port, path, words) in
        [(scene.front, "/hello/", "Hello, WASM!"), (scene.door, "/v1/board", "\"device\":\"pi-1\"")]
    {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let stream = connector(&chain).connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let answer = super::ask::through(stream, super::ask::request("GET", path, "").as_bytes()).await;
        let answer = Answer::parse(&answer);
        assert!(answer.status == 200 && answer.body.contains(words), "{answer:?}");
        // Who speaks without TLS hears nothing that is HTTP.
        let plain = raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(!plain.contains("HTTP/1.1 2"), "{plain}");
    }

    renew();
    for port in [scene.front, scene.door] {
        let renewed = async {
            loop {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if connector(&chain).connect("localhost".try_into().unwrap(), stream).await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, renewed).await.expect("the new certificate");
    }
}

fn connector(ca: &std::path::Path) -> tokio_rustls::TlsConnector {
    dunlin::link::Tls { ca: Some(ca.into()), client: None }.client_config().unwrap().into()
}
