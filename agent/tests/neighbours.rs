//! What neighbours read: the schemas, Telegraf's example and Home Assistant's messages, each held against what a
//! real agent says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use boon::{Compiler, SchemaIndex, Schemas};
use common::{Board, Fleet, Operator, broker, device, release};
use dunlin::{
    link::{Event, Link},
    store::Disk,
};
use dunlin_core::{
    Code,
    wire::{Topic, state::Phase},
};
use dunlin_guests::HELLO;
use serde_json::{Value, json};

const STATE: &str = include_str!("../neighbours/state.schema.json");
const EVENT: &str = include_str!("../neighbours/event.schema.json");
const TELEGRAF: &str = include_str!("../neighbours/telegraf.conf");

/// States and events in which every field says something, as core's own tests hold them.
const STATES: &str = include_str!("../core/tests/golden/state.json");
const EVENTS: &str = include_str!("../core/tests/golden/event.json");

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A schema that is held against values.
struct Schema {
    all: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new(schema: Value) -> Self {
        let (mut compiler, mut all) = (Compiler::new(), Schemas::new());
        compiler.add_resource("schema.json", schema).unwrap();
        let index = compiler.compile("schema.json", &mut all).unwrap();
        Self { all, index }
    }

    /// What is wrong with a value, if anything.
    fn wrong(&self, value: &Value) -> Option<String> {
        self.all.validate(value, self.index).err().map(|error| format!("{error:#}"))
    }
}

/// The schema as it is, and one by which fields that it does not name are wrong: so none is forgotten in it.
fn schemas(text: &str) -> [Schema; 2] {
    let mut strict = parsed(text);
    tighten(&mut strict);
    [parsed(text), strict].map(Schema::new)
}

fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("type") == Some(&json!("object")) && !fields.contains_key("additionalProperties") {
                fields.insert("unevaluatedProperties".into(), json!(false));
            }
            fields.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn fits(schemas: &[Schema; 2], value: &Value) {
    for schema in schemas {
        let wrong = schema.wrong(value);
        assert_eq!(wrong, None, "{value:#}");
    }
}

#[test]
fn the_schemas_describe_every_field_of_states_and_events() {
    for (schema, values) in [(STATE, STATES), (EVENT, EVENTS)] {
        values.lines().map(parsed).for_each(|value| fits(&schemas(schema), &value));
    }
    fits(&schemas(EVENT), &json!({ "device": "pi-1", "at": 1, "event": "root", "version": 2 }));
}

#[test]
fn the_schemas_let_more_through_and_nothing_else() {
    let whole = parsed(STATES.lines().last().unwrap());
    let [schema, strict] = schemas(STATE);
    let more = |change: fn(&mut Value)| {
        let mut value = whole.clone();
        change(&mut value);
        value
    };
    let novel = more(|value| value["novelty"] = json!(1));
    assert!(schema.wrong(&novel).is_none() && strict.wrong(&novel).is_some(), "fields may be added");
    for wrong in [
        more(|value| value["device"] = json!("a/b")),
        more(|value| value["apps"][0]["phase"] = json!("happy")),
        more(|value| value["apps"][0]["release"] = json!("abc")),
        more(|value| value["plan"] = json!({ "sequence": 0, "digest": "" })),
        more(|value| value["at"] = json!("now")),
        more(|value| _ = value.as_object_mut().unwrap().remove("apps")),
    ] {
        assert!(schema.wrong(&wrong).is_some(), "{wrong:#}");
    }
    let [schema, _] = schemas(EVENT);
    assert!(schema.wrong(&json!({ "device": "pi-1", "at": 1, "event": "accepted" })).is_some());
    assert!(
        schema.wrong(&json!({ "device": "pi-1", "at": 1, "event": "app", "app": "a", "phase": "running" })).is_some()
    );
}

#[test]
fn the_schemas_know_every_phase_and_code() {
    for schema in [parsed(STATE), parsed(EVENT)] {
        assert_eq!(schema["$defs"]["phase"]["enum"], json!(Phase::ALL.map(Phase::as_str)));
        assert_eq!(schema["$defs"]["code"]["enum"], json!(Code::ALL.map(Code::as_str)));
    }
}

#[tokio::test]
async fn what_an_agent_says_fits_the_schemas() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let _board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let hello = release("hello", 1, HELLO.bytes, Some(common::free_port()));
    operator.release(&fleet, &hello, HELLO.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
    let (states, events) = (schemas(STATE), schemas(EVENT));
    operator
        .message("hello runs", &Topic::Event(device()), |payload| {
            let event = serde_json::from_slice::<Value>(payload).unwrap();
            fits(&events, &event);
            event["phase"] == "running"
        })
        .await;
    operator.plan(&fleet, &fleet.plan(2, &[&hello])).await;
    operator
        .message("hello runs by plan 2", &Topic::State(device()), |payload| {
            let state = serde_json::from_slice::<Value>(payload).unwrap();
            fits(&states, &state);
            state["plan"]["sequence"] == 2 && state["apps"][0]["phase"] == "running"
        })
        .await;
}

