//! What stands below each command's options in its help: examples, and what they take.

/// Of the program.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 the thing failed, 2 wrong use.";

/// Of `init`.
pub(super) const INIT: &str = "\
Examples:
  dunlinctl init flock --broker mqtts://broker.example
  dunlinctl init flock --broker mqtts://10.0.0.1 --ca ca.pem --user operator --password-file pw
  dunlinctl init flock --broker mqtts://broker.example --certificate me.pem --key me-key.pem";

/// Of `enroll`.
pub(super) const ENROLL: &str = "\
Examples:
  dunlinctl enroll pi-kitchen-1 --labels site=kitchen,model=zero2 --new-password
  dunlinctl enroll pi-hall --certificate pi-hall.pem --key pi-hall.key
  dunlinctl enroll pi-shed --broker mqtts://10.0.0.2:8883 --new-password

The file has the root of trust, the broker's address and who vouches for it, and the board's own
secrets. On the board: dunlin join NAME.enroll";

/// Of `release`, with all of app.toml.
pub(super) const RELEASE: &str = "\
Examples:
  dunlinctl release app.toml
  dunlinctl release app.toml --dry-run --json

app.toml, with only the first three required:
  name = \"hello\"
  version = \"1.0.0\"
  module = \"hello.wasm\"         # relative to this file
  publish = [\"8080:7878\"]       # HOST:GUEST, or GUEST for what only a deploy publishes
  nonblocking = true            # listeners as Go needs them; never for Rust
  required-env = [\"TOKEN\"]      # a deploy must give these
  args = [\"-v\"]
  free-args = true              # a deploy may give other arguments
  memory = \"4MiB\"
  restart = \"always\"            # or on-failure, never
  start = \"on-demand\"           # by its first connection; at-once without it
  idle = \"1m\"                   # on demand: put away after so long without a connection
  trial = \"15s\"                 # so long it must be well to replace what ran before for good
  drain = \"5s\"                  # so long its connections may take to end when it is replaced
  data = \"1MiB\"                 # what it may keep in /data
  connect = [\"db.example:5432\"] # whom it reaches; resolve = true: any name
  directories = [\"media:rw\"]    # of the board's, seen as /media
  topics-out = [\"temperature\"]  # what it publishes at the broker; topics-in: what it hears
  urls = [\"https://files.example/{app}/{sha256}.wasm\"]  # tried before the broker; {version} too

  [env]                         # a deploy may give other values
  GREETING = \"Hello\"

  [health]                      # without http or tcp: that it accepts and stays up
  http = \"/\"                    # or tcp = 7878
  port = 7878                   # the guest's; the first published one without it
  status = 200
  interval = \"10s\"
  timeout = \"2s\"
  successes = 1                 # so many in a row after its start
  failures = 3
  start = \"10s\"

The same version with the same content is published again, which is how a broker that lost its
messages is filled again. The same version with other content is refused.";

/// Of `deploy`, with the grammar of `--to`.
pub(super) const DEPLOY: &str = "\
Examples:
  dunlinctl deploy hello                           the newest release, to every device
  dunlinctl deploy hello@1.2.0 --to site=kitchen --wait
  dunlinctl deploy hello --to 'site in (hall, kitchen),model=zero2' -p 80:7878
  dunlinctl deploy hello --to device=pi-3 --env GREETING=Hi -- --verbose
  dunlinctl deploy hello --waves 1,10%,50%,100% --soak 2m --halt-on 2%
  dunlinctl deploy hello --dry-run                 what would change where, and what is granted anew

--waves: first one device, then a tenth of those that are online, ... Each wave has to be well
for --soak; where more than --halt-on of it fail (refuse it, go back, keep ending, or are
silent), nobody else is told, and `dunlinctl rollback` takes it back. All of that stands in the
plan: see `dunlinctl rollout`.

--to takes key=value, key in (a, b) and device=ID, joined by commas or repeated: all must hold.
Without --to it is for every device, and takes the place of all that was deployed of the app.
With it, it takes the place of what was deployed with the same --to; a new --to is looked at
first by the devices, before older ones. What a deploy does not give (-p, --env, ARGS) is the
release's own.";

/// Of `remove`.
pub(super) const REMOVE: &str = "Example:\n  dunlinctl remove hello --to site=kitchen";

/// Of `pause`.
pub(super) const PAUSE: &str = "Example:\n  dunlinctl pause hello";

/// Of `resume`.
pub(super) const RESUME: &str = "Example:\n  dunlinctl resume hello";

/// Of `rollback`.
pub(super) const ROLLBACK: &str = "\
Example:
  dunlinctl rollback hello

What is being rolled out in waves is taken back: every device has again what it had. Otherwise
devices go back to what the last plan with an older release had, its settings included, and to
the one before that when this is repeated. Where no earlier plan is known, they take the release
before.";

/// Of `rollout`.
pub(super) const ROLLOUT: &str = "\
A rollout stands in the plan: its waves, how far it is, and when it halts. Who began it may
leave; whoever has the deploy key goes on. `dunlinctl rollback APP` takes it back from all
devices, `dunlinctl deploy APP` without --waves ends it by telling all.

Examples:
  dunlinctl rollout show
  dunlinctl rollout continue hello";

/// Of `rollout show`.
pub(super) const ROLLOUT_SHOW: &str = "Examples:\n  dunlinctl rollout show\n  dunlinctl rollout show --json";

/// Of `rollout continue`.
pub(super) const ROLLOUT_CONTINUE: &str = "\
Examples:
  dunlinctl rollout continue hello
  dunlinctl rollout continue hello --halt-on 5%    in spite of what failed

The wave that has begun soaks anew.";

/// Of `rollout hold`.
pub(super) const ROLLOUT_HOLD: &str = "\
Example:
  dunlinctl rollout hold hello

Devices that have the release keep it, and no others are told. Whoever looks after it stops
doing so.";

/// Of `bundle`.
pub(super) const BUNDLE: &str = "\
Examples:
  dunlinctl bundle
  dunlinctl bundle hello -o /media/stick/hello.bundle

It holds what is signed and kept in the fleet's folder, and needs neither a broker nor a key. On
the board, `dunlin import FILE` takes it through the same checks as what comes from a broker.";

/// Of `depot`.
pub(super) const DEPOT: &str = "\
Examples:
  dunlinctl depot
  dunlinctl depot --rate 256KiB/s --json

It gives out what was released with the fleet's folder, and needs none of its keys: on another
machine a copy without keys/ is enough. Boards ask when they hear nothing of what they need; one
answer serves all that wait for it. Ctrl-C ends it.";

/// Of `status`.
pub(super) const STATUS: &str = "\
Examples:
  dunlinctl status
  dunlinctl status --app sensor --to site=kitchen --watch
  dunlinctl status --state backing-off,reverted,refused
  dunlinctl status --json | jq '.[] | select(.online) | .device'

--json prints one array; each element is what a device said (its state topic) and `online`. More
devices than a broker queues for one client (mosquitto: max_queued_messages, 1000) are not all
seen: it is said when that happened.";

/// Of `logs`.
pub(super) const LOGS: &str = "\
Examples:
  dunlinctl logs pi-kitchen-1/sensor
  dunlinctl logs pi-kitchen-1/sensor -f

First the lines that the board remembers (200, or 16 KiB). Boards send what apps print only
while somebody asks for it; what is printed faster than it is sent is counted, and said.";

/// Of `events`.
pub(super) const EVENTS: &str = "\
Examples:
  dunlinctl events -f
  dunlinctl events -f --device pi-kitchen-1 --json";

/// Of `explain`.
pub(super) const EXPLAIN: &str = "Examples:\n  dunlinctl explain fork\n  dunlinctl explain";

/// Of `inspect`.
pub(super) const INSPECT: &str =
    "Examples:\n  dunlinctl inspect app.wasm\n  dunlinctl inspect flock/plan.dunlin --json";

/// Of `dev`.
#[cfg(feature = "dev")]
pub(super) const DEV: &str = "\
Examples:
  dunlinctl dev guests/hello              a folder with Cargo.toml; app.toml in it counts, if there
  dunlinctl dev app.wasm -p 8080:7878     a module that something else builds

An embedded broker, an agent and keys that are thrown away, in this one process. Ctrl-C ends it.";

/// Of `completions`.
pub(super) const COMPLETIONS: &str =
    "Example:\n  dunlinctl completions bash > ~/.local/share/bash-completion/completions/dunlinctl";

/// Of `root` and `key`, what they are for.
pub(super) const ROOT: &str = "\
The root says which keys count. Each change makes the next root, signed by enough root keys of
the last one and of its own; boards that were away walk through all of them. Where this folder
holds too few root keys, the root is written to a file that others sign: `dunlinctl root sign`.

Examples:
  dunlinctl root show
  dunlinctl root rotate deploy
  dunlinctl root revoke hello@1.0.0";

/// Of `root show`.
pub(super) const ROOT_SHOW: &str = "Examples:\n  dunlinctl root show\n  dunlinctl root show --json";

/// Of `root add-key`.
pub(super) const ROOT_ADD_KEY: &str = "\
Examples:
  dunlinctl root add-key root anna.key --threshold 2
  dunlinctl root add-key release 6f0c0f5a2f2e1dd2a2c1b1f6c43a5b8d0a1f7e5c9b3d4e6f80917263544536a7 --apps hello,clock
  dunlinctl root add-key grant keys/grant.key

To sign with it here, its file is in keys/ under a name that begins with the role's:
deploy-anna.key.";

/// Of `root remove-key`.
pub(super) const ROOT_REMOVE_KEY: &str = "Example:\n  dunlinctl root remove-key deploy 6f0c0f --threshold 1";

/// Of `root rotate`.
pub(super) const ROOT_ROTATE: &str = "\
Examples:
  dunlinctl root rotate deploy
  dunlinctl root rotate deploy --plan folder     the broker's plan is by who stole the old key

The new key is in keys/<role>.key, the old one stays beside it (.old-1). What the plan orders,
and the plan itself, is signed again with the new keys: nothing on the boards stops.";

/// Of `root revoke`.
pub(super) const ROOT_REVOKE: &str =
    "Examples:\n  dunlinctl root revoke hello@1.0.0\n  dunlinctl root revoke hello@1.0.0 --module";

/// Of `root floor`.
pub(super) const ROOT_FLOOR: &str = "Examples:\n  dunlinctl root floor hello @1.2.0\n  dunlinctl root floor hello 7";

/// Of `root expires`.
pub(super) const ROOT_EXPIRES: &str = "Example:\n  dunlinctl root expires 365d";

/// Of `root sign`.
pub(super) const ROOT_SIGN: &str = "\
Examples:
  dunlinctl root sign root-2.draft.dunlin
  dunlinctl root sign root-2.draft.dunlin --key anna.key";

/// Of `root publish`.
pub(super) const ROOT_PUBLISH: &str = "\
Examples:
  dunlinctl root publish root-2.draft.dunlin
  dunlinctl root publish root.dunlin             again, to a broker that lost it";

/// Of `root pull`.
pub(super) const ROOT_PULL: &str = "Example:\n  dunlinctl root pull";

/// Of `key new`.
pub(super) const KEY_NEW: &str = "Example:\n  dunlinctl key new anna.key";

/// Of `key show`.
pub(super) const KEY_SHOW: &str = "Example:\n  dunlinctl key show anna.key";

/// Of `grant`.
pub(super) const GRANT: &str = "\
Example:
  dunlinctl grant hello@1.2.0

Where the root has grant keys, boards refuse a release that asks for more than the one before it
until they have signed it too. Boards that refused it already take it with the next plan.";
