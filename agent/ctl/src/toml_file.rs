//! TOML files with mistakes in them: every error names file, line and column.

use std::{ops::Range, path::Path};

use anyhow::{Error, Result, anyhow};
use serde::de::DeserializeOwned;

/// A TOML file's text and where it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The file.
    pub(crate) path: &'a Path,
    /// Its text.
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The file's value, or the first mistake in it.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(self.text).map_err(|error| match error.span() {
            Some(span) => self.at(span, error.message().replace('\n', " ")),
            None => anyhow!("{}: {}", self.path.display(), error.message()),
        })
    }

    /// A mistake at this place: `app.toml:3:1: …`.
    pub(crate) fn at(&self, span: Range<usize>, what: impl std::fmt::Display) -> Error {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        anyhow!("{}:{line}:{column}: {what}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form matters")]
    struct Form {
        name: dunlin_core::wire::AppName,
    }

    #[test]
    fn mistakes_have_a_place_and_a_name() {
        let parse = |text| {
            let source = Source { path: Path::new("app.toml"), text };
            source.parse::<Form>().unwrap_err().to_string()
        };
        assert_eq!(parse("name = \"x\"\n\nnmae = 1"), "app.toml:3:1: unknown field `nmae`, expected `name`");
        assert!(parse("name = \"a/b\"").starts_with("app.toml:1:8: \"a/b\" is not an app's name"));
        assert!(parse("name = ").starts_with("app.toml:1:8: "));
        assert!(parse("").contains("missing field `name`"));
    }
}
