//! Every bound there is, with its reason. Nothing else in the project invents one.

/// Bytes of one chunk of a module, as `dunlinctl release` cuts it.
///
/// 48 KiB and its topic fit every broker's limit that we know of, retained messages included
/// (Azure Event Grid retains at most 64 KB, AWS IoT carries at most 128 KB).
pub const CHUNK_BYTES: u32 = 48 * 1024;

/// Bytes of the smallest chunk that a release may use, its last one aside.
///
/// Smaller ones would make a release's list of hashes longer than a message may be.
pub const CHUNK_BYTES_MIN: u32 = 1024;

/// Bytes of an encoded envelope: one MQTT message, with room for its topic and properties.
///
/// The release of a module of [`MODULE_BYTES_MAX`] lists 1,366 chunk hashes, 43 KiB.
pub const ENVELOPE_BYTES_MAX: usize = 60 * 1024;

/// Bytes of one MQTT packet that an agent accepts, told to the broker in CONNECT.
///
/// A chunk and 16 KiB for everything around it. A larger packet ends the connection.
pub const PACKET_BYTES_MAX: u32 = CHUNK_BYTES + 16 * 1024;

/// Bytes of a module. A Go program is 4 MiB, a JavaScript engine with its script 12 MiB.
pub const MODULE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Signatures in one envelope: a root may need a whole role of its predecessor and a whole one of its own.
pub const SIGNATURES_MAX: usize = 2 * ROLE_KEYS_MAX;

/// Keys in one role.
pub const ROLE_KEYS_MAX: usize = 16;

/// Release roles (keys limited to some apps) in one root.
pub const RELEASE_ROLES_MAX: usize = 64;

/// Entries in each list of a root: revoked digests, security floors.
pub const ROOT_LIST_MAX: usize = 256;

/// Assignments in one plan: apps, times the groups of devices that run different releases of them.
pub const ASSIGNMENTS_MAX: usize = 256;

/// Assignments of one plan that are being rolled out.
pub const ROLLOUTS_MAX: usize = 64;

/// Waves of one rollout. By doubling, sixteen lead from one device to thirty thousand.
pub const WAVES_MAX: usize = 16;

/// Restarts since it was last well after which an app that was just ordered is said not to run.
pub const FAILURES_MAX: u32 = 3;

/// Devices that a sentence about failing ones names.
pub const NAMED_MAX: usize = 3;

/// Terms in one selector, and values in one term.
pub const SELECTOR_MAX: usize = 256;

/// Entries in each list of a release or an assignment: ports, environment, arguments, URLs.
pub const LIST_MAX: usize = 64;

/// Bytes of a name: it becomes a topic level and a file's name.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of a host and its ports: a DNS name is at most 253, a range of ports 12.
pub const REACH_BYTES_MAX: usize = 272;

/// Bytes of a text in a document: an argument, an environment value, a path, a URL.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Bytes of linear memory that a guest may use where its release does not say.
pub const GUEST_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of linear memory that any guest may ask for: what a 32-bit address reaches.
pub const GUEST_MEMORY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes that sealing adds to a value: ChaCha20-Poly1305's tag.
pub const SEAL_BYTES: usize = 16;

/// Bytes that one app may keep on a board whose owner does not say.
///
/// Four times a module's usual size, and little even for a card of 8 GB with ten such apps.
pub const DATA_BYTES: u64 = 64 * 1024 * 1024;

/// Chunks asked for at a time. With 48 KiB chunks and a keep-alive of 30 s it holds down to
/// 13 KB/s: window x chunk must stay below bandwidth x keep-alive / 2, or the broker's PINGRESP
/// waits behind the data for too long.
pub const TRANSFER_WINDOW: usize = 4;

/// Milliseconds without a chunk after which a device says on `want` what it misses; up to a quarter
/// less by chance, so that boards do not ask as one.
pub const TRANSFER_PATIENCE_MS: u64 = 2_000;

/// Milliseconds that the patience grows to by doubling while nobody answers.
pub const TRANSFER_PATIENCE_MS_MAX: u64 = 60_000;

/// Bytes of a bitmap on `want`: a bit for each of the smallest chunks of the largest module.
pub const WANT_BYTES_MAX: usize = MODULE_BYTES_MAX as usize / CHUNK_BYTES_MIN as usize / 8;

