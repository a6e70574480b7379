//! `fields`.

use wasip2::http::types::{Fields, HeaderError, OutgoingRequest};

pub(crate) fn all() {
    let name = |name: &str| name.to_owned();
    let fields = Fields::new();
    assert!(fields.entries().is_empty() && !fields.has("a") && fields.get("a").is_empty());
    fields.append("A", b"1").unwrap();
    fields.append("a", b"2").unwrap();
    fields.set("b", &[b"".to_vec()]).unwrap();
    assert!(fields.has("a") && fields.has("A"));
    assert_eq!(fields.get("A"), [b"1", b"2"]);
    assert_eq!(fields.get("b"), [b""]);
    assert_eq!(fields.entries(), [(name("a"), b"1".to_vec()), (name("a"), b"2".to_vec()), (name("b"), Vec::new())]);
    fields.set("a", &[b"3".to_vec()]).unwrap();
    assert_eq!(fields.get("a"), [b"3"]);
    fields.delete("a").unwrap();
    fields.delete("never").unwrap();
    assert!(!fields.has("a"));

    for bad in ["", "a b", "a:", "ä"] {
        assert!(matches!(fields.append(bad, b"x"), Err(HeaderError::InvalidSyntax)), "{bad}");
        assert!(matches!(fields.set(bad, &[]), Err(HeaderError::InvalidSyntax)), "{bad}");
        assert!(matches!(fields.delete(bad), Err(HeaderError::InvalidSyntax)), "{bad}");
        assert!(fields.get(bad).is_empty() && !fields.has(bad), "{bad}");
        assert!(matches!(Fields::from_list(&[(name(bad), Vec::new())]), Err(HeaderError::InvalidSyntax)), "{bad}");
    }
    for bad in [&b"a\nb"[..], b"a\r\nx: y", b"\0"] {
        assert!(matches!(fields.append("a", bad), Err(HeaderError::InvalidSyntax)));
        assert!(matches!(fields.set("a", &[bad.to_vec()]), Err(HeaderError::InvalidSyntax)));
    }
    for forbidden in ["Connection", "transfer-encoding", "HOST", "upgrade", "keep-alive", "te", "proxy-connection"] {
        assert!(matches!(fields.append(forbidden, b"x"), Err(HeaderError::Forbidden)), "{forbidden}");
        assert!(matches!(Fields::from_list(&[(name(forbidden), Vec::new())]), Err(HeaderError::Forbidden)));
    }

    // What belongs to a message can be looked at only, and its copy is one's own.
    let request = OutgoingRequest::new(fields);
    let shown = request.headers();
    assert_eq!(shown.get("b"), [b""]);
    assert!(matches!(shown.append("c", b"1"), Err(HeaderError::Immutable)));
    assert!(matches!(shown.set("c", &[]), Err(HeaderError::Immutable)));
    assert!(matches!(shown.delete("b"), Err(HeaderError::Immutable)));
    let own = shown.clone();
    own.append("c", b"1").unwrap();
    assert!(own.has("c") && !shown.has("c"));
    let listed = Fields::from_list(&[(name("x"), b"1".to_vec()), (name("X"), b"2".to_vec())]).unwrap();
    assert_eq!(listed.get("x"), [b"1", b"2"]);
    listed.append("y", b"1").unwrap();
}
