//! One connection to a broker: the only module that knows rumqttc.
//!
//! What rumqttc 0.25 needs, and where it is done:
//! - its `poll` is not cancel-safe: [`poll`] owns it and nothing selects over it; only silence for
//!   twice the keep-alive and 5 s cuts it off, and then the whole event loop is thrown away;
//! - publishing from the task that polls deadlocks: [`send`] is another task;
//! - it drops what was in flight when a connection ends: a session is never reconnected;
//! - it preallocates for 65,535 messages in flight: it is told 16; and for 100 events, 38 KiB, of which few are
//!   ever there: they are given back;
//! - refused subscriptions and publishes are only logged: they are reported here.
//!
//! A broker that keeps no retained messages says so only to who connects without a retained will.

use std::{collections::VecDeque, sync::Arc, sync::Mutex, time::Duration};

use bytes::Bytes;
use dunlin_core::limits;
use rumqttc::{
    NetworkOptions, Outgoing, TlsConfiguration, Transport,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{
                ConnAck, ConnectReturnCode, LastWill, Packet, PubAck, PubAckReason, Publish, SubAck,
                SubscribeReasonCode,
            },
        },
    },
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{Broker, Scheme, TlsError, Will, outbox::Message};

/// Slots that rumqttc keeps for messages in flight: twice what we let be, because it counts
/// subscriptions with the same numbers.
const RUMQTTC_INFLIGHT: u16 = 2 * limits::INFLIGHT_MAX as u16;

/// Requests that rumqttc queues.
const RUMQTTC_REQUESTS: usize = 16;

/// Reports that wait for the driver; when it is full, the broker waits too.
const REPORTS: usize = 16;

/// How long to wait for a connection, in seconds.
const CONNECT_S: u64 = 10;

/// What to do in a session.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(String),
    Unsubscribe(String),
    Publish(Message),
}

/// What happened in a session.
#[derive(Debug)]
pub(super) enum Report {
    Connected(Abilities),
    /// The broker lets nobody in whose will is retained.
    NoRetainedWill,
    Over(String),
    Subscribed {
        filter: String,
        outcome: Result<(), String>,
    },
    Message {
        topic: String,
        payload: Bytes,
    },
    Acknowledged {
        id: u64,
        outcome: Result<(), String>,
    },
}

/// What a broker says of itself when it lets us in (CONNACK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it keeps retained messages.
    pub retain: bool,
    /// The largest packet that it takes, in bytes; no limit known if absent.
    pub packet_bytes_max: Option<u32>,
}

/// One connection. Dropped, it is cut.
#[derive(Debug)]
pub(super) struct Session {
    commands: mpsc::UnboundedSender<Command>,
    reports: mpsc::Receiver<Report>,
    client: AsyncClient,
    poller: JoinHandle<()>,
    sender: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.poller.abort();
        self.sender.abort();
    }
}

/// What was handed to rumqttc and has no packet identifier yet: it gives them out in this order.
#[derive(Debug, Default)]
struct Unnumbered {
    publishes: VecDeque<u64>,
    subscriptions: VecDeque<String>,
}

impl Session {
    /// Begins to connect.
    pub(super) fn open(
        broker: &Broker,
        client_id: &str,
        will: Option<&Will>,
        retain_will: bool,
    ) -> Result<Self, TlsError> {
        let will = will
            .map(|Will { topic, payload }| LastWill::new(topic, payload.clone(), QoS::AtLeastOnce, retain_will, None));
        let options = options(broker, client_id, will)?;
        let (client, mut events) = AsyncClient::new(options, RUMQTTC_REQUESTS);
        events.state.events.shrink_to_fit();
        let (reports_in, reports) = mpsc::channel(REPORTS);
        // Unbounded, but short: at most `INFLIGHT_MAX` publishes, and the subscriptions that a
        // plan's limits allow. Were it bounded, the driver could wait for a queue that waits for it.
        let (commands, commands_out) = mpsc::unbounded_channel();
        let unnumbered = Arc::new(Mutex::new(Unnumbered::default()));
        let poller = tokio::spawn(poll(events, reports_in, Arc::clone(&unnumbered)));
        let sender = tokio::spawn(send(client.clone(), commands_out, unnumbered)).abort_handle();
        Ok(Self { commands, reports, client, poller, sender })
    }