/// The value at one of GJSON's paths, as far as Telegraf's example needs them: names joined by dots.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

#[test]
fn telegraf_finds_what_it_looks_for() {
    let state = parsed(STATES.lines().last().unwrap());
    let config: toml::Table = toml::from_str(TELEGRAF).unwrap();
    let inputs = config["inputs"]["mqtt_consumer"].as_array().unwrap();
    let text = |table: &toml::Value, key: &str| table[key].as_str().unwrap().to_owned();
    let list = |table: &toml::Value, key: &str| -> BTreeSet<String> {
        table[key].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let topics = dunlin_core::wire::Topics::new("dunlin/v1", &"flock".parse().unwrap());
    let mut measurements = Vec::new();
    for input in inputs {
        let leaf = match input.get("json_v2") {
            Some(_) => dunlin_core::wire::topic::DeviceLeaf::State,
            None => dunlin_core::wire::topic::DeviceLeaf::Online,
        };
        assert_eq!(list(input, "topics"), [topics.every_device(leaf)].into());
        for parser in input.get("json_v2").and_then(toml::Value::as_array).into_iter().flatten() {
            measurements.push(text(parser, "measurement_name"));
            assert!(at(&state, &text(parser, "timestamp_path")).unwrap().is_u64());
            for kind in ["tag", "field"] {
                for item in parser.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
                    let value = at(&state, &text(item, "path")).unwrap_or_else(|| panic!("{item:?}"));
                    assert!(!value.is_object() && !value.is_array(), "{item:?}");
                }
            }
            for object in parser.get("object").and_then(toml::Value::as_array).into_iter().flatten() {
                let items = at(&state, &text(object, "path")).unwrap().as_array().unwrap();
                let keys: BTreeSet<_> =
                    items.iter().flat_map(|item| item.as_object().unwrap().keys().cloned()).collect();
                let (included, tags) = (list(object, "included_keys"), list(object, "tags"));
                assert!(included.is_subset(&keys) && tags.is_subset(&included), "{included:?} {keys:?}");
            }
        }
    }
    assert_eq!(measurements, ["dunlin_app", "dunlin_device"]);
    // A topic has as many levels as its parts are named.
    let parsing = &inputs[2]["topic_parsing"][0];
    let levels = |text: String| text.split('/').count();
    let online = topics.format(&Topic::Online(device()));
    assert_eq!(
        (levels(text(parsing, "topic")), levels(text(parsing, "tags"))),
        (levels(online.clone()), levels(online))
    );
}

#[tokio::test]
async fn home_assistant_is_told_of_each_app_where_the_owner_wants_it() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let state = tempfile::tempdir().unwrap();
    let home = |config: &mut dunlin::config::Config| config.home_assistant = Some("homeassistant".into());
    let _board = Board::start_with(Disk::default(), state, &fleet, &broker, home);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut link = Link::new(broker.clone(), "home-assistant", None);
    let hello = release("hello", 1, HELLO.bytes, Some(common::free_port()));
    operator.release(&fleet, &hello, HELLO.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
    let mut heard = async || loop {
        match link.next().await {
            Event::Connected(_) => link.subscribe("homeassistant/#"),
            Event::Message { topic, payload } => return (topic, payload),
            Event::Subscribed { .. } | Event::Acknowledged(_) => {}
            event @ (Event::Disconnected { .. } | Event::Undeliverable { .. }) => panic!("{event:?}"),
        }
    };
    let limit = Duration::from_secs(60);
    let (topic, payload) = common::within(heard(), limit).await.expect("it is told");
    assert_eq!(topic, "homeassistant/sensor/pi-1/hello/config");
    let sensor = parsed(std::str::from_utf8(&payload).unwrap());
    assert_eq!(sensor["unique_id"], "dunlin_flock_pi-1_hello");
    assert_eq!(sensor["state_topic"], fleet.topics().format(&Topic::State(device())));
    operator.plan(&fleet, &fleet.plan(2, &[])).await;
    let (topic, payload) = common::within(heard(), limit).await.expect("it is told");
    assert_eq!((topic.as_str(), payload.len()), ("homeassistant/sensor/pi-1/hello/config", 0), "and when it is gone");
}
