//! Which app is meant: the one that the host's name begins with, or else the one that the path does.

use std::str::FromStr;

use dunlin_core::wire::AppName;
use hyper::{Request, StatusCode, header::HOST};

use super::NotPassed;

/// An app, and what of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) app: AppName,
    /// The path and query as the app sees them.
    pub(super) path: String,
    /// What was cut off the path.
    pub(super) prefix: Option<String>,
    /// The name that was called, with its port.
    pub(super) host: String,
    /// The path names the app and no file in it.
    pub(super) slash_missing: bool,
}

/// Finds the app that a request is for, among those that there are.
pub(super) fn asked<B>(request: &Request<B>, there: impl Fn(&AppName) -> bool) -> Result<Asked, NotPassed> {
    let host = host(request)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let name = |text: &str| AppName::from_str(text).ok().filter(|app| there(app));
    // `hello.board:8080`, and never an address or a name of one part.
    let by_host = host.split_once('.').and_then(|(first, _)| name(first));
    if let Some(app) = by_host {
        return Ok(Asked { app, path: path.into(), prefix: None, host, slash_missing: false });
    }
    let rest = path.strip_prefix('/').unwrap_or(path);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (first, rest) = rest.split_at(end);
    let app =
        name(first).ok_or_else(|| NotPassed::new(StatusCode::NOT_FOUND, "no app of that name is published here"))?;
    let prefix = Some(format!("/{first}"));
    if !rest.starts_with('/') {
        return Ok(Asked { app, path: format!("/{first}/{rest}"), prefix, host, slash_missing: true });
    }
    Ok(Asked { app, path: rest.into(), prefix, host, slash_missing: false })
}

/// The name that was called: one, and the same wherever it stands (RFC 9112, section 3.2).
fn host<B>(request: &Request<B>) -> Result<String, NotPassed> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let bad = |why| NotPassed::new(StatusCode::BAD_REQUEST, why);
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| bad("a host's name is ASCII"))?,
        (None, _) => return Err(bad("a request names its host")),
        (Some(_), Some(_)) => return Err(bad("a request names one host")),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if !host.bytes().all(allowed) {
        return Err(bad("that is no host's name"));
    }
    match request.uri().authority() {
        Some(authority) if authority.as_str() != host => Err(bad("a request names one host")),
        _ => Ok(host.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(host: &str, path: &str) -> Result<(String, String, Option<String>), u16> {
        let request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
        let asked = asked(&request, |app| ["hello", "notes"].contains(&app.as_str()));
        asked.map(|asked| (asked.app.to_string(), asked.path, asked.prefix)).map_err(|not| not.status.as_u16())
    }

    fn found(app: &str, path: &str, prefix: Option<&str>) -> Result<(String, String, Option<String>), u16> {
        Ok((app.into(), path.into(), prefix.map(Into::into)))
    }

    #[test]
    fn an_app_is_named_by_the_host_or_else_by_the_path() {
        assert_eq!(find("hello.board:8080", "/notes/x?y=/z"), found("hello", "/notes/x?y=/z", None));
        assert_eq!(find("HELLO.localhost", "/"), found("hello", "/", None));
        assert_eq!(find("board:8080", "/notes/x?y=/z"), found("notes", "/x?y=/z", Some("/notes")));
        assert_eq!(find("hello", "/notes/"), found("notes", "/", Some("/notes")), "a name of one part is the board's");
        assert_eq!(find("127.0.0.1:80", "/hello"), found("hello", "/hello/", Some("/hello")));
        assert_eq!(find("127.0.0.1:80", "/hello?x=/"), found("hello", "/hello/?x=/", Some("/hello")));
        for path in ["/", "/other/", "//hello/", "/hello%2f", "/HELLO/", "/.."] {
            assert_eq!(find("board", path), Err(404), "{path}");
        }
        assert_eq!(find("other.board", "/"), Err(404));
    }

    #[test]
    fn one_host_is_named() {
        let status = |request: hyper::http::request::Builder| {
            asked(&request.body(()).unwrap(), |_| true).map(|asked| asked.host).map_err(|not| not.status.as_u16())
        };
        let request = || Request::builder().uri("http://a.example/x");
        assert_eq!(status(request()), Err(400));
        assert_eq!(status(request().header(HOST, "b.example")), Err(400));
        assert_eq!(status(request().header(HOST, "a.example").header(HOST, "a.example")), Err(400));
        assert_eq!(status(request().header(HOST, "a b")), Err(400));
        assert_eq!(status(request().header(HOST, "a.example")), Ok("a.example".into()));
    }
}
