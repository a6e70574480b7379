use super::*;

const HEAD: &str = "name = \"hello\"\nversion = \"1.0.0\"\nmodule = \"hello.wasm\"\n";

fn parse(rest: &str) -> Result<App> {
    App::parse(Path::new("apps/app.toml"), &format!("{HEAD}{rest}"))
}

#[test]
fn the_smallest_file_asks_for_nothing() {
    let app = parse("").unwrap();
    assert_eq!(app.module, Path::new("apps/hello.wasm"));
    assert_eq!((app.asks, app.health, app.restart), (Asks::default(), Health::default(), Restart::Always));
}

#[test]
fn the_whole_file_becomes_what_it_says() {
    let app = parse(
        r#"
        publish = ["8080:7878", "9000", 9001, "5353:53/udp"]
        nonblocking = true
        connect = ["DB.example:5432", "10.0.0.0/8:*"]
        resolve = true
        data = "1MiB"
        directories = ["media", "music:rw"]
        topics-out = ["temperature", "alarm"]
        topics-in = ["set-point"]
        env = { GREETING = "Hello" }
        required-env = ["ADMIN"]
        args = ["-v", "x y"]
        free-args = true
        urls = ["https://b/{app}/{version}/{sha256}"]
        memory = "4MiB"
        restart = "on-failure"
        start = "on-demand"
        idle = "5m"
        trial = "0s"
        drain = "30s"
        [health]
        http = "/well"
        port = 9000
        status = 204
        interval = "5s"
        timeout = "500ms"
        start = "1m"
        successes = 2
        failures = 5
        "#,
    )
    .unwrap();
    let listen = |guest, host| Listen { guest, host, protocol: Protocol::Tcp, nonblocking: true };
    let dns = Listen { protocol: Protocol::Udp, ..listen(53, Some(5353)) };
    assert_eq!(app.asks.listen, [listen(7878, Some(8080)), listen(9000, None), listen(9001, None), dns]);
    assert_eq!(app.asks.connect.iter().map(Reach::as_str).collect::<Vec<_>>(), ["db.example:5432", "10.0.0.0/8:*"]);
    assert!(app.asks.resolve);
    assert_eq!(app.asks.data_bytes, 1 << 20);
    let mount = |name: &str, write| Mount { name: name.parse().unwrap(), write };
    assert_eq!(app.asks.mounts, [mount("media", false), mount("music", true)]);
    let names = |topics: &[TopicName]| topics.iter().map(TopicName::to_string).collect::<Vec<_>>();
    assert_eq!(names(&app.asks.topics_out), ["temperature", "alarm"]);
    assert_eq!(names(&app.asks.topics_in), ["set-point"]);
    let env = [("ADMIN".parse().unwrap(), None), ("GREETING".parse().unwrap(), Some("Hello".into()))];
    assert_eq!(app.asks.env, env);
    assert_eq!(app.asks.args, ["-v", "x y"]);
    assert!(app.asks.free_args);
    assert_eq!(app.urls, ["https://b/{app}/{version}/{sha256}"], "filled in when it is released");
    assert_eq!(app.asks.memory_bytes, 4 << 20);
    assert_eq!(app.restart, Restart::OnFailure);
    assert_eq!((app.start, app.trial_ms, app.drain_ms), (Start::OnDemand { idle_ms: 300_000 }, 0, 30_000));
    let probe = Probe::Http { port: 9000, path: "/well".into(), status: 204 };
    let health = Health { probe, interval_ms: 5_000, timeout_ms: 500, successes: 2, failures: 5, start_ms: 60_000 };
    assert_eq!(app.health, health);
}

#[test]
fn health_checks_take_what_they_need_from_publish() {
    let http = parse("publish = [\"1:7878\"]\n[health]\nhttp = \"/\"").unwrap();
    assert_eq!(http.health.probe, Probe::Http { port: 7878, path: "/".into(), status: 200 });
    let tcp = parse("publish = [\"1:7878\"]\n[health]\ntcp = 7878").unwrap();
    assert_eq!(tcp.health.probe, Probe::Tcp { port: 7878 });
    assert_eq!(parse("[health]\nfailures = 1").unwrap().health.probe, Probe::Up);
}

#[test]
fn a_table_of_variables_is_the_same_as_an_inline_one() {
    assert_eq!(parse("env = { A = \"1\" }").unwrap(), parse("[env]\nA = \"1\"").unwrap());
}

