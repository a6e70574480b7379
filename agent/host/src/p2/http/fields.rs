//! Header and trailer fields.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::p2::abi::{Buffer, Bytes, wit_variant};
use crate::p2::call::{Cx, Fail, Stop, Trap};
use crate::p2::handles::{Borrow, Own};

/// Bytes that the fields of one message may have, each counted with [`FIELD_BYTES`] besides its name and value.
/// Twice what the server takes from a client, so that what came in can go out again.
const FIELDS_BYTES_MAX: u64 = 64 * 1024;

/// What a field costs a board besides its text, about.
const FIELD_BYTES: u64 = 32;

/// Fields that are about one connection, which is not the guest's (RFC 9110, 7.6.1), and `host`, which is the
/// authority.
const FORBIDDEN: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Fields, of one message. Names are in lower case, which is how they are compared.
#[derive(Clone, Debug, Default)]
pub(in crate::p2) struct Fields {
    map: Arc<HeaderMap>,
    is_immutable: bool,
}

wit_variant! {
    pub(in crate::p2) enum HeaderError {
        InvalidSyntax = "invalid-syntax",
        Forbidden = "forbidden",
        Immutable = "immutable",
    }
}

impl From<HeaderError> for Fail<HeaderError> {
    fn from(error: HeaderError) -> Self {
        Self::Error(error)
    }
}

type Outcome<T> = Result<T, Fail<HeaderError>>;

impl Fields {
    /// Those of a message that came, without what was about its connection.
    pub(in crate::p2) fn received(mut map: HeaderMap) -> Self {
        for name in &FORBIDDEN {
            map.remove(name);
        }
        Self { map: Arc::new(map), is_immutable: true }
    }

    /// The same, for somebody to look at.
    pub(in crate::p2) fn shown(&self) -> Self {
        Self { map: Arc::clone(&self.map), is_immutable: true }
    }

    pub(in crate::p2) fn into_map(self) -> HeaderMap {
        Arc::unwrap_or_clone(self.map)
    }

    /// The length that they announce for the body, if it is one.
    pub(in crate::p2) fn content_length(&self) -> Option<u64> {
        let text = self.map.get(header::CONTENT_LENGTH)?.to_str().ok()?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }

    fn map_mut(&mut self) -> Result<&mut HeaderMap, HeaderError> {
        if self.is_immutable { Err(HeaderError::Immutable) } else { Ok(Arc::make_mut(&mut self.map)) }
    }

    /// A guest that collects more than a message may have ends here: there is no error for it.
    fn check_size(&self) -> Result<(), Trap> {
        check_size(self.map.iter().map(|(name, value)| size(name.as_str().len(), value.len())).sum())
    }
}

/// What a field counts.
fn size(name: usize, value: usize) -> u64 {
    name as u64 + value as u64 + FIELD_BYTES
}

fn check_size(bytes: u64) -> Result<(), Trap> {
    if bytes > FIELDS_BYTES_MAX { Err(Trap("made header fields of more than 64 KiB")) } else { Ok(()) }
}

fn parse_name(name: &str) -> Result<HeaderName, HeaderError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
    if FORBIDDEN.contains(&name) { Err(HeaderError::Forbidden) } else { Ok(name) }
}

fn parse_value(cx: &Cx<'_>, value: Bytes) -> Outcome<HeaderValue> {
    let bytes = cx.memory.slice(value.at, value.len).map_err(|_| Trap("a list leads out of memory"))?;
    Ok(HeaderValue::from_bytes(bytes).map_err(|_| HeaderError::InvalidSyntax)?)
}

pub(in crate::p2) fn new(cx: &mut Cx<'_>) -> Result<Own<Fields>, Stop> {
    Ok(cx.state.p2.handles.push(Fields::default())?)
}

pub(in crate::p2) fn from_list(cx: &mut Cx<'_>, entries: Vec<(String, Bytes)>) -> Outcome<Own<Fields>> {
    let mut map = HeaderMap::new();
    let bytes = entries.iter().map(|(name, value)| size(name.len(), value.len as usize)).sum();
    check_size(bytes)?;
    cx.moved(bytes as usize);
    for (name, value) in entries {
        let value = parse_value(cx, value)?;
        map.append(parse_name(&name)?, value);
    }
    Ok(cx.state.p2.handles.push(Fields { map: Arc::new(map), is_immutable: false })?)
}

pub(in crate::p2) fn get(cx: &mut Cx<'_>, this: Borrow<Fields>, name: String) -> Result<Vec<Buffer>, Stop> {
    let values = cx.state.p2.handles.get(&this)?.map.get_all(name.as_str());
    Ok(values.iter().map(|value| Buffer(value.as_bytes().to_vec())).collect())
}

pub(in crate::p2) fn has(cx: &mut Cx<'_>, this: Borrow<Fields>, name: String) -> Result<bool, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.map.contains_key(name.as_str()))
}

pub(in crate::p2) fn set(cx: &mut Cx<'_>, this: Borrow<Fields>, name: String, values: Vec<Bytes>) -> Outcome<()> {
    cx.state.p2.handles.get_mut(&this)?.map_mut()?;
    let name = parse_name(&name)?;
    // Before they are copied: they may lie over each other.
    let bytes = values.iter().map(|value| size(name.as_str().len(), value.len as usize)).sum();
    check_size(bytes)?;
    cx.moved(bytes as usize);
    let values = values.into_iter().map(|value| parse_value(cx, value)).collect::<Result<Vec<_>, _>>()?;
    change(cx, &this, |map| {
        map.remove(&name);
        for value in values {
            map.append(&name, value);
        }
    })
}

pub(in crate::p2) fn delete(cx: &mut Cx<'_>, this: Borrow<Fields>, name: String) -> Outcome<()> {
    cx.state.p2.handles.get_mut(&this)?.map_mut()?;
    let name = parse_name(&name)?;
    change(cx, &this, |map| _ = map.remove(&name))
}

pub(in crate::p2) fn append(cx: &mut Cx<'_>, this: Borrow<Fields>, name: String, value: Bytes) -> Outcome<()> {
    cx.state.p2.handles.get_mut(&this)?.map_mut()?;
    let name = parse_name(&name)?;
    check_size(size(name.as_str().len(), value.len as usize))?;
    let value = parse_value(cx, value)?;
    change(cx, &this, |map| _ = map.append(name, value))
}

/// Changes fields, and has the guest pay for looking at all of them.
fn change(cx: &mut Cx<'_>, this: &Borrow<Fields>, change: impl FnOnce(&mut HeaderMap)) -> Outcome<()> {
    let fields = cx.state.p2.handles.get_mut(this)?;
    change(fields.map_mut()?);
    fields.check_size()?;
    let count = fields.map.len();
    cx.moved(count * FIELD_BYTES as usize);
    Ok(())
}

pub(in crate::p2) fn entries(cx: &mut Cx<'_>, this: Borrow<Fields>) -> Result<Vec<(String, Buffer)>, Stop> {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), Buffer(value.as_bytes().to_vec()));
    Ok(cx.state.p2.handles.get(&this)?.map.iter().map(entry).collect())
}

pub(in crate::p2) fn clone(cx: &mut Cx<'_>, this: Borrow<Fields>) -> Result<Own<Fields>, Stop> {
    let map = Arc::clone(&cx.state.p2.handles.get(&this)?.map);
    Ok(cx.state.p2.handles.push(Fields { map, is_immutable: false })?)
}
