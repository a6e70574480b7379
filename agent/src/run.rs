//! `dunlin run`: one module or component in the foreground, as its author tries it.

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

#[cfg(feature = "components")]
use anyhow::ensure;
use anyhow::{Context, bail};
use clap::Args;
use dunlin_core::{limits, policy::Policy, wire::Instances};
use dunlin_host::{
    Directory, Ended, Grants, Guest, Limits, Listener, Observer, Port, PortSocket, Program, Reach, Stdin, Stream, World,
};
use tokio::net::{TcpListener, UdpSocket};

use crate::config::units::ByteSize;
#[cfg(feature = "components")]
use crate::serve;

/// The exit code of a guest that ended by its own fault: as of a process that aborts.
const FAULT: u8 = 134;

/// Run one module in the foreground
///
/// Its exit code is the guest's own; 134 if it ended by its own fault.
///
///   dunlin run app.wasm -p 8080:7878 --env GREETING=Hello -- --verbose
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// A module for wasm32-wasip1, or a component for wasm32-wasip2
    #[arg(value_name = "APP.wasm")]
    module: PathBuf,

    /// Publish a port of the guest: [ADDRESS:]HOST:GUEST, or HOST:GUEST/udp. A guest that opens its
    /// own sockets binds GUEST; for others the first listener is descriptor 3 (after the
    /// directories), the next one 4, and so on
    #[arg(short, long, value_name = "HOST:GUEST")]
    publish: Vec<PublishArg>,

    /// Let it connect: db.example:5432, 10.0.0.0/8:1024-2047, [::1]:80 or *:443
    #[arg(long, value_name = "HOST:PORT")]
    connect: Vec<Reach>,

    /// Let it resolve any name, and not only those that it may connect to
    #[arg(long)]
    resolve: bool,

    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<EnvArg>,

    /// Give it a directory: HOST::GUEST, or HOST::GUEST::ro to read only
    #[arg(long, value_name = "HOST::GUEST")]
    dir: Vec<DirArg>,

    /// What each of these directories may hold, what is there already included: the length of each file, rounded up
    /// to 4 KiB, and 4 KiB a name [default: as much as the disk]
    #[arg(long, value_name = "SIZE", requires = "dir")]
    disk: Option<ByteSize>,

    /// Linear memory that it may use: by default as much as a board allows an app by default
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(Policy::default().memory_bytes_max))]
    memory: ByteSize,

    /// Let its listeners be non-blocking from the start: Go needs that, Rust's std must not have it
    #[arg(long)]
    nonblocking: bool,

    /// Requests that a component for wasi:http/proxy answers at a time, by an instance each; they share its memory
    #[arg(long, value_name = "COUNT", default_value_t = limits::INSTANCES,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::INSTANCES_MAX)))]
    instances: u16,

    /// Let its instances answer one request after the other: by default each has a fresh one
    #[arg(long)]
    keep_instances: bool,

    /// Arguments for the guest; those that begin with - go after --
    #[arg(value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PublishArg {
    host: SocketAddr,
    guest: u16,
    udp: bool,
}

impl FromStr for PublishArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not [ADDRESS:]HOST:GUEST[/udp], as in 8080:7878 or 127.0.0.1:5353:53/udp");
        let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let (ports, udp) = match text.rsplit_once('/') {
            None => (text, false),
            Some((ports, "tcp")) => (ports, false),
            Some((ports, "udp")) => (ports, true),
            Some(_) => return Err(wrong()),
        };
        let (host, guest) = ports.rsplit_once(':').ok_or_else(wrong)?;
        let (ip, host) = match host.rsplit_once(':') {
            Some((ip, host)) => (ip.trim_matches(['[', ']']).parse().map_err(|_| wrong())?, host),
            None => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), host),
        };
        Ok(Self { host: (ip, port(host)?).into(), guest: port(guest)?, udp })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EnvArg(String, String);

impl FromStr for EnvArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
        Ok(Self(name.into(), value.into()))
    }
}

#[derive(Clone, Debug)]
struct DirArg(Directory);

impl FromStr for DirArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split("::");
        let (host, guest, mode) = (parts.next(), parts.next(), parts.next());
        let read_only = match (mode, parts.next()) {
            (None, None) => false,
            (Some("ro"), None) => true,
            _ => return Err(format!("{text:?} is not HOST::GUEST or HOST::GUEST::ro")),
        };
        let host = host.filter(|host| !host.is_empty()).ok_or_else(|| format!("{text:?} names no directory"))?;
        // Without a name of its own it is what it is here.
        Ok(Self(Directory { host: host.into(), guest: guest.unwrap_or(host).into(), read_only, bytes_max: None }))
    }
}

