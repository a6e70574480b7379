//! What is asked for, and the answer.

use std::str::FromStr;

use dunlin_core::wire::AppName;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{
    answers::{self, Failed},
    body::Body,
    guard::{Denied, Guard},
    metrics, page,
    view::View,
};

/// What one place of the door answers.
#[derive(Debug)]
pub(super) struct Door {
    view: View,
    guard: Guard,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    /// `/`
    Page,
    /// `/healthz`
    Health,
    /// `/metrics`
    Metrics,
    /// `/v1/openapi.json`
    OpenApi,
    /// `/v1/board`
    Board,
    /// `/v1/apps`
    Apps,
    /// `/v1/apps/NAME`
    App(AppName),
    /// `/v1/apps/NAME/log?after=NUMBER`
    Log(AppName, u64),
    /// `/v1/events`
    Events,
    /// `/v1/history`
    History,
}

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, "Protocol negotiation".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Door {
    pub(super) fn new(view: View, guard: Guard) -> Self {
        Self { view, guard }
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = match self.guard.check(request) {
            Err(denied) => deny(denied),
            Ok(()) => match Route::of(request.uri().path(), request.uri().query()) {
                Some(route) => self.found(&route),
                None => failed(StatusCode::NOT_FOUND, "there is no such thing: /v1/openapi.json lists what there is"),
            },
        };
        secure(response.headers_mut());
        if request.method() == Method::HEAD {
            let length = http_body::Body::size_hint(response.body()).lower();
            response.headers_mut().insert(hyper::header::CONTENT_LENGTH, length.into());
            *response.body_mut() = Body::Whole(None);
        }
        response
    }

    fn found(&self, route: &Route) -> Response<Body> {
        let answer = self.view.look(|seen, records| match route {
            Route::Page => page::page(),
            Route::Health => {
                let problems = seen.problems();
                let ok = problems.is_empty();
                let text = if ok { "ok\n".into() } else { problems.join("\n") + "\n" };
                whole(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, text)
            }
            Route::Metrics => whole(StatusCode::OK, OPEN_METRICS, metrics::write(seen, records)),
            Route::OpenApi => whole(StatusCode::OK, JSON, page::OPEN_API),
            Route::Board => json(StatusCode::OK, &answers::board(seen)),
            Route::Apps => json(StatusCode::OK, &answers::apps(seen, records)),
            Route::App(app) => match answers::app(seen, records, app) {
                Some(app) => json(StatusCode::OK, &app),
                None => failed(StatusCode::NOT_FOUND, "this board has no such app: /v1/apps lists those it has"),
            },
            Route::Log(app, after) => match answers::log(seen, records, app, *after) {
                Some(log) => json(StatusCode::OK, &log),
                None => failed(StatusCode::NOT_FOUND, "this board has no such app: /v1/apps lists those it has"),
            },
            Route::Events => json(StatusCode::OK, &answers::events(seen)),
            Route::History => json(StatusCode::OK, &answers::history(seen)),
        });
        answer.unwrap_or_else(|| failed(StatusCode::SERVICE_UNAVAILABLE, "there is nothing to look at"))
    }
}

impl Route {
    fn of(path: &str, query: Option<&str>) -> Option<Self> {
        let name = |name: &str| AppName::from_str(name).ok();
        Some(match path {
            "/" => Self::Page,
            "/healthz" => Self::Health,
            "/metrics" => Self::Metrics,
            "/v1/openapi.json" => Self::OpenApi,
            "/v1/board" => Self::Board,
            "/v1/apps" => Self::Apps,
            "/v1/events" => Self::Events,
            "/v1/history" => Self::History,
            _ => {
                let rest = path.strip_prefix("/v1/apps/")?;
                match rest.split_once('/') {
                    None => Self::App(name(rest)?),
                    Some((app, "log")) => Self::Log(name(app)?, after(query)?),
                    Some(_) => return None,
                }
            }
        })
    }
}

/// `after=NUMBER`, or nothing at all.
fn after(query: Option<&str>) -> Option<u64> {
    query.map_or(Some(0), |query| query.strip_prefix("after=")?.parse().ok())
}

fn deny(denied: Denied) -> Response<Body> {
    let mut response = failed(denied.status, denied.why);
    let headers = response.headers_mut();
    if denied.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if denied.status == StatusCode::UNAUTHORIZED {
        // A browser asks for it, and says it again by itself.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"dunlin\", charset=\"UTF-8\""));
    }
    response
}

/// What browsers are told of every answer: no other page may read it, frame it or guess what it is, and
/// nobody keeps it.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(json) => whole(status, JSON, json),
        // Our own types always have a JSON form.
        Err(error) => whole(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
    }
}

fn failed(status: StatusCode, why: &str) -> Response<Body> {
    json(status, &Failed { error: why })
}

/// An answer that is all there.
pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_one_route_or_none() {
        let app = || "hello".parse::<AppName>().unwrap();
        for (path, query, route) in [
            ("/", None, Some(Route::Page)),
            ("/v1/apps", None, Some(Route::Apps)),
            ("/v1/apps/hello", None, Some(Route::App(app()))),
            ("/v1/apps/hello/log", None, Some(Route::Log(app(), 0))),
            ("/v1/apps/hello/log", Some("after=7"), Some(Route::Log(app(), 7))),
            ("/v1/apps/hello/log", Some("after=-7"), None),
            ("/v1/apps/hello/log", Some("before=7"), None),
            ("/v1/apps/hello/", None, None),
            ("/v1/apps/", None, None),
            ("/v1/apps/../board", None, None),
            ("/v1/apps/h%65llo", None, None),
            ("//", None, None),
            ("", None, None),
        ] {
            assert_eq!(Route::of(path, query), route, "{path}?{query:?}");
        }
    }
}
