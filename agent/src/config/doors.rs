//! `[door]` and `[front]`, key by key.

use std::{fs, path::Path, path::PathBuf};

use dunlin_core::limits::FRONT_BODY_BYTES;
use serde::Deserialize;

use super::{raw::Place as Here, units::ByteSize};
use crate::door::{Certificate, FrontSettings, MODE, Place, Settings, Token};

/// The socket that a board's door has where its service manager made a folder for it.
pub(super) const SOCKET: &str = "door.sock";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDoor {
    /// `listen = "127.0.0.1:8080"`, or several: `["unix:/run/dunlin/door.sock", "0.0.0.0:8080"]`
    listen: Option<Places>,
    /// `mode = "0660"`
    mode: Option<String>,
    /// `token_file = "secrets/door"`
    token_file: Option<PathBuf>,
    /// `certificate = "door.pem"`
    certificate: Option<PathBuf>,
    /// `key = "secrets/door.key"`
    key: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFront {
    /// `listen = "0.0.0.0:8080"`
    listen: Places,
    /// `body = "1MiB"`
    body: Option<ByteSize>,
    /// `log = true`
    #[serde(default)]
    log: bool,
    /// `certificate = "front.pem"`
    certificate: Option<PathBuf>,
    /// `key = "secrets/front.key"`
    key: Option<PathBuf>,
}

/// One place, or several.
struct Places(Vec<Place>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            One(String),
            Several(Vec<String>),
        }
        let texts = match Text::deserialize(deserializer)? {
            Text::One(text) => vec![text],
            Text::Several(texts) => texts,
        };
        let places = texts.iter().map(|text| text.parse()).collect::<Result<_, String>>();
        places.map(Self).map_err(serde::de::Error::custom)
    }
}

/// Without a word in the file it is open where the service manager made a folder for it, and to nobody else
/// than the agent's own user and root.
pub(super) fn door(raw: Option<RawDoor>, here: &Here<'_>) -> Result<Option<Settings>, String> {
    let usual = here.runtime.map(|folder| Place::Unix { path: folder.join(SOCKET), mode: MODE });
    let usual: Vec<_> = usual.into_iter().collect();
    let Some(raw) = raw else {
        return Ok((!usual.is_empty()).then_some(Settings { places: usual, token: None, certificate: None }));
    };
    let mode = raw.mode.map_or(Ok(MODE), |text| octal(&text))?;
    let places: Vec<_> = match raw.listen {
        Some(Places(places)) => places.into_iter().map(|place| place.within(here.folder)).collect(),
        None => usual,
    };
    let places: Vec<_> = places.into_iter().map(|place| place.with_mode(mode)).collect();
    let token = raw.token_file.map(|file| read_token(&here.secret(file)?)).transpose()?;
    if let Some(open) = places.iter().find(|place| !place.is_local() && token.is_none()) {
        return Err(format!(
            "[door] is open to the network at {open}, and asks for nothing: set `token_file`, or listen on \
             127.0.0.1 or unix:PATH"
        ));
    }
    let certificate = certificate("door", raw.certificate, raw.key, here)?;
    Ok((!places.is_empty()).then_some(Settings { places, token, certificate }))
}

impl RawFront {
    pub(super) fn resolve(self, here: &Here<'_>) -> Result<FrontSettings, String> {
        let places: Vec<_> = self.listen.0.into_iter().map(|place| place.within(here.folder)).collect();
        if places.is_empty() {
            return Err("[front] `listen` names no place".into());
        }
        Ok(FrontSettings {
            places,
            certificate: certificate("front", self.certificate, self.key, here)?,
            body_bytes_max: self.body.map_or(FRONT_BODY_BYTES, |size| size.0),
            log: self.log,
        })
    }
}

fn certificate(
    section: &str,
    chain: Option<PathBuf>,
    key: Option<PathBuf>,
    here: &Here<'_>,
) -> Result<Option<Certificate>, String> {
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Certificate { chain: here.secret(chain)?, key: here.secret(key)? })),
        (None, None) => Ok(None),
        _ => Err(format!("[{section}] needs both `certificate` and `key`, or neither")),
    }
}

fn octal(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777).ok_or("[door] `mode` is three or four octal digits, as in \"0660\"".into())
}

fn read_token(path: &Path) -> Result<Token, String> {
    let at = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("`token_file`: cannot read {at}: {error}"))?;
    Token::new(&text).map_err(|error| format!("`token_file`: {at}: {error}"))
}
