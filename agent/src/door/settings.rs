//! What the board's owner says about its doors: `[door]` and `[front]`.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use dunlin_core::limits::DOOR_TOKEN_BYTES_MIN;

/// `[door]`: where this board says of itself what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub places: Vec<Place>,
    /// What whoever comes over the network has to know.
    pub token: Option<Token>,
    /// With which it speaks TLS over the network.
    pub certificate: Option<Certificate>,
}

/// `[front]`: where apps are reached by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontSettings {
    /// Where it listens.
    pub places: Vec<Place>,
    /// With which it speaks TLS.
    pub certificate: Option<Certificate>,
    /// Bytes of a request's body that it passes on.
    pub body_bytes_max: u64,
    /// Whether each request is logged.
    pub log: bool,
}

/// Where a door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On an address of the board.
    Tcp(SocketAddr),
    /// In a folder; whom the file's mode lets in.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Files with which to speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain of certificates, its own first, as PEM.
    pub chain: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// A secret that whoever comes over the network has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, if it cannot be guessed.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < DOOR_TOKEN_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "a token has {DOOR_TOKEN_BYTES_MIN} characters or more, without spaces: `openssl rand -hex 16` makes one"
            ));
        }
        Ok(Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Place {
    /// Whether only this board's own users get there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix { .. } => true,
        }
    }

    /// As it is, with another mode if it is a socket in a folder.
    pub(crate) fn with_mode(self, mode: u32) -> Self {
        match self {
            Self::Unix { path, .. } => Self::Unix { path, mode },
            Self::Tcp(address) => Self::Tcp(address),
        }
    }

    /// As it is, relative to this folder.
    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            Self::Unix { path, mode } => Self::Unix { path: folder.join(path), mode },
            Self::Tcp(address) => Self::Tcp(address),
        }
    }
}

/// The owner's own, where nothing else is said.
pub(crate) const MODE: u32 = 0o600;

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: has no path".into()),
            Some(path) => Ok(Self::Unix { path: path.into(), mode: MODE }),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!("{text:?} is no place to listen: write \"127.0.0.1:8080\" or \"unix:/run/dunlin/door.sock\"")
            }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