/// Runs the module; the exit code.
pub async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let path = args.module;
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let limits = Limits { memory_bytes: usize::try_from(args.memory.0)?, ..Limits::default() };
    let program = Program::compile(&bytes, &limits).with_context(|| path.display().to_string())?;
    drop(bytes);
    let mut grants = Grants { connect: args.connect, resolve: args.resolve, ..Grants::default() };
    let mut listeners = Vec::new();
    for PublishArg { host, guest, udp } in args.publish {
        let context = || format!("cannot publish {host}");
        if udp {
            let socket = Arc::new(UdpSocket::bind(host).await.with_context(context)?);
            grants.listen.push(Port { guest, socket: PortSocket::Udp(socket) });
        } else {
            let socket = Arc::new(TcpListener::bind(host).await.with_context(context)?);
            listeners.push(Listener { socket: socket.into(), port: guest, nonblocking: args.nonblocking });
        }
    }
    let bytes_max = args.disk.map(|ByteSize(bytes)| bytes);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let guest = Guest {
        args: [name].into_iter().chain(args.args).collect(),
        env: args.env.into_iter().map(|EnvArg(name, value)| (name, value)).collect(),
        stdin: Stdin::Reader(Box::new(tokio::io::stdin())),
        directories: args.dir.into_iter().map(|DirArg(directory)| Directory { bytes_max, ..directory }).collect(),
        listeners,
        grants,
        #[cfg(feature = "components")]
        client: Some(Arc::new(serve::Outbound::new(crate::link::Tls::default()))),
        limits,
        observer: Box::new(Terminal),
        ..Guest::default()
    };
    match program.world() {
        World::Preview1 | World::Command => exit_code(&path, dunlin_host::run(&program, guest).await),
        World::Http => {
            let instances = Instances { max: args.instances, keep: args.keep_instances };
            answer(program, guest, instances).await.with_context(|| path.display().to_string())
        }
    }
}

/// Answers requests with instances that are given what this guest is, until it cannot be started.
#[cfg(feature = "components")]
async fn answer(program: Program, guest: Guest, instances: Instances) -> anyhow::Result<u8> {
    let Guest { directories, listeners, grants, limits, usage, .. } = &guest;
    ensure!(!listeners.is_empty(), "it answers HTTP requests: publish a port of its, as with -p 8080:80");
    ensure!(grants.listen.is_empty(), "it answers HTTP requests, and gets no datagrams: publish no port with /udp");
    ensure!(directories.is_empty(), "it answers HTTP requests, and such an app has no directories: leave out --dir");
    let limits = Limits { memory_bytes: limits.memory_bytes / usize::from(instances.max), ..limits.clone() };
    let serving = serve::Serving {
        program,
        instances: instances.max.into(),
        keep: instances.keep,
        gates: listeners.iter().map(|listener| listener.socket.clone()).collect(),
        usage: Arc::clone(usage),
        times: serve::Times::default(),
        guest: serve::each(Guest { limits, ..guest }, || Box::new(Terminal)),
        accepting: Box::new(|| ()),
        fault: Box::new(|why| eprintln!("dunlin: {why}")),
    };
    bail!(serve::serve(serving).await)
}

/// No module for it is compiled.
#[cfg(not(feature = "components"))]
async fn answer(_: Program, _: Guest, _: Instances) -> anyhow::Result<u8> {
    bail!("this dunlin was built without the feature \"components\"")
}

fn exit_code(path: &Path, ended: Ended) -> anyhow::Result<u8> {
    match ended {
        // As the kernel does with a process's: the low eight bits are seen.
        Ended::Exited(code) => Ok((code & 0xff) as u8),
        Ended::Fault(fault) => {
            eprintln!("dunlin: {}: {fault}", path.display());
            Ok(FAULT)
        }
        Ended::NotStarted(error) => bail!(anyhow::Error::new(error).context(path.display().to_string())),
    }
}

/// What the guest prints is printed, as it comes.
struct Terminal;

impl Observer for Terminal {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // Whoever read our output may have left; the guest need not care.
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_published_as_docker_does() {
        for (text, host, guest, udp) in [
            ("8080:7878", "0.0.0.0:8080", 7878, false),
            ("8080:7878/tcp", "0.0.0.0:8080", 7878, false),
            ("127.0.0.1:8080:80", "127.0.0.1:8080", 80, false),
            ("[::1]:8080:80", "[::1]:8080", 80, false),
            ("5353:53/udp", "0.0.0.0:5353", 53, true),
            ("[::1]:5353:53/udp", "[::1]:5353", 53, true),
        ] {
            let host = host.parse().unwrap();
            assert_eq!(text.parse(), Ok(PublishArg { host, guest, udp }));
        }
        for bad in ["", "8080", "x:80", "80:x", "70000:80", "host:80:80", "1.2.3.4:80", "8080:80/sctp", "8080:80/"] {
            assert!(bad.parse::<PublishArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_it_may_reach_is_said_one_by_one() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            run: RunArgs,
        }
        let parse = |args: &[&str]| <Cli as clap::Parser>::try_parse_from([&["run", "app.wasm"], args].concat());
        let nothing = parse(&[]).unwrap().run;
        assert!(nothing.connect.is_empty() && !nothing.resolve);
        let args = ["--connect", "db.example:5432", "--connect", "10.0.0.0/8:*", "--resolve"];
        let run = parse(&args).unwrap().run;
        let connect = run.connect.iter().map(Reach::to_string).collect::<Vec<_>>();
        assert_eq!((connect, run.resolve), (vec!["db.example:5432".to_owned(), "10.0.0.0/8:*".to_owned()], true));
        for bad in ["db.example", "10.0.0.1/8:80", "db.example:0"] {
            assert!(parse(&["--connect", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories_have_a_name_and_may_be_read_only() {
        let DirArg(directory) = "/srv/www::/www::ro".parse().unwrap();
        assert_eq!((directory.guest.as_str(), directory.read_only), ("/www", true));
        let DirArg(directory) = "data".parse().unwrap();
        assert_eq!((directory.guest.as_str(), directory.read_only), ("data", false));
        for bad in ["", "::x", "a::b::rw", "a::b::ro::c"] {
            assert!(bad.parse::<DirArg>().is_err(), "{bad}");
        }
    }
}