    /// What happened next; after [`Report::Over`] and [`Report::NoRetainedWill`] nothing does.
    pub(super) async fn next(&mut self) -> Report {
        self.reports.recv().await.unwrap_or_else(|| Report::Over("the session is over".into()))
    }

    /// Asks for something; without effect when the session is over.
    pub(super) fn command(&self, command: Command) {
        // A session that ended says so in its last report.
        let _ = self.commands.send(command);
    }

    /// Disconnects in good order.
    pub(super) async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            while let Some(report) = self.reports.recv().await {
                if matches!(report, Report::Over(_)) {
                    break;
                }
            }
        }
    }
}

fn options(broker: &Broker, client_id: &str, will: Option<LastWill>) -> Result<MqttOptions, TlsError> {
    let url = &broker.url;
    let host = match url.scheme {
        Scheme::Mqtt | Scheme::Mqtts => url.host.clone(),
        // For WebSockets rumqttc takes the whole address.
        Scheme::Ws | Scheme::Wss => url.to_string(),
    };
    let mut options = MqttOptions::new(client_id, host, url.port);
    let tls = || broker.tls.client_config().map(TlsConfiguration::Rustls);
    options.set_transport(match url.scheme {
        Scheme::Mqtt => Transport::Tcp,
        Scheme::Mqtts => Transport::Tls(tls()?),
        Scheme::Ws => Transport::Ws,
        Scheme::Wss => Transport::Wss(tls()?),
    });
    options.set_keep_alive(broker.keep_alive);
    options.set_connection_timeout(CONNECT_S);
    let mut network = NetworkOptions::new();
    // Nagle and delayed acknowledgements together cost 44 ms a round trip.
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_S);
    options.set_network_options(network);
    options.set_clean_start(true);
    options.set_max_packet_size(Some(limits::PACKET_BYTES_MAX));
    options.set_outgoing_inflight_upper_limit(RUMQTTC_INFLIGHT);
    if let Some(credentials) = &broker.credentials {
        options.set_credentials(&credentials.user, &credentials.password);
    }
    if let Some(will) = will {
        options.set_last_will(will);
    }
    Ok(options)
}

/// Owns the event loop from its first poll to its end.
async fn poll(mut events: EventLoop, reports: mpsc::Sender<Report>, unnumbered: Arc<Mutex<Unnumbered>>) {
    let mut numbers = Numbers { unnumbered, welcomed: false, publishes: Vec::new(), subscriptions: Vec::new() };
    let ours = events.options.keep_alive();
    let over = loop {
        // The broker may have set another keep-alive than ours; none at all would make rumqttc ping without end.
        if events.options.keep_alive().is_zero() {
            events.options.set_keep_alive(ours);
        }
        let silence = events.options.keep_alive() * 2 + Duration::from_secs(5);
        let event = match timeout(silence, events.poll()).await {
            Err(_) => break Report::Over(format!("the broker was silent for {} s", silence.as_secs())),
            Ok(Err(ConnectionError::ConnectionRefused(ConnectReturnCode::RetainNotSupported))) => {
                break Report::NoRetainedWill;
            }
            Ok(Err(error)) => break Report::Over(say(&error)),
            Ok(Ok(event)) => event,
        };
        match numbers.report(event) {
            Ok(None) => {}
            Ok(Some(report)) => {
                if reports.send(report).await.is_err() {
                    return;
                }
            }
            Err(why) => break Report::Over(why.into()),
        }
    };
    // Nobody listens any more: nobody needs to know.
    let _ = reports.send(over).await;
}

