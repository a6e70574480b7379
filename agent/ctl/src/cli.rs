//! The command line: what can be said, and how its parts are read.

mod help;
mod rollout;
mod root;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use dunlin::{
    config::units::{ByteSize, Span},
    link::BrokerUrl,
};
use dunlin_core::{
    Code,
    wire::{AppName, DeviceId, EnvName, FleetName, LabelKey, LabelValue, Publish, SealingKey, Version, state::Phase},
};

pub(crate) use self::rollout::{
    ContinueArgs, HoldArgs, PaceArgs, Percent, RolloutArgs, RolloutCommand, Wave, WavesArgs,
};
pub(crate) use self::root::{
    AddKeyArgs, Banned, ExpiresArgs, FloorArgs, FloorAt, GrantArgs, HowArgs, KeyArgs, KeyCommand, KeyFileArgs,
    RemoveKeyArgs, RevokeArgs, RootArgs, RootCommand, RootPublishArgs, RootPullArgs, RootShowArgs, RootSignArgs,
    RotateArgs,
};
use crate::{app::Port, secrets::SecretArg};

/// Releases, deploys and watches apps on fleets of boards that run dunlin.
#[derive(Debug, Parser)]
#[command(name = "dunlinctl", version, propagate_version = true, after_help = help::EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes with every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The fleet's folder; without it, the nearest with a fleet.toml from here upwards
    #[arg(long, global = true, env = "DUNLIN_FLEET", value_name = "DIR", value_hint = ValueHint::DirPath, display_order = 900)]
    pub(crate) fleet: Option<PathBuf>,
    /// How long to wait for a broker that does not answer
    #[arg(long, global = true, value_name = "TIME", default_value = "15s", display_order = 901)]
    pub(crate) timeout: SpanArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make keys and a trust root for a new fleet
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Make the one file with which a board joins the fleet
    #[command(after_help = help::ENROLL)]
    Enroll(EnrollArgs),
    /// Check, sign and publish an app's module
    #[command(after_help = help::RELEASE)]
    Release(ReleaseArgs),
    /// Order a release onto devices
    #[command(after_help = help::DEPLOY)]
    Deploy(DeployArgs),
    /// Take an app off the devices
    #[command(after_help = help::REMOVE)]
    Remove(OrderArgs),
    /// Stop an app for now
    #[command(after_help = help::PAUSE)]
    Pause(OrderArgs),
    /// Let a paused app run again
    #[command(after_help = help::RESUME)]
    Resume(OrderArgs),
    /// Go back to the release that an app had before
    #[command(after_help = help::ROLLBACK)]
    Rollback(OrderArgs),
    /// Look after what is deployed in waves
    #[command(after_help = help::ROLLOUT)]
    Rollout(RolloutArgs),
    /// Put the plan and all that it orders into one file, for boards without a network
    #[command(after_help = help::BUNDLE)]
    Bundle(BundleArgs),
    /// Give boards what the broker lost or never kept, as long as it runs
    #[command(after_help = help::DEPOT)]
    Depot(DepotArgs),
    /// Show what runs where, since when, and why not
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// Show what an app prints on a device
    #[command(after_help = help::LOGS)]
    Logs(LogsArgs),
    /// Show what happens on devices, as it happens
    #[command(after_help = help::EVENTS)]
    Events(EventsArgs),
    /// Change which keys count in the fleet, and ban what must not run
    #[command(after_help = help::ROOT)]
    Root(RootArgs),
    /// Make and show signing keys
    Key(KeyArgs),
    /// Keep the keys to which secrets of single boards are sealed
    Device(DeviceArgs),
    /// Agree to a release that asks for more than the one before it
    #[command(after_help = help::GRANT)]
    Grant(GrantArgs),
    /// Show what a file is and says: root, release, plan, bundle, wasm module, key
    #[command(after_help = help::INSPECT)]
    Inspect(InspectArgs),
    /// Say what a refusal's code means, and what to do about it
    #[command(after_help = help::EXPLAIN)]
    Explain(ExplainArgs),
    /// Build, sign and deploy over MQTT on this machine, again on each change
    #[cfg(feature = "dev")]
    #[command(after_help = help::DEV)]
    Dev(DevArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The fleet's name
    #[arg(id = "name", value_name = "FLEET")]
    pub(crate) fleet: FleetName,
    /// The folder to make; ./FLEET without it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The broker: mqtt://, mqtts://, ws:// or wss://
    #[arg(long, value_name = "URL")]
    pub(crate) broker: BrokerUrl,
    /// Certificates (PEM) that vouch for the broker
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub(crate) certificate: Option<PathBuf>,
    /// The key (PEM) of our certificate
    #[arg(long, value_name = "FILE", requires = "certificate", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// Our name at the broker
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// A file that holds our password at the broker
    #[arg(long, value_name = "FILE", requires = "user", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// What topics begin with; boards must have the same [default: dunlin/v1]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) prefix: Option<String>,
    /// How long the root is valid
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime)]
    pub(crate) expires: SpanArg,
}

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The board's name: its device id
    #[arg(id = "name", value_name = "NAME")]
    pub(crate) device: DeviceId,
    /// By what plans select it
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub(crate) labels: Vec<(LabelKey, LabelValue)>,
    /// The file to make; ./NAME.enroll without it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// The broker by the name that the board knows it by, where that is not ours
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<BrokerUrl>,
    /// The board's certificate (PEM), where the broker asks for one
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub(crate) certificate: Option<PathBuf>,
    /// The key (PEM) of its certificate
    #[arg(long, value_name = "FILE", requires = "certificate", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// The board's user at the broker [default: NAME, where there is a password]
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A file that holds the board's password at the broker
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// Make a password, and print it for the broker
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) new_password: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The app's file
    #[arg(value_name = "APP.TOML", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print what was released as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
    /// Check and sign, but keep and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The app, and which version of it; the newest without
    #[arg(value_name = "APP[@VERSION]", value_parser = app_at)]
    pub(crate) app: AppAt,
    /// Which devices; every one without
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) to: Vec<String>,
    /// A port of the board that leads to one of the app's
    #[arg(short, long, value_name = "HOST:GUEST", value_parser = publish)]
    pub(crate) publish: Vec<Publish>,
    /// A value for a variable that the release asks for
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(EnvName, String)>,
    /// A value for one that only the boards can read; @FILE or @- (standard input) keep it off this line
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) secret: Vec<SecretArg>,
    /// How long devices may take the plan; after that they need a newer one
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = lifetime)]
    pub(crate) expires: SpanArg,
    #[command(flatten)]
    pub(crate) waves: WavesArgs,
    /// Say what would change on which devices, and what it would be granted; keep and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print what would change as one JSON value
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    /// Wait until all connected devices that it is for run it; 60s without a time
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s", conflicts_with = "waves")]
    pub(crate) wait: Option<SpanArg>,
    /// Arguments instead of the release's own
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// The app
    pub(crate) app: AppName,
    /// Only what was deployed with this --to; all of the app without
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) to: Vec<String>,
    /// How long devices may take the plan; after that they need a newer one
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = lifetime)]
    pub(crate) expires: SpanArg,
    /// Say what would be ordered, but keep and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    pub(crate) command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Remember a board's key, as `dunlin key` says it there
    Add {
        /// The board
        device: DeviceId,
        /// Its key
        key: SealingKey,
    },
    /// Forget a board's key
    Remove {
        /// The board
        device: DeviceId,
    },
    /// Show which keys are known
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The apps whose releases are to be in it; every one of the plan without
    pub(crate) apps: Vec<AppName>,
    /// The file to make; FLEET-PLAN.bundle without it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Print what is in it as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DepotArgs {
    /// Bytes a second that it sends at most
    #[arg(long, value_name = "SIZE/s", default_value = "1MiB/s", value_parser = rate)]
    pub(crate) rate: Rate,
    /// Print one JSON value a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only these apps
    #[arg(long, value_name = "APP")]
    pub(crate) app: Vec<AppName>,
    /// Only these devices, selected as by `deploy --to`
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) to: Vec<String>,
    /// Only apps in these states, and devices that refuse or lack something: refused
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = phase)]
    pub(crate) state: Vec<Phase>,
    /// Only devices that are online
    #[arg(long, conflicts_with = "offline")]
    pub(crate) online: bool,
    /// Only devices that are not
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print one JSON array; with --watch one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on and show every change
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The device, and the app on it
    #[arg(value_name = "DEVICE/APP", value_parser = app_on)]
    pub(crate) which: AppOn,
    /// Go on with what it prints, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print one JSON value a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those of these devices
    #[arg(long, value_name = "ID")]
    pub(crate) device: Vec<DeviceId>,
    /// Only those of these apps
    #[arg(long, value_name = "APP")]
    pub(crate) app: Vec<AppName>,
    /// Go on until Ctrl-C: it always does, because no broker keeps events
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print one JSON value a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code, as in [fork]; every one without
    #[arg(value_parser = code)]
    pub(crate) code: Option<Code>,
    /// Print one JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print it as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(feature = "dev")]
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// A folder with Cargo.toml, or a module
    #[arg(value_name = "DIR|APP.WASM", value_hint = ValueHint::AnyPath)]
    pub(crate) what: PathBuf,
    /// A port of this machine that leads to one of the app's [default: 7878:7878, or app.toml's]
    #[arg(short, long, value_name = "HOST:GUEST", value_parser = publish)]
    pub(crate) publish: Vec<Publish>,
    /// A variable for the app
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(EnvName, String)>,
    /// The embedded broker's port on 127.0.0.1; a free one without
    #[arg(long, value_name = "PORT")]
    pub(crate) broker_port: Option<u16>,
    /// The port on 127.0.0.1 of the board's page; a free one without
    #[arg(long, value_name = "PORT")]
    pub(crate) page_port: Option<u16>,
    /// Arguments for the app
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// An app, and perhaps one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppAt {
    pub(crate) app: AppName,
    pub(crate) version: Option<Version>,
}

