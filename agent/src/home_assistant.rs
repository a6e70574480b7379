//! Tells Home Assistant of each app, by the discovery messages of its MQTT integration.
//!
//! They say where the state of the app is and how to read it; the state itself is what the device says
//! anyway. Source: the integration's documentation, sections "MQTT Discovery" and "MQTT Sensor".

use std::collections::BTreeMap;

use dunlin_core::wire::{
    AppName, Digest, Topic, Topics,
    state::{DeviceState, Phase},
};
use serde::Serialize;

/// What Home Assistant was told.
#[derive(Debug)]
pub(crate) struct Discovery {
    prefix: String,
    /// By topic; nothing where this session was not told yet.
    told: BTreeMap<String, Option<Vec<u8>>>,
}

#[derive(Serialize)]
struct Sensor<'a> {
    name: &'a AppName,
    unique_id: String,
    device_class: &'static str,
    options: [&'static str; Phase::ALL.len()],
    state_topic: &'a str,
    value_template: String,
    json_attributes_topic: &'a str,
    json_attributes_template: String,
    availability_topic: String,
    payload_available: &'static str,
    payload_not_available: &'static str,
    device: Device<'a>,
    origin: Origin<'a>,
}

#[derive(Serialize)]
struct Device<'a> {
    identifiers: [String; 1],
    name: &'a str,
    model: &'static str,
    sw_version: &'a str,
}

#[derive(Serialize)]
struct Origin<'a> {
    name: &'static str,
    sw_version: &'a str,
}

impl Discovery {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix, told: BTreeMap::new() }
    }

    /// A session began: the broker may have forgotten everything.
    pub(crate) fn forget(&mut self) {
        self.told.values_mut().for_each(|told| *told = None);
    }

    /// Retained messages that make an entity of each app of this state, as far as they are not told yet; an
    /// empty one takes an entity away.
    pub(crate) fn news(&mut self, state: &DeviceState, topics: &Topics) -> Vec<(String, Vec<u8>)> {
        let wanted: BTreeMap<_, _> =
            state.apps.iter().filter_map(|app| self.message(state, &app.app, topics)).collect();
        let gone: Vec<_> = self.told.keys().filter(|topic| !wanted.contains_key(*topic)).cloned().collect();
        let mut news: Vec<_> = gone.into_iter().map(|topic| (topic, Vec::new())).collect();
        news.iter().for_each(|(topic, _)| _ = self.told.remove(topic));
        for (topic, payload) in wanted {
            let told = self.told.entry(topic.clone()).or_default();
            if told.as_ref() != Some(&payload) {
                *told = Some(payload.clone());
                news.push((topic, payload));
            }
        }
        news
    }

    fn message(&self, state: &DeviceState, app: &AppName, topics: &Topics) -> Option<(String, Vec<u8>)> {
        let (device, fleet, version) = (&state.device, &state.fleet, state.agent.as_str());
        let state_topic = topics.format(&Topic::State(device.clone()));
        // Names have no character that means something in a template's text.
        let it = format!("value_json.apps | selectattr('app', 'eq', '{app}')");
        let sensor = Sensor {
            name: app,
            unique_id: format!("dunlin_{fleet}_{device}_{app}"),
            device_class: "enum",
            options: Phase::ALL.map(Phase::as_str),
            state_topic: &state_topic,
            // Home Assistant shows `None` as unknown.
            value_template: format!("{{{{ {it} | map(attribute='phase') | first | default('None') }}}}"),
            json_attributes_topic: &state_topic,
            json_attributes_template: format!("{{{{ {it} | first | default({{}}) | tojson }}}}"),
            availability_topic: topics.format(&Topic::Online(device.clone())),
            payload_available: "1",
            payload_not_available: "0",
            device: Device {
                identifiers: [format!("dunlin_{fleet}_{device}")],
                name: device.as_str(),
                model: "Dunlin board",
                sw_version: version,
            },
            origin: Origin { name: "dunlin", sw_version: version },
        };
        let topic = format!("{}/sensor/{}/{}/config", self.prefix, level(device.as_str()), level(app.as_str()));
        // Our own types always have a JSON form.
        serde_json::to_vec(&sensor).ok().map(|payload| (topic, payload))
    }
}