/// Milliseconds in which a depot sends a chunk once, however many want it: who missed it and hears
/// nothing more asks again no sooner.
pub const ANSWER_ONCE_MS: u64 = TRANSFER_PATIENCE_MS - TRANSFER_PATIENCE_MS / 4;

/// Bytes of a bundle: some of the largest modules, or hundreds of usual ones.
pub const BUNDLE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Releases of an app that ran well and are kept: the newest, and the one to go back to.
pub const GOOD_RELEASES_MAX: usize = 2;

/// Milliseconds in which nothing new is written after the disk failed: a full one that is asked again and
/// again would keep a board busy with nothing else.
pub const DISK_REST_MS: u64 = 5_000;

/// Milliseconds before the first restart of an app; doubled each time up to the maximum.
pub const RESTART_MS: u64 = 250;

/// Milliseconds between restarts of an app that keeps failing.
pub const RESTART_MS_MAX: u64 = 60_000;

/// Milliseconds that a release is on trial where its author does not say.
///
/// Long enough for a first look by a health check of the usual interval, short enough to wait for.
pub const TRIAL_MS: u32 = 15_000;

/// Milliseconds that a new agent may take to reach the broker and report where its release does not say.
///
/// Long enough for a board whose line comes back slowly, and so short that the apps of a board that lost
/// touch with it soon have their old agent again.
pub const AGENT_TRIAL_MS: u32 = 120_000;

/// Milliseconds that connections may take to end where the author does not say.
pub const DRAIN_MS: u32 = 5_000;

/// Milliseconds between the last call to connections that are kept and the end of their guest.
pub const LAST_CALL_MS: u64 = 1_000;

/// Milliseconds without a connection after which an app that is started on demand is put away.
pub const IDLE_MS: u32 = 60_000;

/// Last lines of an app's log that are told with its failure.
pub const LAST_LINES: usize = 5;

/// Bytes of each of them that are told: a state is one message.
pub const LAST_LINE_BYTES: usize = 200;

/// Newest lines of each app that a board remembers, for those who look at it: enough to see what happened just now.
pub const RECENT_LINES: usize = 200;

/// Bytes of those lines: with fifty apps that print a lot, 800 KiB.
pub const RECENT_BYTES: usize = 16 * 1024;

/// Connections to one place of a board's door; who comes then waits. A browser holds six.
pub const DOOR_CONNECTIONS_MAX: usize = 64;

/// Connections to one place of the front door: half of the descriptors that a process usually may have, because each
/// has another one to the app.
pub const FRONT_CONNECTIONS_MAX: usize = 256;

/// Milliseconds that the head of a request may take, a pause between two requests, and a TLS handshake.
pub const HTTP_HEAD_MS: u64 = 10_000;

/// Bytes of the head of a request, and of what is read of a body at once.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Milliseconds in which nothing is read of an answer, or nothing comes of a body, after which its connection ends.
pub const HTTP_STALL_MS: u64 = 10_000;

/// Bytes of a request's body that the front door passes on where the owner does not say.
pub const FRONT_BODY_BYTES: u64 = 1024 * 1024;

/// Milliseconds in which an app's port has to be reached: it is on the same board.
pub const FRONT_CONNECT_MS: u64 = 5_000;

/// Milliseconds in which an app has to begin its answer, waking up included.
pub const FRONT_ANSWER_MS: u64 = 60_000;

/// Bytes of the token of a door that is open to the network: 128 bits in hexadecimal are 32, and nobody tries
/// through 16 of any kind.
pub const DOOR_TOKEN_BYTES_MIN: usize = 16;

/// Events that the door shows.
pub const EVENTS_KEPT: usize = 64;

/// Samples of each app's figures that are kept for graphs: five minutes, 5 KiB.
pub const HISTORY_SAMPLES: usize = 150;

/// Milliseconds between two of them.
pub const HISTORY_MS: u64 = 2_000;

/// Milliseconds of good running after which an app's failures are forgotten.
pub const WELL_AFTER_MS: u64 = 60_000;

/// Milliseconds before the first reconnect to a broker; doubled each time up to the maximum.
pub const RECONNECT_MS: u64 = 250;

/// Milliseconds between attempts to reach a broker that stays away.
pub const RECONNECT_MS_MAX: u64 = 60_000;

/// Messages that wait for a broker's acknowledgement. Retained ones replace their older selves,
/// so what fills it are events; the oldest event goes first and its loss is counted.
pub const OUTBOX_MESSAGES_MAX: usize = 256;