/// An app on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppOn {
    pub(crate) device: DeviceId,
    pub(crate) app: AppName,
}

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanArg(pub(crate) std::time::Duration);

impl std::str::FromStr for SpanArg {
    type Err = dunlin::config::units::BadQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|Span(span)| Self(span))
    }
}

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

fn rate(text: &str) -> Result<Rate, String> {
    let size = text.strip_suffix("/s").ok_or("write a size a second, as in 1MiB/s")?;
    let ByteSize(bytes) = size.parse().map_err(|e| format!("{e}"))?;
    if bytes == 0 { Err("nothing a second is no rate".into()) } else { Ok(Rate(bytes)) }
}

fn app_on(text: &str) -> Result<AppOn, String> {
    let (device, app) = text.split_once('/').ok_or("write DEVICE/APP, as in pi-kitchen-1/sensor")?;
    Ok(AppOn { device: device.parse().map_err(|e| format!("{e}"))?, app: app.parse().map_err(|e| format!("{e}"))? })
}

fn app_at(text: &str) -> Result<AppAt, String> {
    let (app, version) = match text.split_once('@') {
        Some((app, version)) => (app, Some(version.parse().map_err(|e| format!("{e}"))?)),
        None => (text, None),
    };
    Ok(AppAt { app: app.parse().map_err(|e| format!("{e}"))?, version })
}