/// A name as a level of a discovery topic, which takes no dots; two names never become one.
fn level(name: &str) -> String {
    if !name.contains('.') {
        return name.into();
    }
    format!("{}_{}", name.replace('.', "_"), &Digest::of(name.as_bytes()).short()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::state::AppState;
    use serde_json::{Value, json};

    /// A state as boards say it: one of core's golden ones.
    fn state() -> DeviceState {
        let golden = include_str!("../core/tests/golden/state.json").lines().last().unwrap();
        let mut state: DeviceState = serde_json::from_str(golden).unwrap();
        state.apps.truncate(1);
        state
    }

    fn topics() -> Topics {
        Topics::new("dunlin/v1", &"flock".parse().unwrap())
    }

    fn rendered(template: &Value, state: &DeviceState) -> String {
        let context = json!({ "value_json": state });
        minijinja::Environment::new().render_str(template.as_str().unwrap(), minijinja::value::Serde(context)).unwrap()
    }

    #[test]
    fn each_app_is_an_entity_that_reads_the_state_as_it_is() {
        let mut discovery = Discovery::new("homeassistant".into());
        let state = state();
        let news = discovery.news(&state, &topics());
        let [(topic, payload)] = &news[..] else { panic!("{news:?}") };
        assert_eq!(topic, "homeassistant/sensor/pi-1/hello/config");
        let sensor: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(sensor["unique_id"], "dunlin_flock_pi-1_hello");
        assert_eq!(sensor["state_topic"], "dunlin/v1/flock/device/pi-1/state");
        assert_eq!(sensor["availability_topic"], "dunlin/v1/flock/device/pi-1/online");
        assert_eq!((&sensor["device"]["name"], &sensor["origin"]["name"]), (&json!("pi-1"), &json!("dunlin")));
        let phase = rendered(&sensor["value_template"], &state);
        assert_eq!(phase, "backing-off");
        assert!(sensor["options"].as_array().unwrap().contains(&json!(phase)));
        let attributes: Value = serde_json::from_str(&rendered(&sensor["json_attributes_template"], &state)).unwrap();
        assert_eq!((&attributes["failures"], &attributes["version"]), (&json!(2), &json!("1.0.0+3")));
        // A state that was cut short has no apps in it.
        let cut = DeviceState { apps: vec![], ..state };
        assert_eq!(rendered(&sensor["value_template"], &cut), "None");
        assert_eq!(rendered(&sensor["json_attributes_template"], &cut), "{}");
    }

    #[test]
    fn only_what_is_new_is_said_and_what_is_gone_is_taken_away() {
        let mut discovery = Discovery::new("ha".into());
        let mut state = state();
        assert_eq!(discovery.news(&state, &topics()).len(), 1);
        state.apps[0].failures = 7;
        assert_eq!(discovery.news(&state, &topics()), [], "how it fares is in its state");
        discovery.forget();
        assert_eq!(discovery.news(&state, &topics()).len(), 1, "a new session is told again");
        state.apps.push(AppState { app: "bell.1".parse().unwrap(), ..state.apps[0].clone() });
        let [(topic, _)] = &discovery.news(&state, &topics())[..] else { panic!("one is new") };
        assert!(topic.starts_with("ha/sensor/pi-1/bell_1_") && !topic.contains('.'), "{topic}");
        discovery.forget();
        state.apps.remove(0);
        let news = discovery.news(&state, &topics());
        assert_eq!(news[0], ("ha/sensor/pi-1/hello/config".into(), Vec::new()), "also what went while it was away");
        assert_eq!(news.len(), 2);
    }
}
