//! `--to`: which devices, as people write it.
//!
//! ```text
//! selector = term *("," term)                      all must hold
//! term     = key "=" value | key "in" "(" value *("," value) ")"
//! key      = "device", which is the device's id, or a label's key
//! ```

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use dunlin_core::wire::{Selector, Term};

/// The key that stands for a device's id.
const DEVICE: &str = "device";

/// What all of these texts together select; without any, every device.
pub(crate) fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Selector> {
    let mut terms = Vec::new();
    for text in texts {
        let text = text.as_ref();
        let parsed: Result<Vec<_>> = split(text).and_then(|parts| parts.into_iter().map(term).collect());
        terms.extend(parsed.with_context(|| format!("--to {text:?}"))?);
    }
    let mut keys = BTreeSet::new();
    for (key, _) in &terms {
        ensure!(keys.insert(*key), "--to: {key} is there twice: for any of several values write {key} in (a, b)");
    }
    let terms = terms.into_iter().map(|(key, values)| make(key, &values)).collect::<Result<_>>()?;
    Ok(normal(&Selector(terms)))
}

/// The same selector in the one form that compares: terms and values sorted, nothing twice.
pub(crate) fn normal(selector: &Selector) -> Selector {
    fn sorted<T: Ord + Clone>(values: &[T]) -> Vec<T> {
        values.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
    let mut terms: Vec<_> = selector
        .0
        .iter()
        .map(|term| match term {
            Term::Device(ids) => Term::Device(sorted(ids)),
            Term::Label(key, values) => Term::Label(key.clone(), sorted(values)),
        })
        .collect();
    terms.sort_by_key(|term| match term {
        Term::Device(_) => None,
        Term::Label(key, _) => Some(key.clone()),
    });
    terms.dedup();
    Selector(terms)
}

/// As it is written: what [`parse`] takes.
pub(crate) fn show(selector: &Selector) -> String {
    if selector.0.is_empty() {
        return "every device".into();
    }
    terms(selector).join(",")
}

/// Each of its terms, as it is written; none mean every device.
pub(crate) fn terms(selector: &Selector) -> Vec<String> {
    fn one<K: std::fmt::Display, V: std::fmt::Display>(key: K, values: &[V]) -> String {
        match values {
            [value] => format!("{key}={value}"),
            values => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                format!("{key} in ({})", values.join(", "))
            }
        }
    }
    selector
        .0
        .iter()
        .map(|term| match term {
            Term::Device(ids) => one(DEVICE, ids),
            Term::Label(key, values) => one(key, values),
        })
        .collect()
}

/// Cuts at the commas that are not in parentheses.
fn split(text: &str) -> Result<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => bail!("a {c:?} too many"),
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    ensure!(!inside, "a ')' is missing");
    parts.push(&text[start..]);
    Ok(parts)
}

/// One condition: its key and its values.
fn term(text: &str) -> Result<(&str, Vec<&str>)> {
    let text = text.trim();
    if let Some((key, value)) = text.split_once('=') {
        return Ok((key.trim(), vec![value.trim()]));
    }
    let list = text.strip_suffix(')').and_then(|text| text.split_once('('));
    let list = list.and_then(|(left, values)| {
        let key = left.trim_end().strip_suffix("in")?;
        key.ends_with(char::is_whitespace).then(|| (key.trim(), values.split(',').map(str::trim).collect()))
    });
    list.with_context(|| format!("{text:?} is no condition: write key=value, key in (a, b) or device=ID"))
}

fn make(key: &str, values: &[&str]) -> Result<Term> {
    fn all<T: std::str::FromStr>(values: &[&str]) -> Result<Vec<T>, T::Err> {
        values.iter().map(|value| value.parse()).collect()
    }
    if key == DEVICE {
        return Ok(Term::Device(all(values).context("--to")?));
    }
    Ok(Term::Label(key.parse().context("--to")?, all(values).context("--to")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_selected_and_shown() {
        for (texts, shown) in [
            (&[][..], "every device"),
            (&["site=kitchen"], "site=kitchen"),
            (&[" site = kitchen "], "site=kitchen"),
            (&["site in (hall,kitchen)"], "site in (hall, kitchen)"),
            (&["site in ( kitchen , hall, hall )"], "site in (hall, kitchen)"),
            (&["site in (hall)"], "site=hall"),
            (&["site in(hall)"], "site=hall"),
            (&["model=zero2,device in (pi-2, pi-1)"], "device in (pi-1, pi-2),model=zero2"),
            (&["model=zero2", "device=pi-1"], "device=pi-1,model=zero2"),
            (&["inn=x"], "inn=x"),
        ] {
            let selector = parse(texts).unwrap();
            assert_eq!(show(&selector), shown, "{texts:?}");
            if !selector.0.is_empty() {
                assert_eq!(parse(&[show(&selector)]).unwrap(), selector, "it reads what it shows");
                assert_eq!(parse(&terms(&selector)).unwrap(), selector, "and each of its terms");
            }
        }
        let device = parse(&["device=pi-1"]).unwrap();
        assert_eq!(device.0, [Term::Device(["pi-1".parse().unwrap()].into())]);
        let label = parse(&["site in (a, b)"]).unwrap();
        let values = ["a".parse().unwrap(), "b".parse().unwrap()].into();
        assert_eq!(label.0, [Term::Label("site".parse().unwrap(), values)]);
    }

    #[test]
    fn what_is_no_selector_says_why() {
        for (texts, why) in [
            (&[""][..], "is no condition"),
            (&["kitchen"], "\"kitchen\" is no condition: write key=value"),
            (&["site=a,"], "is no condition"),
            (&["site=a b"], "\"a b\" is not a label's value"),
            (&["site="], "is not a label's value"),
            (&["=a"], "is not a label's key"),
            (&["site in (a"], "a ')' is missing"),
            (&["site in a)"], "a ')' too many"),
            (&["site in ((a))"], "a '(' too many"),
            (&["site in ()"], "is not a label's value"),
            (&["sitein (a)"], "is no condition"),
            (&["device=a/b"], "is not a device's id"),
            (&["site=a,site=b"], "site is there twice: for any of several values write site in (a, b)"),
            (&["site=a", "site=b"], "site is there twice"),
        ] {
            let error = format!("{:#}", parse(texts).unwrap_err());
            assert!(error.contains(why), "{texts:?}: {error}");
        }
    }
}
