//! HTTP by hand, so that a test says each byte, and sees each.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::common::LIMIT;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.into()));
        Self { status, headers: lines.filter_map(header).collect(), body: body.into() }
    }
}

/// What is answered to these bytes before the connection ends.
pub async fn raw(port: u16, bytes: &[u8]) -> String {
    through(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), bytes).await
}

pub async fn raw_unix(path: &std::path::Path, bytes: &[u8]) -> String {
    through(UnixStream::connect(path).await.unwrap(), bytes).await
}

pub async fn through(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    let all = async {
        // Who refuses may close before all was said, and what it said is worth reading.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(LIMIT, all).await.expect("an end");
    String::from_utf8_lossy(&answer).into()
}

/// `GET path` with these headers, on loopback.
pub async fn get_with(port: u16, path: &str, headers: &str) -> Answer {
    Answer::parse(&raw(port, request("GET", path, headers).as_bytes()).await)
}

pub async fn get(port: u16, path: &str) -> Answer {
    get_with(port, path, "").await
}

pub fn request(method: &str, path: &str, headers: &str) -> String {
    let host = if headers.to_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n")
}
