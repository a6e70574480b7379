//! What README says is what the programs do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

use dunlin::config::Config;
use dunlin_core::Code;

const README: &str = include_str!("../../README.md");

#[test]
fn every_refusal_code_is_explained_in_order() {
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let listed: Vec<_> =
        rows.map(|(code, _)| code).filter(|code| Code::ALL.iter().any(|c| c.as_str() == *code)).collect();
    assert_eq!(listed, Code::ALL.map(Code::as_str));
}

#[test]
fn the_example_of_a_boards_configuration_is_one() {
    let blocks = README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let example = blocks.into_iter().find(|block| block.contains("agent.toml")).expect("an example");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, example).unwrap();
    std::fs::write(dir.path().join("password"), "secret\n").unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.device.as_str(), "pi-kitchen-1");
    assert_eq!(config.broker.credentials.unwrap().password, "secret");
}
