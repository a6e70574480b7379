//! What README says is what the programs do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

use dunlin::config::Config;
use dunlin_core::Code;

const README: &str = include_str!("../../README.md");

#[test]
fn every_refusal_code_is_explained_in_order() {
    let row = |code: &Code| format!("| `{code}` | {} | {} |\n", code.meaning(), code.remedy());
    let table: String = Code::ALL.iter().map(row).collect();
    assert!(README.contains(&table), "README's table of codes is to be:\n{table}");
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

#[test]
fn the_examples_of_doors_are_some() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("secrets/door"), "0123456789abcdef\n").unwrap();
    let path = dir.path().join("agent.toml");
    let blocks = README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let doors = blocks.filter(|block| block.starts_with("[door]") || block.starts_with("[front]")).map(|door| {
        let text = format!("device = \"pi-1\"\nroot = \"root.dunlin\"\n[broker]\nurl = \"mqtt://b\"\n{door}");
        std::fs::write(&path, text.replace("# with key = \"secrets/front.key\": TLS", "\nkey = \"secrets/front.key\""))
            .unwrap();
        let config = Config::load(&path).unwrap();
        (config.door.is_some_and(|door| door.places.len() == 2 && door.token.is_some()), config.front.is_some())
    });
    assert_eq!(doors.collect::<Vec<_>>(), [(true, false), (false, true)]);
}

#[test]
fn the_example_that_packages_bring_is_one_with_and_without_what_is_commented_out() {
    let example = include_str!("../../cross/debian/agent.toml");
    // Its first two lines are about itself.
    let all = example.lines().skip(2).map(|line| line.strip_prefix("# ").unwrap_or(line));
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("secrets/password"), "secret\n").unwrap();
    std::fs::write(dir.path().join("secrets/door"), "0123456789abcdef\n").unwrap();
    let path = dir.path().join("agent.toml");
    for text in [example.into(), all.collect::<Vec<_>>().join("\n")] {
        std::fs::write(&path, &text).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.directories.is_empty(), text == example);
    }
}
