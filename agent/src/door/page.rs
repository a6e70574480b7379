//! The page, and under which rules a browser shows it.

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Response, StatusCode,
    header::{CONTENT_SECURITY_POLICY, HeaderValue},
};
use sha2::{Digest, Sha256};

use super::{body::Body, routes::whole};

/// The page is one file: nothing builds it, and it asks for nothing but `/v1`.
const PAGE: &str = include_str!("page.html");

/// What the API is, as OpenAPI 3.1.
pub(super) const OPEN_API: &str = include_str!("openapi.json");

/// The page. Its script and its style are allowed by their hashes, and nothing else runs or is loaded.
pub(super) fn page() -> Response<Body> {
    static POLICY: OnceLock<String> = OnceLock::new();
    let policy = POLICY.get_or_init(policy);
    let mut response = whole(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    // Our own words are ASCII.
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn policy() -> String {
    let [script, style] = ["script", "style"].map(|element| hash(PAGE, element));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The hash of what is in this element (CSP level 3, section 2.3.1).
fn hash(page: &str, element: &str) -> String {
    let inside =
        page.split_once(&format!("<{element}>")).and_then(|(_, rest)| rest.split_once(&format!("</{element}>")));
    let digest = Sha256::digest(inside.map_or("", |(inside, _)| inside).as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(digest.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_whose_parts_the_policy_names() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "one {element}");
            assert_ne!(hash(PAGE, element), hash("", element), "{element} is not empty");
        }
        assert_eq!(hash("<style>a{}</style>", "style"), "sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk=");
        for outside in ["https:", " src=", "@import", "url(", "innerHTML", " style=", " onclick"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
