//! What stands below each command's options in its help: examples, and what they take.

/// Of the program.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 the thing failed, 2 wrong use.";

/// Of `init`.
pub(super) const INIT: &str = "\
Examples:
  dunlinctl init flock --broker mqtts://broker.example
  dunlinctl init flock --broker mqtts://10.0.0.1:8883 --ca ca.pem --user operator --password-file secret.txt
  dunlinctl init flock --broker mqtts://broker.example --certificate me.pem --key me-key.pem";

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
  urls = [\"https://files.example/{app}/{sha256}.wasm\"]  # tried before the broker; {version} too

  [env]                         # a deploy may give other values
  GREETING = \"Hello\"

  [health]                      # without http or tcp: that it accepts and stays up
  http = \"/\"                    # or tcp = 7878
  port = 7878                   # the guest's; the first published one without it
  status = 200
  interval = \"10s\"
  timeout = \"2s\"
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

--to takes key=value, key in (a, b) and device=ID, joined by commas or repeated: all must hold.
Without --to it is for every device, and takes the place of all that was deployed of the app. With
it, it takes the place of what was deployed with the same --to; a new --to is looked at first by
the devices, before older ones. What a deploy does not give (-p, --env, ARGS) is the release's own.";

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

It goes back to what the last plan with an older release had, its settings included, and again to
the one before that when repeated. Where no earlier plan is known, it takes the release before.";

/// Of `status`.
pub(super) const STATUS: &str = "\
Examples:
  dunlinctl status
  dunlinctl status --watch
  dunlinctl status --json | jq '.[] | select(.online) | .device'

--json prints one array; each element is what a device said (its state topic) and `online`.";

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