fn phase(text: &str) -> Result<Phase, String> {
    Phase::ALL
        .into_iter()
        .find(|phase| phase.as_str() == text)
        .ok_or_else(|| format!("there is {}", Phase::ALL.map(Phase::as_str).join(", ")))
}

fn code(text: &str) -> Result<Code, String> {
    let name = text.trim_start_matches('[').trim_end_matches(']');
    Code::ALL
        .into_iter()
        .find(|code| code.as_str() == name)
        .ok_or_else(|| format!("there is {}", Code::ALL.map(Code::as_str).join(", ")))
}

/// How long something is good for: documents count in seconds.
fn lifetime(text: &str) -> Result<SpanArg, String> {
    let span: SpanArg = text.parse().map_err(|e| format!("{e}"))?;
    if span.0.as_secs() == 0 { Err("less than a second is no time".into()) } else { Ok(span) }
}

fn publish(text: &str) -> Result<Publish, String> {
    let Port { host, guest, protocol } = text.parse()?;
    let host = host.ok_or_else(|| format!("write HOST:GUEST, as in 8080:{guest}"))?;
    Ok(Publish { host, guest, protocol })
}

fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.parse().map_err(|e| format!("{e}"))?, value.parse().map_err(|e| format!("{e}"))?))
}

fn variable(text: &str) -> Result<(EnvName, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.parse().map_err(|e| format!("{e}"))?, value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use dunlin_core::wire::Protocol;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_in_the_help_is_understood() {
        let mut examples = 0;
        let program = Cli::command();
        let inner = program.get_subcommands().flat_map(|command| command.get_subcommands());
        for command in program.get_subcommands().chain(inner) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().map(str::trim).filter(|line| line.starts_with("dunlinctl "));
            for line in lines {
                // As a shell would, as far as these lines need it.
                let line = line.split(" | ").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
                let line = line.split("   ").next().unwrap_or_default();
                let words = line.split('\'').enumerate().flat_map(|(i, part)| match i % 2 {
                    0 => part.split_whitespace().collect(),
                    _ => vec![part],
                });
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{line}: {error}");
                }
                examples += 1;
            }
        }
        assert!(examples >= 15, "{examples}");
    }

    #[test]
    fn values_are_read_and_their_mistakes_explained() {
        let deploy = |line: &str| match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Deploy(args)) => Ok(args),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let args = deploy("dunlinctl deploy hello@1.2.0 -p 80:7878 --env A=b=c --wait -- -v").unwrap();
        assert_eq!((args.app.app.as_str(), args.app.version.unwrap().as_str()), ("hello", "1.2.0"));
        assert_eq!(args.publish, [Publish { host: 80, guest: 7878, protocol: Protocol::Tcp }]);
        assert_eq!(args.env, [("A".parse().unwrap(), "b=c".into())]);
        assert_eq!((args.wait.unwrap().0.as_secs(), args.args), (60, vec!["-v".to_owned()]));
        assert_eq!(deploy("dunlinctl deploy hello --wait 5s").unwrap().wait.unwrap().0.as_secs(), 5);
        assert_eq!(deploy("dunlinctl deploy hello").unwrap().wait, None);
        for (line, why) in [
            ("dunlinctl deploy a/b", "is not an app's name"),
            ("dunlinctl deploy a@", "is not a version"),
            ("dunlinctl deploy a -p 7878", "write HOST:GUEST, as in 8080:7878"),
            ("dunlinctl deploy a -p 0:1", "is not a port"),
            ("dunlinctl deploy a --env A", "write NAME=VALUE"),
            ("dunlinctl deploy a --expires 3", "is not a time"),
            ("dunlinctl deploy a --expires 0s", "less than a second is no time"),
        ] {
            let error = deploy(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn a_rate_is_a_size_a_second() {
        assert_eq!((rate("1MiB/s"), rate("500B/s")), (Ok(Rate(1 << 20)), Ok(Rate(500))));
        for (text, why) in [
            ("1MiB", "write a size a second, as in 1MiB/s"),
            ("0B/s", "nothing a second is no rate"),
            ("fast/s", "is not a size"),
        ] {
            assert!(rate(text).is_err_and(|error| error.contains(why)), "{text}");
        }
    }
}