#[test]
fn every_mistake_has_its_place_and_its_name() {
    for (rest, why) in [
        ("pubish = []", "apps/app.toml:4:1: unknown field `pubish`, expected one of `name`, `version`"),
        ("publish = [\"8080:0\"]", ":4:12: \"0\" is not a port"),
        ("publish = [\"8080-7878\"]", ":4:12: \"8080-7878\" is not a port"),
        ("publish = [\"1:2/sctp\"]", ":4:12: \"sctp\" is neither tcp nor udp"),
        ("publish = [\"1:2/udp\"]\n[health]\ntcp = 2", ":6:7: the app does not listen on 2"),
        ("connect = [\"db.example\"]", ":4:12: \"db.example\" is not HOST:PORT"),
        ("connect = [\"a:1\", \"A:1\"]", ":4:19: a:1 is there twice"),
        ("directories = [\"a/b\"]", ":4:15: \"a/b\" is not a directory's name"),
        ("directories = [\"a:x\"]", ":4:15: \"a:x\" is not NAME, NAME:ro or NAME:rw"),
        ("directories = [\"a\", \"a:rw\"]", ":4:21: a is there twice"),
        ("data = \"1MiB\"\ndirectories = [\"data\"]", ":5:16: data is the app's own directory"),
        ("topics-out = [\"a\", \"a\"]", ":4:20: a is there twice"),
        ("topics-in = [\"a/b\"]", ":4:13: \"a/b\" is not a topic's name"),
        ("publish = [\"1:70000\"]", ":4:12: \"70000\" is not a port"),
        ("publish = [\"1:2\",\n\"3:2\"]", ":5:1: the app listens on 2 twice"),
        ("publish = [\"1:2\", \"1:3\"]", ":4:19: the board's port 1 is given twice"),
        ("memory = \"4 megs\"", ":4:10: \"4 megs\" is not a size"),
        ("memory = \"0B\"", ":4:10: 0 bytes of memory"),
        ("memory = \"5GiB\"", "at most 4GiB"),
        ("memory = 4", ":4:10: "),
        ("urls = [\"ftp://b\"]", ":4:9: \"ftp://b\" is not an http:// or https:// URL"),
        ("urls = [\"https://me:secret@b\"]", "without a user"),
        ("restart = \"sometimes\"", ":4:11: unknown variant `sometimes`, expected one of `always`, `on-failure`"),
        ("env = { \"A B\" = \"x\" }", "\"A B\" is not an environment variable's name"),
        ("env = { A = \"\\u0000\" }", ":4:13: a text with a NUL in it"),
        ("required-env = [\"A\"]\nenv = { A = \"x\" }", ":4:17: A is there twice"),
        ("[health]\nhttp = \"/\"", ":5:8: a check over HTTP, but publish is empty"),
        ("publish = [\"1:2\"]\n[health]\nhttp = \"x\"", ":6:8: \"x\" is not a path"),
        ("publish = [\"1:2\"]\n[health]\nhttp = \"/\"\nport = 3", ":7:8: the app does not listen on 3"),
        ("publish = [\"1:2\"]\n[health]\nhttp = \"/\"\nstatus = 1000", ":7:10: a status is 100 to 599"),
        ("[health]\ntcp = 3", ":5:7: the app does not listen on 3"),
        ("publish = [\"1:2\"]\n[health]\ntcp = 2\nhttp = \"/\"", ":6:7: http and tcp are two checks"),
        ("publish = [\"1:2\"]\n[health]\ntcp = 2\nport = 2", ":7:8: port goes with http"),
        ("[health]\nstatus = 200", ":5:10: status goes with http"),
        ("[health]\ninterval = \"0s\"", ":5:12: a time that is too short"),
        ("[health]\nstart = \"60d\"", ":5:9: a time that is too long"),
        ("[health]\nfailures = 0", ":5:12: failures is 1 or more"),
        ("[health]\nsuccesses = 0", ":5:13: successes is 1 or more"),
        ("idle = \"1m\"", ":4:8: idle goes with start = \"on-demand\" only"),
        ("start = \"on-demand\"", "publish has no TCP port"),
        ("trial = \"60d\"", ":4:9: a time that is too long"),
        ("[health]\nretries = 1", ":5:1: unknown field `retries`"),
    ] {
        let error = format!("{:#}", parse(rest).unwrap_err());
        assert!(error.contains(why) && error.starts_with("apps/app.toml:"), "{rest}: {error}");
    }
    let error = App::parse(Path::new("app.toml"), "name = \"x\"\nversion = \"1\"").unwrap_err();
    assert!(error.to_string().contains("missing field `module`"), "{error}");
}

#[test]
fn lists_and_texts_have_the_bounds_of_the_documents() {
    let args = |count| format!("args = [{}]", "\"x\",".repeat(count));
    assert!(parse(&args(limits::LIST_MAX)).is_ok());
    let error = parse(&args(limits::LIST_MAX + 1)).unwrap_err().to_string();
    assert!(error.contains("65 arguments: at most 64 can be"), "{error}");
    let topics = |count| {
        let names = (0..count).map(|number| format!("\"t{number}\"")).collect::<Vec<_>>();
        format!("topics-in = [{}]", names.join(", "))
    };
    assert!(parse(&topics(limits::TOPICS_IN_MAX)).is_ok());
    let error = parse(&topics(limits::TOPICS_IN_MAX + 1)).unwrap_err().to_string();
    assert!(error.contains("17 topics to hear: at most 16 can be"), "{error}");
    let long = format!("args = [\"{}\"]", "x".repeat(limits::TEXT_BYTES_MAX + 1));
    assert!(parse(&long).unwrap_err().to_string().contains(":4:9: 4097 bytes of text"));
}

#[test]
fn the_examples_in_readme_are_some() {
    let readme = include_str!("../../../README.md");
    let block = |first: &str| {
        let mut blocks = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        blocks.find(|block| block.starts_with(first)).unwrap()
    };
    let app = App::parse(Path::new("app.toml"), block("name = \"hello\"")).unwrap();
    assert_eq!((app.name.as_str(), app.asks.listen.len()), ("hello", 1));
    assert!(matches!(app.start, Start::OnDemand { .. }));
    let instances = App::parse(Path::new("app.toml"), &format!("{HEAD}{}", block("memory = \"16MiB\""))).unwrap();
    assert!(instances.instances.is_some());
    let agent = App::parse(Path::new("agent.toml"), block("# agent.toml")).unwrap();
    assert_eq!(agent.name.agent_target(), Some("aarch64-unknown-linux-gnu"));
}