/// Messages handed to the broker and not yet acknowledged.
pub const INFLIGHT_MAX: usize = 8;

/// Topics that an app may hear: each is a subscription at every reconnect.
pub const TOPICS_IN_MAX: usize = 16;

/// Bytes of one message that an app publishes or hears. A reading is far less, and what is more is a file.
pub const APP_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Messages that an app may publish a second: ten apps that do so stay below what a slow line carries.
pub const APP_MESSAGES_PER_SECOND: u32 = 10;

/// Messages that an app may publish at once.
pub const APP_MESSAGES_AT_ONCE: u32 = 20;

/// Messages of one app that wait until the outbox takes them, 128 KiB at most; then it is told to wait itself.
pub const APP_MESSAGES_WAITING_MAX: usize = 32;

/// Messages in the outbox up to which apps' messages are put there too. What a board says of itself never has more
/// of theirs before it than this.
pub const APP_OUTBOX_MAX: usize = INFLIGHT_MAX;

/// Messages that wait until an app hears them; of more the oldest goes, and is counted.
pub const APP_INBOX_MAX: usize = 16;

/// Lines that an app may print a second; more are dropped, counted and said.
///
/// A line is some hundred bytes on its way to the log: this keeps a chatty guest below 64 KB/s.
pub const LINES_PER_SECOND: u32 = 200;

/// Lines that an app may print at once, as at its start.
pub const LINES_AT_ONCE: u32 = 1_000;

/// Bytes of one line of an app's output; a longer one is cut into several.
pub const LINE_BYTES_MAX: usize = 4 * 1024;

/// Milliseconds for which a board sends an app's lines after somebody asked for them.
///
/// Whoever follows asks three times as often, so that a lost message interrupts nothing.
pub const FOLLOW_MS: u64 = 30_000;

/// Milliseconds between two messages with an app's lines: with what is sent at once, below 32 KiB/s an app.
pub const FOLLOW_PAUSE_MS: u64 = 500;

/// Bytes of text in one message with lines; of what an app prints more than that the oldest is missed.
pub const FOLLOW_BYTES_MAX: usize = 16 * 1024;

/// Apps of a board that are followed at a time.
pub const FOLLOWED_APPS_MAX: usize = 8;

/// Refusals that a device reports at once.
pub const REFUSALS_AT_ONCE: u32 = 32;

/// Refusals that it reports a second after that; the others are counted. Whoever floods a board with
/// rubbish must not fill its log, its SD card and the broker as well.
pub const REFUSALS_PER_SECOND: u32 = 1;

/// Instances of an app that answers requests, where its author does not say: requests that it answers at a time.
/// They share its memory, and four of them in the usual 16 MiB have 4 MiB each.
pub const INSTANCES: u16 = 4;

/// Instances that such an app may ask for: with 64 KiB each, the least that there is, they are 16 MiB.
pub const INSTANCES_MAX: u16 = 256;

/// Bytes of a request's head, and of the head of an answer to an app's own request. Servers take 8 to 64 KiB.
pub const SERVE_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Header fields of a request, or of an answer to an app's own.
pub const SERVE_HEADERS_MAX: usize = 100;

/// Milliseconds in which a request's head has to come, from the end of the one before it on a kept connection.
pub const SERVE_HEAD_MS: u64 = 30_000;

/// Bytes of a request's body. It is never in memory as a whole; what is more is a file, and not for a board.
pub const SERVE_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Milliseconds from the time an instance has a request to the head of its answer.
pub const SERVE_ANSWER_MS: u64 = 30_000;

/// Milliseconds in which some part of a body has to go either way while an answer is under way: neither a guest that
/// falls silent nor a client that stops to read keeps an instance for ever.
pub const SERVE_SILENCE_MS: u64 = 30_000;

/// Milliseconds that an instance may go on after all of its answer was said.
pub const SERVE_AFTER_MS: u64 = 5_000;

/// Connections to an app that are open at once. Those beyond wait in the kernel.
pub const SERVE_CONNECTIONS_MAX: usize = 256;

/// Milliseconds that a request waits for an instance before it is turned away.
pub const SERVE_QUEUE_MS: u64 = 10_000;

/// Seconds after which who was turned away is asked to come again.
pub const SERVE_RETRY_S: u16 = 1;

/// Milliseconds between two faults of an app's requests that its state tells. All are in its log.
pub const SERVE_FAULTS_MS: u64 = 10_000;
