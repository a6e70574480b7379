//! `explain`: what a refusal's code means.

use anyhow::Result;
use dunlin_core::Code;
use serde::Serialize;

use crate::{cli::ExplainArgs, say};

/// What `--json` prints of each.
#[derive(Serialize)]
struct Row {
    code: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

/// Says what a code means, or all of them.
pub(crate) fn run(args: &ExplainArgs) -> Result<()> {
    let row = |code: &Code| Row { code: code.as_str(), meaning: code.meaning(), remedy: code.remedy() };
    let rows: Vec<_> = Code::ALL.iter().filter(|code| args.code.is_none_or(|one| one == **code)).map(row).collect();
    if args.json {
        return say::json(&rows);
    }
    for (index, Row { code, meaning, remedy }) in rows.iter().enumerate() {
        let before = if index > 0 { "\n" } else { "" };
        say::result(format_args!(
            "{before}{}\n  refused: {meaning}\n  to do:   {remedy}",
            say::styled(say::HEAD, code)
        ))?;
    }
    Ok(())
}
