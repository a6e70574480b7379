//! Who is not let in, and what browsers are told.

use super::{
    ask::{Answer, get_with, raw, request},
    scene::{Scene, TOKEN},
};
use dunlin::door::Token;

#[tokio::test]
async fn with_a_token_everything_asks_for_it() {
    let scene = Scene::with(|config| {
        config.door.as_mut().unwrap().token = Some(Token::new(TOKEN).unwrap());
    })
    .await;
    for path in ["/", "/healthz", "/metrics", "/v1/board", "/v1/openapi.json", "/nothing"] {
        let answer = scene.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Basic realm="), "{answer:?}");
        let wrong = get_with(scene.door, path, &format!("Authorization: Bearer {}x\r\n", &TOKEN[1..])).await;
        assert_eq!(wrong.status, 401, "{path}");
        let right = get_with(scene.door, path, &format!("Authorization: Bearer {TOKEN}\r\n")).await;
        assert_eq!(right.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        assert!(!right.body.contains(TOKEN));
    }
}

#[tokio::test]
async fn pages_from_elsewhere_are_not_answered() {
    let scene = Scene::new().await;
    let rebound = get_with(scene.door, "/v1/board", "Host: evil.example\r\n").await;
    assert_eq!(rebound.status, 421);
    let absolute =
        raw(scene.door, b"GET http://evil.example/v1/board HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::parse(&absolute.await).status, 421);
    let other = get_with(scene.door, "/v1/board", "Origin: http://evil.example\r\n").await;
    assert_eq!(other.status, 200, "a browser does not show it to that page:");
    assert_eq!(other.headers.keys().find(|name| name.starts_with("access-control")), None);
    let preflight = Answer::parse(&raw(scene.door, request("OPTIONS", "/v1/board", "").as_bytes()).await);
    assert_eq!((preflight.status, preflight.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn browsers_are_told_to_run_load_and_keep_nothing_else() {
    let scene = Scene::new().await;
    for path in ["/", "/v1/board", "/healthz", "/nothing"] {
        let answer = scene.get(path).await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

/// Whatever is sent is answered with an error or not at all, and the next one is served.
#[tokio::test]
async fn broken_requests_are_broken_for_themselves_alone() {
    let scene = Scene::new().await;
    let long = "x".repeat(100_000);
    let many: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    let broken: [(&str, Vec<u8>, &[u16]); 10] = [
        ("rubbish", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("no version", b"GET /\r\n\r\n".to_vec(), &[400]),
        ("another version", b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n".to_vec(), &[400, 505]),
        ("a bare CR", b"GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n".to_vec(), &[400]),
        (
            "two lengths",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            &[400],
        ),
        ("a length below zero", b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_vec(), &[400]),
        ("a long path", request("GET", &format!("/{long}"), "").into(), &[414, 431]),
        ("a long header", request("GET", "/", &format!("X: {long}\r\n")).into(), &[431]),
        ("many headers", request("GET", "/", &many).into(), &[431]),
        ("no host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), &[421]),
    ];
    for (what, bytes, statuses) in broken {
        let answer = raw(scene.door, &bytes).await;
        // Who is refused in the middle of what they say may hear of it by a reset.
        if !answer.is_empty() {
            let status = Answer::parse(&answer).status;
            assert!(statuses.contains(&status), "{what}: {status}");
        }
        assert_eq!(scene.get("/healthz").await.status, 200, "after {what}");
    }
}