/// Hands commands to rumqttc, which may make it wait.
async fn send(client: AsyncClient, mut commands: mpsc::UnboundedReceiver<Command>, unnumbered: Arc<Mutex<Unnumbered>>) {
    while let Some(command) = commands.recv().await {
        let sent = match command {
            Command::Subscribe(filter) => {
                lock(&unnumbered).subscriptions.push_back(filter.clone());
                client.subscribe(filter, QoS::AtLeastOnce).await
            }
            Command::Unsubscribe(filter) => client.unsubscribe(filter).await,
            Command::Publish(message) => {
                lock(&unnumbered).publishes.push_back(message.id);
                client.publish(message.topic, QoS::AtLeastOnce, message.retain, message.payload).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Which packet identifier stands for what.
struct Numbers {
    unnumbered: Arc<Mutex<Unnumbered>>,
    welcomed: bool,
    publishes: Vec<(u16, u64)>,
    subscriptions: Vec<(u16, String)>,
}

impl Numbers {
    fn report(&mut self, event: Event) -> Result<Option<Report>, &'static str> {
        Ok(match event {
            Event::Outgoing(Outgoing::Publish(number)) => {
                let id = lock(&self.unnumbered).publishes.pop_front();
                self.publishes.extend(id.map(|id| (number, id)));
                None
            }
            Event::Outgoing(Outgoing::Subscribe(number)) => {
                let filter = lock(&self.unnumbered).subscriptions.pop_front();
                self.subscriptions.extend(filter.map(|filter| (number, filter)));
                None
            }
            // Each one makes us subscribe and send anew: a second is a broker's mischief (MQTT-3.2.0-2).
            Event::Incoming(Packet::ConnAck(_)) if self.welcomed => return Err("the broker accepted us twice"),
            Event::Incoming(Packet::ConnAck(connack)) => {
                self.welcomed = true;
                Some(Report::Connected(abilities(&connack)))
            }
            Event::Incoming(Packet::Publish(publish)) => Some(message(publish)?),
            Event::Incoming(Packet::PubAck(ack)) => self.acknowledged(&ack),
            Event::Incoming(Packet::SubAck(ack)) => self.subscribed(&ack),
            Event::Incoming(_) | Event::Outgoing(_) => None,
        })
    }

    fn acknowledged(&mut self, ack: &PubAck) -> Option<Report> {
        let index = self.publishes.iter().position(|(number, _)| *number == ack.pkid)?;
        let (_, id) = self.publishes.remove(index);
        let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        let outcome = if taken { Ok(()) } else { Err(format!("the broker refuses it: {:?}", ack.reason)) };
        Some(Report::Acknowledged { id, outcome })
    }

    fn subscribed(&mut self, ack: &SubAck) -> Option<Report> {
        let index = self.subscriptions.iter().position(|(number, _)| *number == ack.pkid)?;
        let (_, filter) = self.subscriptions.remove(index);
        let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
        let outcome = refused.map_or(Ok(()), |code| Err(format!("the broker refuses it: {code:?}")));
        Some(Report::Subscribed { filter, outcome })
    }
}

fn message(publish: Publish) -> Result<Report, &'static str> {
    // We allow none; rumqttc would remember 65,535 topics of any length.
    let aliased = publish.properties.as_ref().is_some_and(|p| p.topic_alias.is_some());
    if aliased {
        return Err("the broker uses topic aliases, which it was not offered");
    }
    let topic = String::from_utf8(publish.topic.to_vec()).map_err(|_| "the broker sent a topic that is not UTF-8")?;
    Ok(Report::Message { topic, payload: publish.payload })
}

fn abilities(connack: &ConnAck) -> Abilities {
    let properties = connack.properties.as_ref();
    Abilities {
        retain: properties.and_then(|p| p.retain_available) != Some(0),
        packet_bytes_max: properties.and_then(|p| p.max_packet_size),
    }
}

fn say(error: &ConnectionError) -> String {
    if let ConnectionError::Timeout(_) = error {
        return format!("the broker did not answer within {CONNECT_S} s");
    }
    if let ConnectionError::ConnectionRefused(code) = error {
        let refused = format!("the broker refuses the connection: {code:?}");
        if matches!(code, ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword) {
            return format!("{refused}; does it know this user and password, and was it reloaded since?");
        }
        return refused;
    }
    error.to_string()
}

fn lock(unnumbered: &Mutex<Unnumbered>) -> std::sync::MutexGuard<'_, Unnumbered> {
    // Two queues cannot be left half-changed by a panic.
    unnumbered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
